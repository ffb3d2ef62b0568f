"""ValidatingAdmissionPolicies: which of them a write concerns, and what their expressions say of it.

- A policy counts through its bindings; every binding of every policy is asked, and the first refusal is the answer.
- Match conditions leave a request out; variables are evaluated in their order, and one that fails fails whoever reads it.
- An expression that cannot be evaluated, or that needs a function which the CEL library does not carry, fails as the
  policy's ``failurePolicy`` says; creating such a policy answers with a warning.
- Policies and bindings themselves are not subject to policies. Audit annotations are ignored.

Source: Kubernetes docs, "Validating Admission Policy", and admissionregistration.k8s.io/v1 in the API reference.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from keystead_sandbox.kube import authority, cel, errors, events, selectors
from keystead_sandbox.kube.admission import Writing
from keystead_sandbox.kube.kinds import NAMESPACES, POLICIES, POLICY_BINDINGS, Kind
from keystead_sandbox.kube.rbac import Authorizer

if TYPE_CHECKING:
    from keystead_sandbox.kube.rest import Rest

Object: TypeAlias = dict[str, Any]


class Policies:
    """Asks all policies of one cluster."""

    def __init__(self, rest: "Rest", authorizer: Authorizer) -> None:
        self._rest = rest
        self._store = rest.store
        self._authorizer = authorizer

    def check(self, kind: Kind, item: Object | None, before: Object | None, how: Writing) -> None:
        """ApiError when a policy denies the write; warnings of those that only warn."""
        if kind.key in (POLICIES, POLICY_BINDINGS):
            if item is not None and kind.key == POLICIES:
                how.warnings.extend(unsupported(item))
            return
        for binding in self._store.all(POLICY_BINDINGS):
            policy = self._store.get(POLICIES, "", binding["spec"]["policyName"])
            if policy is not None and self._concerns(policy, binding, kind, item, before, how):
                for params in self._params(policy, binding, item or before or {}):
                    _Question(self, policy, binding, params).ask(kind, item, before, how)

    def variables(self, kind: Kind, item: Object | None, before: Object | None, how: Writing) -> dict[str, Any]:
        """What expressions may read, whatever the policy."""
        there: Object = item or before or {}
        metadata = there["metadata"]
        namespace = metadata.get("namespace") or ""
        about = {"group": kind.group, "version": kind.version}
        asked = {
            "kind": {**about, "kind": kind.kind},
            "resource": {**about, "resource": kind.plural},
            "requestKind": {**about, "kind": kind.kind},
            "requestResource": {**about, "resource": kind.plural},
            "subResource": how.sub,
            "requestSubResource": how.sub,
            "name": metadata["name"],
            "namespace": namespace or (metadata["name"] if kind.key == NAMESPACES else ""),
            "operation": _operation(item, before),
            "userInfo": {"uid": "", "extra": {}, **how.user.info()},
            "dryRun": how.dry,
        }
        return {
            "object": None if item is None else events.shown(kind, item),
            "oldObject": None if before is None else events.shown(kind, before),
            "request": asked,
            "namespaceObject": self._store.get(NAMESPACES, "", namespace) if namespace else None,
            "authorizer": authority.of(how.user, asked),
        }

    def functions(self, how: Writing) -> Mapping[str, Any]:
        """The authoriser's functions for the one who writes."""
        return authority.functions(self._authorizer, how.user)

    def _concerns(
        self, policy: Object, binding: Object, kind: Kind, item: Object | None, before: Object | None, how: Writing
    ) -> bool:
        limits = (policy["spec"].get("matchConstraints") or {}, binding["spec"].get("matchResources"))
        return all(self._within(each, kind, item, before, how) for each in limits if each is not None)

    def _within(self, limit: Object, kind: Kind, item: Object | None, before: Object | None, how: Writing) -> bool:
        operation, there = _operation(item, before), item or before or {}
        metadata = there["metadata"]
        versions = {each.version for each in self._rest.kinds.values() if each.key == kind.key}
        if limit.get("matchPolicy") == "Exact":
            versions = {kind.version}

        def named(rules: Any) -> bool:
            return any(_rule(rule, kind, versions, how.sub, operation, metadata["name"]) for rule in rules or ())

        if "resourceRules" in limit and not named(limit["resourceRules"]):
            return False
        if named(limit.get("excludeResourceRules")):
            return False
        place: Object | None = there if kind.key == NAMESPACES else None
        if metadata.get("namespace"):
            place = self._store.get(NAMESPACES, "", metadata["namespace"])
        if place is not None and not selectors.of_selector(limit.get("namespaceSelector") or {})(place):
            return False
        matches = selectors.of_selector(limit.get("objectSelector") or {})
        return any(matches(each) for each in (item, before) if each is not None)

    def _params(self, policy: Object, binding: Object, there: Object) -> Iterator[Object | None]:
        """The objects that parametrise a policy, one question for each; a missing one may be no reason to deny."""
        wanted, reference = policy["spec"].get("paramKind"), binding["spec"].get("paramRef")
        if not wanted or not reference:
            yield None
            return
        group, _, version = wanted["apiVersion"].rpartition("/")
        kinds = self._rest.kinds.values()
        kind = next((k for k in kinds if (k.group, k.version, k.kind) == (group, version, wanted["kind"])), None)
        found: list[Object] = []
        if kind is not None:
            namespace = reference.get("namespace") or there["metadata"].get("namespace") or ""
            matches = selectors.of_selector(reference.get("selector") or {})
            found = [
                events.shown(kind, each)
                for each in self._store.all(kind.storage, namespace if kind.namespaced else "")
                if reference.get("name", each["metadata"]["name"]) == each["metadata"]["name"] and matches(each)
            ]
        if not found and reference.get("parameterNotFoundAction") != "Allow":
            yield _NOTHING
        yield from found


