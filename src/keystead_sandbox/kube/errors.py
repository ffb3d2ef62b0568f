"""Refusals as Kubernetes ``Status`` objects."""

from collections.abc import Sequence
from typing import Any


class ApiError(Exception):
    """A request that is refused."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.headers = headers or {}

    def status(self) -> dict[str, Any]:
        """The body."""
        body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        return {**body, "details": self.details} if self.details else body


def not_found(group: str, plural: str, name: str) -> ApiError:
    shown = f"{plural}.{group}" if group else plural
    return ApiError(404, "NotFound", f'{shown} "{name}" not found', details=_details(group, plural, name))


def already_exists(group: str, plural: str, name: str) -> ApiError:
    shown = f"{plural}.{group}" if group else plural
    return ApiError(409, "AlreadyExists", f'{shown} "{name}" already exists', details=_details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = "") -> ApiError:
    shown = f"{plural}.{group}" if group else plural
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    text = f'Operation cannot be fulfilled on {shown} "{name}": {why}'
    return ApiError(409, "Conflict", text, details=_details(group, plural, name))


def invalid(group: str, kind: str, name: str, problems: Sequence[tuple[str, str, str]]) -> ApiError:
    """422; *problems* are (field, reason, message)."""
    shown = f"{kind}.{group}" if group else kind
    told = [f"{field}: {message}" for field, _, message in problems]
    text = f'{shown} "{name}" is invalid: ' + (told[0] if len(told) == 1 else f"[{', '.join(told)}]")
    causes = [{"reason": reason, "message": message, "field": field} for field, reason, message in problems]
    return ApiError(422, "Invalid", text, details={"name": name, "group": group, "kind": kind, "causes": causes})


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def _details(group: str, plural: str, name: str) -> dict[str, Any]:
    return {"name": name, "kind": plural, **({"group": group} if group else {})}
