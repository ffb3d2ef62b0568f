"""The admission policies that make four eyes two pairs, and whether a cluster has them.

- ValidatingAdmissionPolicies are built into the API server (Kubernetes 1.30 and later): there is no webhook to keep alive.
- What a policy cannot see, the operator judges: an approver is the caller by one policy, a requester by another, and that
  the two are not the same person is for ``plan.approvals``.
- The policy on namespaces ignores its own failures: were our kinds deleted before it, nobody could make a namespace. Its
  expressions cannot fail on anything that a tenant writes. All others deny what they cannot judge.
- A policy counts as there when it says what ours says, and a binding denies by it, everywhere.

Source: Kubernetes documentation, "Validating Admission Policy" and "Authorizer library" of CEL.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keystead.kube.permissions import ESO, NAMESPACE, OPERATOR
from keystead.kube.resources import ABANDON_ANNOTATION, ABANDONED_BY_ANNOTATION, AUTOMATIC_LABEL, GROUP, VERSION
from keystead.model.records import GuardBinding, GuardPolicy, Guards

RANCHER = ("system:serviceaccount:cattle-system:cattle", "system:serviceaccount:cattle-system:rancher")
"""Rancher's own controllers, which put namespaces into projects for those whom Rancher lets."""
APPROVALS, CLAIMS, NAMESPACES = "keystead-approvals", "keystead-claims", "keystead-namespaces"
LEDGER, STORES = "keystead-ledger", "keystead-stores"
_LABELS = {"app.kubernetes.io/part-of": "keystead"}
SELECTOR = "app.kubernetes.io/part-of=keystead"
POLICIES_PATH = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS_PATH = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
_API = "admissionregistration.k8s.io/v1"
_PROJECT = "field.cattle.io/projectId"
_LONGEST_PROJECT = 100  # characters; a longer annotation is no project's, and not searched at anybody's expense


@dataclass(frozen=True, slots=True)
class Check:
    """What must hold, and what is said when it does not."""

    expression: str
    message: str
    """An expression too, of a text."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One policy."""

    name: str
    meaning: str
    group: str
    resource: str
    operations: tuple[str, ...]
    checks: tuple[Check, ...]
    variables: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()
    """Users whom it does not concern."""
    parameter: str = ""
    """Kind of ours of which each object is asked about, one by one."""
    fails_open: bool = False
    optional: bool = False


def guards(*, namespace: str = NAMESPACE, exempt: Collection[str] = RANCHER) -> tuple[Guard, ...]:
    """All of them, for an operator in *namespace*; *exempt* users may bring any namespace into any grant."""
    operator = f"request.userInfo.username == 'system:serviceaccount:{namespace}:{OPERATOR}'"
    return (_approvals(), _claims(operator), _namespaces(exempt), _ledger(operator), _stores())


def _may(verb: str, plural: str, name: str) -> str:
    return f"authorizer.group('{GROUP}').resource('{plural}').name({name}).check('{verb}').allowed()"


def _approvals() -> Guard:
    return Guard(
        APPROVALS,
        "A word on a claim is said, and taken back, by those who may approve for its grant, in their own name.",
        GROUP,
        "vaultapprovals",
        ("CREATE", "UPDATE", "DELETE"),
        (
            Check(
                _may("approve", "vaultgrants", "variables.word.spec.grantName"),
                "request.userInfo.username + ' may not decide for VaultGrant ' + variables.word.spec.grantName + "
                "': that takes the verb approve on it'",
            ),
            Check(
                "request.operation != 'CREATE' || object.spec.by == request.userInfo.username",
                "'spec.by: must be ' + request.userInfo.username + ', who says it'",
            ),
        ),
        (("word", "request.operation == 'DELETE' ? oldObject : object"),),
    )


def _claims(operator: str) -> Guard:
    def marked(which: str) -> str:
        label = f"{which}.metadata.labels['{AUTOMATIC_LABEL}']"
        return (
            f"{which} != null && has({which}.metadata.labels) && '{AUTOMATIC_LABEL}' in {which}.metadata.labels"
            f" ? {label} : ''"
        )

    return Guard(
        CLAIMS,
        "A claim names who asks for it; claims without a name are the operator's own.",
        GROUP,
        "vaultclaims",
        ("CREATE", "UPDATE"),
        (
            Check(
                "variables.ours || request.operation != 'CREATE' || variables.asks == request.userInfo.username",
                "'spec.requestedBy: must be ' + request.userInfo.username + ', who asks'",
            ),
            Check(
                "variables.ours || variables.marked == variables.before",
                f"'label {AUTOMATIC_LABEL} is for claims that the operator makes'",
            ),
        ),
        (
            ("ours", operator),
            ("asks", "has(object.spec.requestedBy) ? object.spec.requestedBy : ''"),
            ("marked", marked("object")),
            ("before", marked("oldObject")),
        ),
    )