_NOTHING: Object = {}
"""Stands for a parameter that is wanted and not there."""
_NO_PARAMS = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"


class _Question:
    """One policy asked through one binding about one object."""

    def __init__(self, policies: Policies, policy: Object, binding: Object, params: Object | None) -> None:
        self._policies = policies
        self._spec = policy["spec"]
        self._names = (policy["metadata"]["name"], binding["metadata"]["name"])
        self._actions = binding["spec"].get("validationActions") or ()
        self._params = params

    def ask(self, kind: Kind, item: Object | None, before: Object | None, how: Writing) -> None:
        """ApiError when the policy denies."""
        if self._params is _NOTHING:
            self._fail(kind, item or before or {}, how, _NO_PARAMS, "Invalid")
            return
        self._functions = self._policies.functions(how)
        self._known = {**self._policies.variables(kind, item, before, how), "params": self._params, "variables": {}}
        try:
            if not all(self._say(each["expression"]) is True for each in self._spec.get("matchConditions") or ()):
                return
        except cel.EvaluationError as error:
            self._fail(kind, item or before or {}, how, str(error), "Invalid")
            return
        for each in self._spec.get("variables") or ():
            try:
                self._known["variables"][each["name"]] = self._say(each["expression"])
            except cel.EvaluationError:
                continue  # whoever reads it fails for want of it
        for each in self._spec.get("validations") or ():
            self._validate(each, kind, item or before or {}, how)

    def _validate(self, rule: Object, kind: Kind, there: Object, how: Writing) -> None:
        expression = " ".join(rule["expression"].split())
        try:
            if self._say(rule["expression"]) is True:
                return
        except cel.EvaluationError as error:
            self._fail(kind, there, how, f"expression '{expression}' resulted in error: {error}", "Invalid")
            return
        self._deny(
            kind, there, how, self._message(rule) or f"failed expression: {expression}", rule.get("reason") or "Invalid"
        )

    def _message(self, rule: Object) -> str:
        said: Any = ""
        if rule.get("messageExpression"):
            try:
                said = self._say(rule["messageExpression"])
            except cel.EvaluationError:
                said = ""
        return said.strip() if isinstance(said, str) and said.strip() else rule.get("message") or ""

    def _say(self, expression: str) -> Any:
        return cel.evaluate(expression, self._known, self._functions)

    def _fail(self, kind: Kind, there: Object, how: Writing, message: str, reason: str) -> None:
        """What cannot be evaluated counts as a refusal, unless the policy says otherwise."""
        if (self._spec.get("failurePolicy") or "Fail") == "Fail":
            self._deny(kind, there, how, message, reason)

    def _deny(self, kind: Kind, there: Object, how: Writing, message: str, reason: str) -> None:
        policy, binding = self._names
        if "Warn" in self._actions:
            how.warnings.append(
                f"Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {message}"
            )
        if "Deny" in self._actions:
            text = f"ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {message}"
            raise errors.denied(kind.group, kind.plural, there["metadata"]["name"], text, reason)


def _operation(item: Object | None, before: Object | None) -> str:
    return "DELETE" if item is None else "CREATE" if before is None else "UPDATE"


def _rule(rule: Object, kind: Kind, versions: set[str], sub: str, operation: str, name: str) -> bool:
    def has(field: str, *values: str) -> bool:
        given = rule.get(field) or ()
        return "*" in given or any(value in given for value in values)

    resource = f"{kind.plural}/{sub}" if sub else kind.plural
    wild = ("*/*", f"{kind.plural}/*", f"*/{sub}" if sub else "*")
    given = rule.get("resources") or ()
    fits = resource in given or any(each in given for each in wild) or ("*" in given and not sub)
    scope = rule.get("scope") or "*"
    return (
        has("operations", operation)
        and has("apiGroups", kind.group)
        and has("apiVersions", *versions)
        and fits
        and scope in ("*", "Namespaced" if kind.namespaced else "Cluster")
        and (not rule.get("resourceNames") or name in rule["resourceNames"])
    )


def unsupported(policy: Object) -> list[str]:
    """A warning for each expression that cannot be evaluated here, and so fails."""
    spec = policy.get("spec") or {}
    told = []
    for field in ("matchConditions", "variables", "validations"):
        for index, each in enumerate(spec.get(field) or ()):
            why = cel.unsupported_expression(each.get("expression") or "", authority.NAMES)
            if why:
                told.append(f"spec.{field}[{index}].expression cannot be evaluated here, and fails: {why}")
    return told
