"""The one catalogue of reasons: why a condition is as it is, or why a step could not be carried out.

The same list feeds conditions, Events, metric labels, errors and the troubleshooting page. Each reason says how bad it
is, whether it heals by itself, one sentence for the tenant and one for the admin. Reasons are never renamed.
"""

from keystead.model.exchange_texts import TEXTS as EXCHANGE_TEXTS
from keystead.model.pool_texts import TEXTS as POOL_TEXTS
from keystead.model.reason import REASONS, Explanation, Reason, Severity
from keystead.model.store_texts import TEXTS as STORE_TEXTS

__all__ = ["CATALOGUE", "REASONS", "Explanation", "Reason", "Severity"]

_OK, _WAIT, _BLOCK, _TROUBLE = Severity.OK, Severity.WAITING, Severity.BLOCKED, Severity.TROUBLE
_ASK = "Ask the platform team."


def _say(severity: Severity, heals: bool, tenant: str, admin: str = "") -> Explanation:  # noqa: FBT001 - a table cell
    return Explanation(severity, heals, tenant, admin or tenant)


CATALOGUE: dict[Reason, Explanation] = {
    Reason.READY: _say(_OK, True, "Everything works; nothing to do."),
    Reason.ACCEPTED: _say(_OK, True, "The grant allows this namespace."),
    Reason.APPROVED: _say(_OK, True, "A reviewer agreed."),
    Reason.APPROVAL_NOT_REQUIRED: _say(_OK, True, "The grant asks for no review."),
    Reason.FEDERATED: _say(_OK, True, "The federated credential exists in Azure."),
    Reason.VERIFIED: _say(_OK, True, "A token exchange and a look at the vault succeeded."),
    Reason.VALID: _say(_OK, True, "The grant makes sense."),
    Reason.POOL_READY: _say(_OK, True, "All identities of the pool can be used."),
    Reason.CAPACITY_AVAILABLE: _say(_OK, True, "The pool has free slots."),
    Reason.GUARDS_IN_FORCE: _say(_OK, True, "Admission policies hold everybody to their role."),
    Reason.AWAITING_REVIEW: _say(
        _WAIT, False, "Waits for a reviewer.", "See `keystead requests`, then `keystead approve` or `keystead deny`."
    ),
    Reason.AWAITING_WRITE: _say(
        _WAIT, True, "Waits for its turn to be written to Azure (one write per identity in four seconds)."
    ),
    Reason.AWAITING_PROPAGATION: _say(_WAIT, True, "Azure has the credential; it takes some seconds to take effect."),
    Reason.AWAITING_VERIFICATION: _say(_WAIT, True, "The token exchange is being tried."),
    Reason.AWAITING_LIST: _say(_WAIT, True, "The identities of the pool are being read."),
    Reason.AWAITING_FINALIZERS: _say(
        _WAIT, True, "Waits for External Secrets Operator to finish in the terminating namespace."
    ),
    Reason.AWAITING_REVOCATION: _say(_WAIT, True, "An earlier credential for the same account is being removed first."),
    Reason.REVOKING: _say(_WAIT, True, "The trust is being taken away."),
    Reason.OBSERVE_ONLY: _say(
        _WAIT, False, "Keystead only observes; nothing is written.", "Take observeOnly away to let it act."
    ),
    Reason.GRANT_NOT_FOUND: _say(_BLOCK, False, "There is no VaultGrant of this name; correct spec.grantName."),
    Reason.GRANT_INVALID: _say(
        _BLOCK,
        False,
        "The grant has an error; nothing new is granted until it is corrected.",
        "Correct the field that condition Valid names.",
    ),
    Reason.GRANT_DELETED: _say(_BLOCK, False, "The grant was deleted; access is taken away."),
    Reason.NOT_ALLOWED: _say(
        _BLOCK,
        False,
        "The grant does not allow this namespace. " + _ASK,
        "Add the namespace's label, name or Rancher project to the grant.",
    ),
    Reason.RANCHER_PROJECT_DISAGREES: _say(
        _BLOCK,
        False,
        "Label and annotation field.cattle.io/projectId name different projects. " + _ASK,
        "Correct the label; the annotation counts.",
    ),
    Reason.SERVICE_ACCOUNT_NAME_NOT_ALLOWED: _say(
        _BLOCK,
        False,
        "This ServiceAccount name is not allowed here; use an allowed one.",
        "Add the name to the operator's setting and its RBAC.",
    ),
    Reason.TOO_MANY_CLAIMS: _say(
        _BLOCK,
        False,
        "The namespace has as many claims as the grant allows; delete one.",
        "Raise spec.maxClaimsPerNamespace, or delete a claim.",
    ),
    Reason.SUBJECT_TAKEN: _say(
        _BLOCK, False, "Another claim already serves this ServiceAccount; use another name or delete that claim."
    ),
    Reason.DENIED: _say(
        _BLOCK, False, "A reviewer said no. Talk to the reviewer.", "Delete the VaultApproval to reopen the request."
    ),
    Reason.APPROVER_IS_REQUESTER: _say(_BLOCK, False, "The requester approved the request; somebody else has to."),
    Reason.REQUESTER_UNKNOWN: _say(
        _BLOCK, False, "The claim does not say who asks; make it again with your own name in spec.requestedBy."
    ),
    Reason.POOL_EXHAUSTED: _say(
        _BLOCK,
        False,
        "All slots of the pool are taken. " + _ASK,
        "Add an identity to spec.identities: Azure allows 20 credentials on each.",
    ),
    Reason.TUPLE_TAKEN: _say(
        _BLOCK,
        False,
        "Somebody else's credential already trusts this account. " + _ASK,
        "Take it over with `keystead adopt`, or delete it in Azure.",
    ),
    Reason.IDENTITY_NOT_FOUND: _say(
        _BLOCK,
        False,
        "An identity of the pool does not exist. " + _ASK,
        "Correct spec.identities[].resourceId, or create the identity.",
    ),
    Reason.IDENTITY_SHARED: _say(
        _BLOCK, False, "An identity stands in two grants. " + _ASK, "Leave each identity in one VaultGrant only."
    ),
    Reason.TENANTS_DISAGREE: _say(
        _BLOCK,
        False,
        "The identities of the pool are of different tenants. " + _ASK,
        "Keep identities of one tenant in a grant.",
    ),
    Reason.AWAITING_CONFIRMATION: _say(
        _BLOCK,
        False,
        "An edit would take access from many namespaces at once and waits for a confirmation.",
        'Annotate the grant with keystead.dev/confirm-revocations: "GENERATION" to go on, or undo the edit.',
    ),
    Reason.AZURE_FORBIDDEN: _say(
        _BLOCK,
        False,
        "Azure refuses the operator. " + _ASK,
        "Give the operator's identity federatedIdentityCredentials read, write and delete on it.",
    ),
    Reason.AZURE_LOCKED: _say(
        _BLOCK,
        False,
        "A lock in Azure forbids the change. " + _ASK,
        "Remove the resource lock, or wait until it is lifted.",
    ),
    Reason.AZURE_POLICY: _say(
        _BLOCK, False, "An Azure policy forbids the credential. " + _ASK, "Exempt the identity from the policy."
    ),
    Reason.REGION_UNSUPPORTED: _say(
        _BLOCK,
        False,
        "The identity's region has no federated credentials. " + _ASK,
        "Use an identity in another region.",
    ),
    Reason.PROVIDER_NOT_REGISTERED: _say(
        _BLOCK,
        False,
        "The identity's subscription is not prepared for managed identities. " + _ASK,
        "Register the provider in the subscription: `az provider register --namespace Microsoft.ManagedIdentity`.",
    ),
    Reason.SUBSCRIPTION_DISABLED: _say(
        _BLOCK,
        False,
        "The identity's subscription is disabled. " + _ASK,
        "Enable the subscription again; until then Azure changes nothing in it.",
    ),
    Reason.SUBSCRIPTION_NOT_FOUND: _say(
        _BLOCK,
        False,
        "Azure does not show a subscription of the grant. " + _ASK,
        "Correct the id, or give the subscription back to the tenant that the operator signs in to. It may live where "
        "the operator does not see it, so nothing in it counts as deleted.",
    ),
    Reason.AZURE_REFUSED: _say(
        _BLOCK, False, "Azure refused the request. " + _ASK, "See the operator's log for Azure's code."
    ),
    Reason.GUARDS_ABSENT: _say(
        _BLOCK,
        False,
        "The cluster does not hold people to their roles: its admission guards are not in force. " + _ASK,
        "Without guards anybody who may write claims, approvals or labels can do so in another's name: "
        "`keystead guards | kubectl apply --server-side -f -`.",
    ),
    Reason.ADOPTION_INVALID: _say(
        _BLOCK,
        False,
        "The annotation keystead.dev/adopt of the grant has an entry that makes no sense; the others count. " + _ASK,
        "Correct the entry that the message names: NAMESPACE, NAMESPACE/SERVICEACCOUNT or *.",
    ),
    Reason.SETTING_INVALID: _say(
        _BLOCK,
        False,
        "A setting of the operator, or what it needs on its machine, makes no sense; the message names it.",
    ),
    Reason.NAMESPACE_DELETED: _say(_WAIT, True, "The namespace is gone."),
    Reason.NAMESPACE_RECREATED: _say(
        _WAIT, True, "The namespace was recreated under the same name; that is a new request."
    ),
    Reason.CLAIM_DELETED: _say(_WAIT, True, "The claim was deleted."),
    Reason.CLAIM_CHANGED: _say(_WAIT, True, "The claim names another account or grant now."),
    Reason.APPROVAL_WITHDRAWN: _say(
        _WAIT, False, "The approval was withdrawn or no longer fits; a new review is needed."
    ),
    Reason.FEDERATION_DELETED: _say(_WAIT, True, "The ledger entry was deleted by somebody; it is rebuilt."),
    Reason.IDENTITY_REMOVED: _say(
        _WAIT, True, "The identity was removed from the grant; the claim moves to another one."
    ),
    Reason.CREDENTIAL_REPLACED: _say(
        _WAIT, True, "Another credential on the same identity stands for the same trust by now; this entry goes."
    ),
    Reason.CONCURRENT_WRITE: _say(_TROUBLE, True, "Somebody else writes to the same identity; retried."),
    Reason.AZURE_THROTTLED: _say(_TROUBLE, True, "Azure asks to wait; retried at the time it named."),
    Reason.AZURE_UNAVAILABLE: _say(_TROUBLE, True, "Azure does not answer or fails; retried."),
    Reason.AZURE_SIGN_IN_FAILED: _say(
        _TROUBLE,
        True,
        "The operator cannot sign in to Azure. " + _ASK,
        "Check AZURE_TENANT_ID, AZURE_CLIENT_ID and the operator's own credential.",
    ),
    Reason.IDENTITY_FULL: _say(_TROUBLE, True, "The identity turned out to be full; another one is chosen."),
    Reason.KUBERNETES_UNAVAILABLE: _say(_TROUBLE, True, "The Kubernetes API does not answer; retried."),
    Reason.KUBERNETES_FORBIDDEN: _say(
        _BLOCK, False, "The operator may not do this in the cluster. " + _ASK, "Check the operator's ClusterRoles."
    ),
    Reason.KUBERNETES_CONFLICT: _say(_TROUBLE, True, "An object changed at the same moment; retried."),
    Reason.KUBERNETES_REFUSED: _say(
        _BLOCK, False, "The Kubernetes API refused the object. " + _ASK, "See the message for the field."
    ),
    Reason.LEASE_LOST: _say(_TROUBLE, True, "Another replica has taken over."),
    Reason.INTERNAL_ERROR: _say(
        _TROUBLE,
        True,
        "Something unexpected happened; retried. " + _ASK,
        "This is a bug in Keystead; see the operator's log.",
    ),
}
CATALOGUE |= {
    Reason(name): _say(Severity(severity), heals, tenant, admin)
    for name, (severity, heals, tenant, admin) in (EXCHANGE_TEXTS | POOL_TEXTS | STORE_TEXTS).items()
}