def _labels(which: str) -> str:
    return f"{which} != null && has({which}.metadata.labels) ? {which}.metadata.labels : {{}}"


def _project(which: str) -> str:
    there = f"has({which}.metadata.annotations) && '{_PROJECT}' in {which}.metadata.annotations"
    return f"{which} != null && {there} ? {which}.metadata.annotations['{_PROJECT}'] : ''"


def _meets(given: str) -> str:
    """Of one expression of a label selector; what no selector should say is met by nothing."""
    has, value = f"e.key in {given}", f"{given}[e.key] in e.values"
    return (
        f"e.operator == 'In' ? ({has} && has(e.values) && {value}) : "
        f"e.operator == 'NotIn' ? (!({has}) || !has(e.values) || !({value})) : "
        f"e.operator == 'Exists' ? {has} : e.operator == 'DoesNotExist' ? !({has}) : false"
    )


def _inside(given: str, place: str) -> str:
    """Whether labels or a project bring a namespace into the grant that is the parameter."""
    rule = "params.spec.namespaces"
    selector = f"{rule}.selector"
    selected = (
        f"has({selector}) && (!has({selector}.matchLabels) || {selector}.matchLabels.all(k, k in {given} && "
        f"{given}[k] == {selector}.matchLabels[k])) && (!has({selector}.matchExpressions) || "
        f"{selector}.matchExpressions.all(e, {_meets(given)}))"
    )
    projects = (
        f"has({rule}.rancherProjects) && {place} != '' && (size({place}) > {_LONGEST_PROJECT} || "
        f"{rule}.rancherProjects.exists(p, {place} == p || {place}.endsWith(':' + p)))"
    )
    return f"({selected}) || ({projects})"


def _namespaces(exempt: Collection[str]) -> Guard:
    return Guard(
        NAMESPACES,
        "Whoever labels a namespace, or puts it into a Rancher project, so that a grant allows it, may use that grant.",
        "",
        "namespaces",
        ("CREATE", "UPDATE"),
        (
            Check(
                f"!variables.inside || variables.before || {_may('use', 'vaultgrants', 'params.metadata.name')}",
                "request.userInfo.username + ' may not bring namespace ' + object.metadata.name + ' into VaultGrant ' "
                "+ params.metadata.name + ': that takes the verb use on it'",
            ),
        ),
        (
            ("labels", _labels("object")),
            ("project", _project("object")),
            ("oldLabels", _labels("oldObject")),
            ("oldProject", _project("oldObject")),
            ("inside", _inside("variables.labels", "variables.project")),
            ("before", f"oldObject != null && ({_inside('variables.oldLabels', 'variables.oldProject')})"),
        ),
        left_out=tuple(exempt),
        parameter="VaultGrant",
        fails_open=True,
    )


def _ledger(operator: str) -> Guard:
    def said(which: str, annotation: str) -> str:
        there = f"has({which}.metadata.annotations) && '{annotation}' in {which}.metadata.annotations"
        return f"{there} ? {which}.metadata.annotations['{annotation}'] : ''"

    def held(which: str) -> str:
        return f"has({which}.metadata.finalizers) ? {which}.metadata.finalizers : []"

    return Guard(
        LEDGER,
        "Nobody but the operator lets go of a ledger entry, save those who may abandon it, in their own name.",
        GROUP,
        "federations",
        ("UPDATE",),
        (
            Check(
                f"variables.ours || variables.same || ({_may('abandon', 'federations', 'object.metadata.name')} && "
                "variables.by == request.userInfo.username)",
                "'only the operator lets go of a ledger entry; to abandon what Azure will not delete, see "
                "`keystead abandon`: it takes the verb abandon'",
            ),
        ),
        (
            ("ours", operator),
            ("by", said("object", ABANDONED_BY_ANNOTATION)),
            (
                "same",
                f"({held('object')}) == ({held('oldObject')}) && "
                + " && ".join(
                    f"({said('object', each)}) == ({said('oldObject', each)})"
                    for each in (ABANDON_ANNOTATION, ABANDONED_BY_ANNOTATION)
                ),
            ),
        ),
    )


