"""Who may write what once the guards are in force; the same on the embedded Kubernetes and on a real one."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from keystead.kube.guards import RANCHER
from keystead.kube.permissions import ADMIN, APPROVER, NAMESPACE, OPERATOR

Object: TypeAlias = dict[str, Any]
OURS = "/apis/keystead.dev/v1alpha1"
ESO = "/apis/external-secrets.io/v1"
OPERATOR_USER = f"system:serviceaccount:{NAMESPACE}:{OPERATOR}"
DEVELOPER, REVIEWER, PLATFORM, SHOP = "guard-dev", "guard-reviewer", "guard-admin", "guard-shop"
VAULT = "https://guard-kv.vault.azure.net"
_RBAC = "rbac.authorization.k8s.io"
_PROJECT = "field.cattle.io/projectId"


@dataclass(frozen=True)
class Case:
    """One write by somebody."""

    meaning: str
    who: str
    method: str
    path: str
    body: Object = field(default_factory=dict)
    denied: str = ""
    """What the refusal says; empty: it is let through."""


def _grant(name: str, **namespaces: Any) -> Object:
    spec = {
        "namespaces": namespaces,
        "vault": {"url": VAULT},
        "identities": [],
        "approval": "Required",
        "claims": "OnRequest",
    }
    return {"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultGrant", "metadata": {"name": name}, "spec": spec}


def _namespace(name: str = "guard-new", **metadata: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **metadata}}


def _claim(name: str, requested_by: str = "", **metadata: Any) -> Object:
    spec = {"grantName": "guard-team", **({"requestedBy": requested_by} if requested_by else {})}
    metadata = {"name": name, "namespace": SHOP, **metadata}
    return {"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultClaim", "metadata": metadata, "spec": spec}


def _approval(name: str, by: str, grant: str = "guard-team") -> Object:
    spec = {
        "grantName": grant,
        "namespace": SHOP,
        "namespaceUID": "uid",
        "subject": f"system:serviceaccount:{SHOP}:keystead",
        "vaultUrl": VAULT,
        "decision": "Approved",
        "by": by,
    }
    return {"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultApproval", "metadata": {"name": name}, "spec": spec}


def _store(**azure: Any) -> Object:
    spec = {"provider": {"azurekv": {"vaultUrl": VAULT, **azure}}}
    metadata = {"name": "guard-store", "namespace": SHOP}
    return {"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": metadata, "spec": spec}


def _bound(user: str, role: str) -> Object:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{user}-{role}"},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user}],
    }


def _role() -> Object:
    """More rights than anybody should have, so that nothing but the guards stands in the way."""
    rules = [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create", "patch", "update", "get"]},
        {"apiGroups": ["keystead.dev"], "resources": ["*"], "verbs": ["create", "patch", "get", "delete"]},
        {"apiGroups": ["external-secrets.io"], "resources": ["*"], "verbs": ["create", "patch", "get"]},
    ]
    return {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": "guard-writes"}, "rules": rules}


def _federation() -> Object:
    spec = {
        "grantName": "guard-team",
        "namespace": SHOP,
        "namespaceUID": "uid",
        "claimName": "team",
        "serviceAccountName": "keystead",
        "identityResourceId": "/subscriptions/x",
        "credential": {"name": "c", "issuer": "i", "subject": "s", "audience": "a"},
    }
    metadata = {"name": "guard-fed", "finalizers": ["keystead.dev/revoke"]}
    return {"apiVersion": "keystead.dev/v1alpha1", "kind": "Federation", "metadata": metadata, "spec": spec}


GRANTS = (
    _grant("guard-team", selector={"matchLabels": {"guard": "team"}}, rancherProjects=["p-guard", "c-one:p-other"]),
    _grant("guard-odd", selector={"matchExpressions": [{"key": "guard-odd", "operator": "In"}]}),
    _grant(
        "guard-expressed",
        selector={
            "matchExpressions": [
                {"key": "guard-tier", "operator": "In", "values": ["gold", "silver"]},
                {"key": "guard-out", "operator": "DoesNotExist"},
                {"key": "guard-zone", "operator": "NotIn", "values": ["dmz"]},
            ]
        },
    ),
    _grant("guard-named", names=["guard-by-name"]),
)
SET_UP: tuple[Object, ...] = (
    _role(),
    *(_bound(user, "guard-writes") for user in (DEVELOPER, REVIEWER, PLATFORM, *RANCHER)),
    _bound(REVIEWER, APPROVER),
    _bound(PLATFORM, ADMIN),
    *GRANTS,
    _namespace(SHOP),
    _namespace("guard-inside", labels={"guard": "team"}),
    _claim("team"),
    _approval("guard-word", REVIEWER),
    _federation(),
)
CLAIM_STATUS = {"status": {"subject": f"system:serviceaccount:{SHOP}:keystead", "vaultUrl": VAULT}}
_FED = f"{OURS}/federations/guard-fed"
_CLAIMS = f"{OURS}/namespaces/{SHOP}/vaultclaims"
_STORES = f"{ESO}/namespaces/{SHOP}/secretstores"
_ABANDON = {"keystead.dev/abandon": "the subscription is closed", "keystead.dev/abandoned-by": PLATFORM}
FIRST = Case("probe", DEVELOPER, "POST", "/api/v1/namespaces", _namespace(labels={"guard": "team"}), "the verb use")
LAST = Case("probe", DEVELOPER, "POST", _STORES, _store(authType="ManagedIdentity"), "identity of the node")
CASES = (
    FIRST,
    Case("a label of no grant", DEVELOPER, "POST", "/api/v1/namespaces", _namespace(labels={"guard": "x"})),
    Case("no label at all", DEVELOPER, "POST", "/api/v1/namespaces", _namespace()),
    Case("by an admin", PLATFORM, "POST", "/api/v1/namespaces", _namespace(labels={"guard": "team"})),
    Case("by Rancher", RANCHER[0], "POST", "/api/v1/namespaces", _namespace(annotations={_PROJECT: "c-1:p-guard"})),
    *(
        Case(
            f"project {value[:20]}",
            DEVELOPER,
            "POST",
            "/api/v1/namespaces",
            _namespace(annotations={_PROJECT: value}),
            denied,
        )
        for value, denied in (
            ("c-1:p-guard", "the verb use"),
            ("p-guard", "the verb use"),
            ("c-one:p-other", "the verb use"),
            ("c-two:p-other", ""),
            ("x" * 200_000 + ":p-guard", "the verb use"),
        )
    ),
    Case(
        "a label later",
        DEVELOPER,
        "PATCH",
        f"/api/v1/namespaces/{SHOP}",
        {"metadata": {"labels": {"guard": "team"}}},
        "the verb use",
    ),
    Case(
        "another label of one inside",
        DEVELOPER,
        "PATCH",
        "/api/v1/namespaces/guard-inside",
        {"metadata": {"labels": {"a": "b"}}},
    ),
    Case(
        "out of a grant",
        DEVELOPER,
        "PATCH",
        "/api/v1/namespaces/guard-inside",
        {"metadata": {"labels": {"guard": None}}},
    ),
    Case(
        "an expression met",
        DEVELOPER,
        "POST",
        "/api/v1/namespaces",
        _namespace(labels={"guard-tier": "gold"}),
        "guard-expressed",
    ),
    Case("an expression missed", DEVELOPER, "POST", "/api/v1/namespaces", _namespace(labels={"guard-tier": "tin"})),
    Case(
        "one of several missed",
        DEVELOPER,
        "POST",
        "/api/v1/namespaces",
        _namespace(labels={"guard-tier": "gold", "guard-zone": "dmz"}),
    ),
    Case(
        "a selector without values meets nothing",
        DEVELOPER,
        "POST",
        "/api/v1/namespaces",
        _namespace(labels={"guard-odd": "x"}),
    ),
    # who asks
    Case("in one's own name", DEVELOPER, "POST", _CLAIMS, _claim("mine", DEVELOPER)),
    Case(
        "in another's name", DEVELOPER, "POST", _CLAIMS, _claim("mine", REVIEWER), "spec.requestedBy: must be guard-dev"
    ),
    Case("in nobody's name", DEVELOPER, "POST", _CLAIMS, _claim("mine"), "spec.requestedBy: must be guard-dev"),
    Case(
        "the operator's own", OPERATOR_USER, "POST", _CLAIMS, _claim("mine", labels={"keystead.dev/automatic": "true"})
    ),
    Case(
        "as if it were the operator's",
        DEVELOPER,
        "POST",
        _CLAIMS,
        _claim("mine", DEVELOPER, labels={"keystead.dev/automatic": "true"}),
        "keystead.dev/automatic",
    ),
    Case("a label of one's own later", DEVELOPER, "PATCH", f"{_CLAIMS}/team", {"metadata": {"labels": {"a": "b"}}}),
    Case(
        "the operator's label later",
        DEVELOPER,
        "PATCH",
        f"{_CLAIMS}/team",
        {"metadata": {"labels": {"keystead.dev/automatic": "true"}}},
        "keystead.dev/automatic",
    ),
    # who decides
    Case("an approver's word", REVIEWER, "POST", f"{OURS}/vaultapprovals", _approval("guard-w", REVIEWER)),
    Case(
        "in another's name",
        REVIEWER,
        "POST",
        f"{OURS}/vaultapprovals",
        _approval("guard-w", "boss"),
        "spec.by: must be guard-reviewer",
    ),
    Case(
        "a developer's word",
        DEVELOPER,
        "POST",
        f"{OURS}/vaultapprovals",
        _approval("guard-w", DEVELOPER),
        "the verb approve",
    ),
    Case(
        "an admin's word",
        PLATFORM,
        "POST",
        f"{OURS}/vaultapprovals",
        _approval("guard-w", PLATFORM),
        "the verb approve",
    ),
    Case("taken back by an approver", REVIEWER, "DELETE", f"{OURS}/vaultapprovals/guard-word"),
    Case("taken back by a developer", DEVELOPER, "DELETE", f"{OURS}/vaultapprovals/guard-word", {}, "the verb approve"),
    # the ledger
    Case("letting go", DEVELOPER, "PATCH", _FED, {"metadata": {"finalizers": None}}, "only the operator"),
    Case("letting go, by an admin", PLATFORM, "PATCH", _FED, {"metadata": {"finalizers": None}}, "only the operator"),
    Case("letting go, by the operator", OPERATOR_USER, "PATCH", _FED, {"metadata": {"finalizers": None}}),
    Case("abandoned by an admin", PLATFORM, "PATCH", _FED, {"metadata": {"annotations": _ABANDON}}),
    Case(
        "abandoned in another's name",
        DEVELOPER,
        "PATCH",
        _FED,
        {"metadata": {"annotations": _ABANDON}},
        "only the operator",
    ),
    Case("a label on it", DEVELOPER, "PATCH", _FED, {"metadata": {"labels": {"a": "b"}}}),
    # stores
    LAST,
    Case(
        "the claim's account for the claim's vault",
        DEVELOPER,
        "POST",
        _STORES,
        _store(authType="WorkloadIdentity", serviceAccountRef={"name": "keystead"}, vaultUrl=f"{VAULT}/"),
    ),
    Case(
        "the claim's account for another vault",
        DEVELOPER,
        "POST",
        _STORES,
        _store(serviceAccountRef={"name": "keystead"}, vaultUrl="https://else.vault.azure.net"),
        "may read",
    ),
    Case(
        "another account for another vault",
        DEVELOPER,
        "POST",
        _STORES,
        _store(serviceAccountRef={"name": "other"}, vaultUrl="https://else.vault.azure.net"),
    ),
)
