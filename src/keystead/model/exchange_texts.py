"""What the reasons of failed token exchanges say, as a table for :mod:`keystead.model.reasons`, which is the catalogue.

By reason: how bad it is, whether it heals by itself, the tenant's sentence, the admin's.
"""

_ASK = " Ask the platform team."

TEXTS: dict[str, tuple[str, bool, str, str]] = {
    "SubjectMismatch": (
        "trouble",
        True,
        "Entra does not accept the account's subject yet; retried.",
        "If it lasts over ten minutes, compare subjects.",
    ),
    "IssuerMismatch": (
        "blocked",
        False,
        "Entra does not know the cluster's issuer." + _ASK,
        "Compare the issuer, trailing slash included.",
    ),
    "AudienceMismatch": (
        "blocked",
        False,
        "Entra does not accept the token's audience." + _ASK,
        "The audience must be api://AzureADTokenExchange.",
    ),
    "CaseMismatch": (
        "blocked",
        False,
        "Issuer or subject differ only in upper and lower case." + _ASK,
        "Entra compares exactly; correct the case.",
    ),
    "IssuerUnreachable": (
        "blocked",
        False,
        "Entra cannot read the cluster's token issuer." + _ASK,
        "Publish the issuer's discovery document and keys over public HTTPS.",
    ),
    "ClientUnknown": (
        "trouble",
        True,
        "Entra does not know the identity; retried.",
        "The identity is new, deleted, or of another tenant.",
    ),
    "TenantUnknown": (
        "blocked",
        False,
        "Entra does not know the tenant." + _ASK,
        "The identity's tenant id is wrong for this cloud.",
    ),
    "VaultForbidden": (
        "blocked",
        False,
        "The identity may not read the vault." + _ASK,
        "Assign Key Vault Secrets User on the vault to every identity of the pool.",
    ),
    "VaultUnreachable": (
        "trouble",
        True,
        "The vault does not answer; retried.",
        "Check spec.vault.url, the vault's firewall and DNS.",
    ),
    "VaultClosed": (
        "blocked",
        False,
        "The vault's network rules keep us out." + _ASK,
        "Let the egress addresses of the operator and of the secrets engine in, or reach the vault through its private endpoint from the cluster's network.",
    ),
    "ExchangeRefused": (
        "trouble",
        True,
        "Entra refused the token exchange; retried.",
        "See the AADSTS code in the message.",
    ),
}
