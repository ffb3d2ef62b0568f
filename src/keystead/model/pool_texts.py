"""What the reasons of growing pools say, as a table for :mod:`keystead.model.reasons`, which is the catalogue.

By reason: how bad it is, whether it heals by itself, the tenant's sentence, the admin's.
"""

_ASK = " Ask the platform team."
_PAGE = " See docs/growing-pools.md for the rights that a growing pool needs."

TEXTS: dict[str, tuple[str, bool, str, str]] = {
    "PoolGrowing": (
        "waiting",
        True,
        "The pool is growing: a new identity is being made and proven, which may take ten minutes.",
        "See PoolReady and CapacityAvailable of the grant for what it waits for.",
    ),
    "ProbeEnded": ("waiting", True, "The operator's own trust on the identity has served its purpose.", ""),
    "PrincipalUnknown": (
        "trouble",
        True,
        "Azure's directory does not show the new identity yet; retried.",
        "A new principal takes seconds, at times minutes, until role assignments may name it.",
    ),
    "GrowthForbidden": (
        "blocked",
        False,
        "The operator may not make identities for the pool." + _ASK,
        "Give the operator userAssignedIdentities read and write on spec.provisioning.resourceGroupId." + _PAGE,
    ),
    "RoleForbidden": (
        "blocked",
        False,
        "The operator may not give the vault's role to a new identity." + _ASK,
        "Give the operator roleAssignments/write on the vault, and look at the condition of that right." + _PAGE,
    ),
    "VaultNotFound": (
        "blocked",
        False,
        "The vault of the grant does not exist." + _ASK,
        "Correct spec.vault.resourceId.",
    ),
    "RoleMissing": (
        "blocked",
        False,
        "An identity of the pool lacks the vault's role." + _ASK,
        "Assign the role that the others have, on the vault, to every identity of the pool.",
    ),
    "ResourceGroupNotFound": (
        "blocked",
        False,
        "The resource group of the pool does not exist." + _ASK,
        "Correct spec.provisioning.resourceGroupId, or create the group.",
    ),
    "IdentityNameTaken": (
        "trouble",
        True,
        "An identity of the next name exists and is not of this grant; the next number is taken.",
        "It is left alone. Choose another spec.provisioning.namePrefix if this goes on.",
    ),
    "AzureQuota": (
        "blocked",
        False,
        "A limit of the subscription is reached." + _ASK,
        "Remove what is not needed (a subscription holds 4000 role assignments), or use another subscription.",
    ),
}
