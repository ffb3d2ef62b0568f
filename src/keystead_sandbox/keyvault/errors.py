"""Key Vault's errors, in the shapes of its REST error codes reference."""

from typing import Any

from starlette.responses import JSONResponse


class Refusal(Exception):
    """A request that the vault refuses."""

    def __init__(
        self, status: int, code: str, message: str, *, inner: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner
        self.headers = headers or {}

    def response(self) -> JSONResponse:
        """As the vault answers it."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return JSONResponse({"error": error}, status_code=self.status, headers=self.headers)


def challenge(tenant: str) -> Refusal:
    """401, with where to get a token. Go's client splits the header on spaces, so the comma is followed by one."""
    header = f'Bearer authorization="https://login.microsoftonline.com/{tenant}", resource="https://vault.azure.net"'
    return Refusal(
        401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.", headers={"WWW-Authenticate": header}
    )


def bad_audience(tenant: str, found: str) -> Refusal:
    refusal = challenge(tenant)
    refusal.message = f"AKV10022: Invalid audience. Expected https://vault.azure.net, found: {found}."
    return refusal


def not_found(name: str) -> Refusal:
    return Refusal(
        404,
        "SecretNotFound",
        f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may be "
        "able to recover it using the correct recovery command. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125182",
    )


def bad_parameter(message: str) -> Refusal:
    return Refusal(400, "BadParameter", message)
