"""Who may do what in the cluster, and why: the one source of the roles that we ship.

- Least privilege: a verb is here because a line of ours, or a person's task, needs it; the reason stands beside it.
- Nobody of ours reads Secrets but the engine, whose work they are.
- Tokens are minted for accounts of the allowed names alone: the right carries ``resourceNames``.
- The ledger is written by the operator alone; grants by admins alone; approvals by approvers alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keystead.kube.resources import GROUP
from keystead.model.growth import PROBE_ACCOUNT

ESO = "external-secrets.io"
NAMESPACE = "keystead-system"
OPERATOR, ENGINE = "keystead-operator", "keystead-engine"
ADMIN, APPROVER, VIEWER, TENANT = "keystead-admin", "keystead-approver", "keystead-viewer", "keystead-tenant"
LEASE, ENGINE_LEASE = "keystead-operator", "keystead-sync"
"""The defaults of the operator's and the engine's settings."""
READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete")
_TELL = ("get", "create", "patch")
_GUARDS = ("admissionregistration.k8s.io", ("validatingadmissionpolicies", "validatingadmissionpolicybindings"))
_DISCOVERY = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a role."""

    group: str
    """API group; empty for the core."""
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()
    """Only objects of these names; empty: of any."""
    paths: tuple[str, ...] = ()
    """Paths outside the resources, in place of *resources*."""


@dataclass(frozen=True, slots=True)
class Role:
    """A ClusterRole, or a Role in the namespace of the installation."""

    name: str
    meaning: str
    rules: tuple[Rule, ...]
    account: bool = False
    """Bound to the ServiceAccount of the same name in the namespace of the installation."""
    cluster: bool = True
    aggregate_to: str = ""
    """The built-in ClusterRole that includes this one."""


def roles(account_names: Sequence[str], *, token_roles: bool = False) -> tuple[Role, ...]:
    """All of them, for an installation whose claims may use these ServiceAccounts.

    *token_roles*: grants may ask for a Role that lets External Secrets Operator mint tokens for a claim's account.
    """
    names = tuple(sorted(account_names))
    operator = (*_operator(names), *(_TOKEN_ROLES if token_roles else ()))
    return (
        Role(OPERATOR, "The operator, `keystead run`.", operator, account=True),
        Role(OPERATOR, "The operator, in its own namespace.", (*_election(LEASE), _PROBE), account=True, cluster=False),
        Role(ENGINE, "The built-in secrets engine, `keystead sync`.", _engine(names), account=True),
        Role(ENGINE, "The engine, in its own namespace.", _election(ENGINE_LEASE), account=True, cluster=False),
        Role(ADMIN, "Platform admins: say which namespaces may have which vault.", _admin()),
        Role(APPROVER, "Reviewers: decide on claims, and nothing else.", _approver()),
        Role(VIEWER, "Auditors and on-call: see everything of ours, change nothing.", _viewer(names)),
        Role(TENANT, "Developers, in the namespaces that they may edit anyway.", _tenant(), aggregate_to="edit"),
    )


def _operator(names: tuple[str, ...]) -> tuple[Rule, ...]:
    return (
        Rule("", ("namespaces",), READ, "labels, annotations and UIDs decide who is allowed"),
        Rule(GROUP, ("vaultgrants", "vaultapprovals"), ("list", "watch"), "what admins and reviewers have said"),
        Rule(
            GROUP,
            ("vaultclaims",),
            ("list", "watch", "create", "delete"),
            "automatic claims come and go with the grant",
        ),
        Rule(
            GROUP,
            ("federations",),
            (*READ, "create", "patch", "delete"),
            "the ledger: written before Azure is, finalizer taken off once Azure is clean",
        ),
        Rule(
            GROUP,
            ("vaultgrants/status", "vaultclaims/status", "federations/status"),
            ("patch",),
            "conditions, for people to read",
        ),
        Rule(
            "", ("serviceaccounts",), ("list", "watch"), "whose annotations name which identity", names=_watched(names)
        ),
        Rule("", ("serviceaccounts",), ("create",), "the account of a claim; creation cannot be limited by name"),
        Rule("", ("serviceaccounts",), ("get", "patch"), "annotate exactly it once its trust is proven", names=names),
        Rule("", ("serviceaccounts/token",), ("create",), "prove the trust by an exchange", names=names),
        Rule(ESO, ("secretstores",), ("list", "watch", "create", "patch"), "the store of a claim"),
        Rule(ESO, ("externalsecrets",), ("list", "patch"), "wake those that failed before the store worked"),
        Rule(
            "authorization.k8s.io",
            ("subjectaccessreviews",),
            ("create",),
            "when a store fails: whether ESO may mint tokens for its account",
        ),
        Rule("events.k8s.io", ("events",), _TELL, "what happened, told at its object, and counted on after a restart"),
        Rule(
            *_GUARDS,
            ("list", "watch"),
            "whether the guards are there, for condition FourEyesEnforced",
        ),
        Rule("", (), ("get",), "the token issuer's name", paths=(_DISCOVERY,)),
    )