def _stores() -> Guard:
    azure = "object.spec.provider.azurekv"
    return Guard(
        STORES,
        "In namespaces with a claim no store uses the node's identity, nor the claim's account for another vault.",
        ESO,
        "secretstores",
        ("CREATE", "UPDATE"),
        (
            Check(
                "!variables.azure || variables.how != 'ManagedIdentity'",
                "'authType ManagedIdentity uses the identity of the node, which is every namespace\\'s; "
                "use WorkloadIdentity'",
            ),
            Check(
                "!variables.azure || !variables.claimed || variables.vault == params.status.vaultUrl",
                "'this account may read ' + params.status.vaultUrl + ' alone (VaultClaim ' + params.metadata.name + ')'",
            ),
        ),
        (
            ("azure", "has(object.spec.provider) && has(object.spec.provider.azurekv)"),
            ("how", f"has({azure}.authType) ? {azure}.authType : ''"),
            ("account", f"has({azure}.serviceAccountRef) ? {azure}.serviceAccountRef.name : ''"),
            ("given", f"has({azure}.vaultUrl) ? {azure}.vaultUrl.lowerAscii() : ''"),
            (
                "vault",
                "variables.given.endsWith('/') ? variables.given.substring(0, size(variables.given) - 1) : variables.given",
            ),
            (
                "claimed",
                (
                    "has(params.status) && has(params.status.subject) && has(params.status.vaultUrl) && "
                    "params.status.vaultUrl != '' && variables.account != '' && "
                    "params.status.subject.endsWith(':' + variables.account)"
                ),
            ),
        ),
        parameter="VaultClaim",
        optional=True,
    )


def manifests(
    *, namespace: str = NAMESPACE, exempt: Collection[str] = RANCHER, optional: bool = True
) -> list[dict[str, Any]]:
    """Pure: each policy with its binding; *optional* ones too."""
    found = [each for each in guards(namespace=namespace, exempt=exempt) if optional or not each.optional]
    return [item for each in found for item in (_policy(each), _binding(each))]


def _policy(guard: Guard) -> dict[str, Any]:
    rule = {
        "apiGroups": [guard.group],
        "apiVersions": ["*"],
        "operations": list(guard.operations),
        "resources": [guard.resource],
    }
    spec: dict[str, Any] = {
        "failurePolicy": "Ignore" if guard.fails_open else "Fail",
        "matchConstraints": {"resourceRules": [rule]},
    }
    if guard.parameter:
        spec["paramKind"] = {"apiVersion": f"{GROUP}/{VERSION}", "kind": guard.parameter}
    if guard.left_out:
        names = ", ".join(f"'{_quoted(each)}'" for each in guard.left_out)
        spec["matchConditions"] = [
            {"name": "not-exempt", "expression": f"!(request.userInfo.username in [{names}])"},
        ]
    if guard.variables:
        spec["variables"] = [{"name": name, "expression": expression} for name, expression in guard.variables]
    spec["validations"] = [
        {"expression": each.expression, "messageExpression": each.message, "reason": "Forbidden"}
        for each in guard.checks
    ]
    metadata = {"name": guard.name, "labels": _LABELS, "annotations": {f"{GROUP}/meaning": guard.meaning}}
    return {"apiVersion": _API, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec}


def _binding(guard: Guard) -> dict[str, Any]:
    spec: dict[str, Any] = {"policyName": guard.name, "validationActions": ["Deny"]}
    if guard.parameter:
        spec["paramRef"] = {"selector": {}, "parameterNotFoundAction": "Allow"}
    metadata = {"name": guard.name, "labels": _LABELS}
    return {"apiVersion": _API, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata, "spec": spec}


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def judge(policies: Iterable[GuardPolicy], bindings: Iterable[GuardBinding]) -> Guards:
    """Pure: which of ours are there and deny, and what is wrong with those that do not."""
    there = {each.name: each for each in policies}
    bound: dict[str, list[GuardBinding]] = {}
    for binding in bindings:
        bound.setdefault(binding.policy, []).append(binding)
    wrong: dict[str, str] = {}
    for guard in guards():
        problem = _problem(guard, there, bound.get(guard.name, ()))
        if problem:
            wrong[guard.name] = problem
    return Guards(
        decisions=wrong.get(APPROVALS) or wrong.get(CLAIMS) or "",
        entries=wrong.get(NAMESPACES, ""),
        known=True,
    )


def _problem(guard: Guard, there: Mapping[str, GuardPolicy], bindings: Sequence[GuardBinding]) -> str:
    policy = there.get(guard.name)
    if policy is None:
        return f"ValidatingAdmissionPolicy {guard.name} is not installed"
    wanted = {each.expression for each in guard.checks}
    if not wanted <= set(policy.expressions) or (policy.fails_open and not guard.fails_open):
        return f"ValidatingAdmissionPolicy {guard.name} does not say what it should"
    if not any(each.denies and not each.narrowed for each in bindings):
        return f"ValidatingAdmissionPolicy {guard.name} has no binding that denies everywhere"
    return ""
