"""What the reasons about accounts and stores say, as a table for :mod:`keystead.model.reasons`, which is the catalogue.

By reason: how bad it is, whether it heals by itself, the tenant's sentence, the admin's.
"""

TEXTS: dict[str, tuple[str, bool, str, str]] = {
    "StoreApplied": (
        "ok",
        True,
        "ServiceAccount and SecretStore are in place.",
        "",
    ),
    "StoreReady": (
        "ok",
        True,
        "The secrets engine has accepted the SecretStore.",
        "",
    ),
    "StoreUntested": (
        "ok",
        True,
        (
            "The SecretStore says useAzureSDK, with which External Secrets Operator calls it ready before it has "
            "tried anything; condition Verified says whether access works."
        ),
        "",
    ),
    "StoresShareAccount": (
        "ok",
        True,
        (
            "Several SecretStores use this ServiceAccount: all of them read with its rights, and External "
            "Secrets Operator signs in anew whenever one ExternalSecret goes from one to the other."
        ),
        "",
    ),
    "StoreManifestOutdated": (
        "ok",
        True,
        (
            "The SecretStore was written as external-secrets.io/v1beta1, which External Secrets Operator does "
            "not serve since 0.17; write external-secrets.io/v1 in its manifest."
        ),
        "",
    ),
    "StoreConflict": (
        "blocked",
        False,
        "A SecretStore of this name, owned by somebody else, says otherwise; correct or delete it.",
        "Take it over with `keystead adopt`, or have its owner correct or delete it.",
    ),
    "StoreNotReady": (
        "trouble",
        True,
        "The token exchange is proven, but the secrets engine does not accept the SecretStore yet; it looks again.",
        "See the SecretStore's events: `kubectl describe secretstore`.",
    ),
    "StoreUsesNodeIdentity": (
        "blocked",
        False,
        (
            "The SecretStore uses the identity of the node (authType ManagedIdentity), which nodes outside Azure "
            "do not have and all namespaces of a node share; use authType WorkloadIdentity and serviceAccountRef."
        ),
        "",
    ),
    "TenantTwice": (
        "blocked",
        False,
        (
            "The tenant stands in the SecretStore and on the ServiceAccount, and External Secrets Operator "
            "refuses two; remove it from the SecretStore."
        ),
        "",
    ),
    "ClientTwice": (
        "blocked",
        False,
        (
            "The client id stands in the SecretStore and on the ServiceAccount, and External Secrets Operator "
            "refuses two; remove authSecretRef from the SecretStore."
        ),
        "",
    ),
    "TokensForbidden": (
        "blocked",
        False,
        "External Secrets Operator may not get tokens for the ServiceAccount. Ask the platform team.",
        (
            "Let its account create serviceaccounts/token, or set spec.template.tokenRole; KEYSTEAD_ESO_ACCOUNT "
            "names the account that is meant."
        ),
    ),
    "ServiceAccountConflict": (
        "blocked",
        False,
        "Somebody else set other workload identity annotations on the ServiceAccount; remove them.",
        "Take them over with `keystead adopt`, or have their owner remove them.",
    ),
}