_TOKEN_ROLES = (
    Rule(
        "rbac.authorization.k8s.io",
        ("roles", "rolebindings"),
        ("create", "patch"),
        "the Role of spec.template.tokenRole; the API server lets nobody give more than they have, which is to mint "
        "tokens for accounts of the allowed names",
    ),
)
_PROBE = Rule(
    "", ("serviceaccounts/token",), ("create",), "prove a new identity of a growing pool", names=(PROBE_ACCOUNT,)
)


def _watched(names: tuple[str, ...]) -> tuple[str, ...]:
    """By which name accounts are listed; empty: by none."""
    # The API server lets a named account be watched in all namespaces when the request names it, which is possible for
    # one name only: a field selector cannot say "or".
    return names if len(names) == 1 else ()


def _election(lease: str) -> tuple[Rule, ...]:
    group, resources = "coordination.k8s.io", ("leases",)
    return (
        Rule(group, resources, ("create",), "one replica leads; creation cannot be limited by name"),
        Rule(group, resources, ("get", "update"), "take, renew and release the lease", names=(lease,)),
    )


def _engine(names: tuple[str, ...]) -> tuple[Rule, ...]:
    stores = ("secretstores", "clustersecretstores")
    return (
        Rule(
            "",
            ("secrets",),
            (*READ, "create", "update", "delete"),
            "ExternalSecrets of any namespace become Secrets there; a watch by label sees only ours, but RBAC knows no "
            "labels",
        ),
        Rule(ESO, ("externalsecrets", *stores), ("list", "watch"), "what is to be fetched, and from where"),
        Rule(ESO, ("externalsecrets",), ("patch",), "take off finalizers that ESO has left"),
        Rule(
            ESO, ("externalsecrets/status", *(f"{each}/status" for each in stores)), ("patch",), "conditions, as ESO's"
        ),
        Rule("", ("serviceaccounts",), ("get",), "which identity an account stands for", names=names),
        Rule("", ("serviceaccounts/token",), ("create",), "sign in to Azure as the account", names=names),
        Rule("events.k8s.io", ("events",), _TELL, "what happened, told at the ExternalSecret"),
    )


def _admin() -> tuple[Rule, ...]:
    return (
        Rule(GROUP, ("vaultgrants",), (*READ, *WRITE), "grants are theirs"),
        Rule(GROUP, ("vaultgrants",), ("use",), "may label namespaces into a grant"),
        Rule(GROUP, ("vaultclaims",), (*READ, *WRITE), "help tenants with their claims"),
        Rule(GROUP, ("vaultapprovals", "federations"), READ, "see what was decided and what stands; not decide"),
        Rule(GROUP, ("federations",), ("patch", "abandon"), "let go of what Azure will never delete"),
        Rule("", ("namespaces",), READ, "see whom a grant means"),
    )


def _approver() -> tuple[Rule, ...]:
    return (
        Rule(GROUP, ("vaultapprovals",), (*READ, "create", "delete"), "say yes or no, and take it back; never edit it"),
        Rule(GROUP, ("vaultgrants",), (*READ, "approve"), "may decide on claims of a grant"),
        Rule(GROUP, ("vaultclaims",), READ, "see what waits"),
        Rule("", ("namespaces",), ("get",), "an approval is bound to the namespace's UID"),
    )


def _viewer(names: tuple[str, ...]) -> tuple[Rule, ...]:
    kinds = ("vaultgrants", "vaultclaims", "vaultapprovals", "federations")
    plan = "`keystead plan` looks at what the operator looks at"
    return (
        Rule(GROUP, kinds, READ, "the chain from namespace to vault"),
        Rule("", ("namespaces",), ("get", "list"), plan),
        Rule("", ("serviceaccounts",), ("list",), plan, names=_watched(names)),
        Rule(ESO, ("secretstores",), ("list",), plan),
        Rule(*_GUARDS, ("list",), plan),
        Rule("", (), ("get",), plan, paths=(_DISCOVERY,)),
    )


def _tenant() -> tuple[Rule, ...]:
    return (Rule(GROUP, ("vaultclaims",), (*READ, *WRITE), "ask for a vault and see what became of it"),)
