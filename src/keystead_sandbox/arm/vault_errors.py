"""Refusals of Microsoft.KeyVault's management side; codes and texts as found in public reports, where there are any."""

from keystead_sandbox.arm.errors import Refusal


def bad_vault_name(name: str) -> Refusal:
    """400: a vault's name."""
    return Refusal(
        400,
        "VaultNameNotValid",
        f"The vault name '{name}' is invalid. A vault's name must be between 3-24 alphanumeric characters. The name must "
        "begin with a letter, end with a letter or digit, and not contain consecutive hyphens. Follow this link for more "
        "information: https://go.microsoft.com/fwlink/?linkid=2147742",
    )


def vault_taken(name: str) -> Refusal:
    """409: somebody else's vault has the name."""
    return Refusal(
        409,
        "VaultAlreadyExists",
        f"The vault name '{name}' is already in use. Vault names are globally unique so it is possible that the name is "
        "already taken.",
    )


def vault_deleted() -> Refusal:
    """409: a deleted vault holds the name until it is purged."""
    return Refusal(
        409,
        "ConflictError",
        "A vault with the same name already exists in deleted state. You need to either recover or purge existing key "
        "vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more information on soft delete.",
    )


def no_deleted_vault(name: str) -> Refusal:
    """404: nothing to recover or purge."""
    return Refusal(404, "DeletedVaultNotFound", f"The specified deleted vault '{name}' does not exist.")


def purge_protected(name: str) -> Refusal:
    """400: a vault that nobody may purge. The real text is not known."""
    text = f"Operation 'DeletedVaultPurge' is not allowed: purge protection of the vault '{name}' is on."
    return Refusal(400, "MethodNotAllowed", text)


def bad_vault(problem: str) -> Refusal:
    """400: a vault that makes no sense. The real texts are not known."""
    return Refusal(400, "BadRequest", problem)
