"""Refusals as Kubernetes ``Status`` objects."""

from collections.abc import Mapping, Sequence
from typing import Any

UNKNOWN_FORMAT = (
    "the body of the request was in an unknown format - accepted media types include: "
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
)


class ApiError(Exception):
    """A request that is refused."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        plain: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})
        self.headers = dict(headers or {})
        self.plain = plain
        """Whether the answer is text, and no Status."""

    def status(self) -> dict[str, Any]:
        """The body."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        }
        if self.reason:
            body["reason"] = self.reason
        return {**body, "details": self.details} if self.details else body


def not_found(group: str, plural: str, name: str) -> ApiError:
    text = f'{_resource(group, plural)} "{name}" not found'
    return ApiError(404, "NotFound", text, details=_details(group, plural, name))


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(group: str, plural: str, name: str) -> ApiError:
    text = f'{_resource(group, plural)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", text, details=_details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = "") -> ApiError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    text = f'Operation cannot be fulfilled on {_resource(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", text, details=_details(group, plural, name))


def invalid(group: str, kind: str, name: str, problems: Sequence[tuple[str, str, str]]) -> ApiError:
    """422; *problems* are (field, reason, message)."""
    told = [f"{field}: {message}" for field, _, message in problems]
    text = f'{_resource(group, kind)} "{name}" is invalid: ' + (told[0] if len(told) == 1 else f"[{', '.join(told)}]")
    causes = [{"reason": reason, "message": message, "field": field} for field, reason, message in problems]
    return ApiError(422, "Invalid", text, details={"name": name, "group": group, "kind": kind, "causes": causes})


def unauthorized() -> ApiError:
    """A token that means nobody."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str) -> ApiError:
    """A rule of the server's own says no."""
    shown = f'{_resource(group, plural)} "{name}" is' if name else f"{_resource(group, plural)} is"
    return ApiError(403, "Forbidden", f"{shown} forbidden: {why}", details=_details(group, plural, name))


def forbidden_to(user: str, asked: Any, reason: str = "") -> ApiError:
    """The authoriser says no; *asked* are its attributes."""
    if asked.path:
        text = f'User "{user}" cannot {asked.verb} path "{asked.path}"'
        return ApiError(403, "Forbidden", f"forbidden: {text}" + (f": {reason}" if reason else ""), details=None)
    scope = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    text = f'User "{user}" cannot {asked.verb} resource "{asked.whole_resource}" in API group "{asked.group}" {scope}'
    return forbidden(asked.group, asked.resource, asked.name, text + (f": {reason}" if reason else ""))


def without_a_user() -> ApiError:
    """Groups, a UID or extra values are impersonated, and no user."""
    return ApiError(500, "InternalError", "Internal error occurred: impersonation without a user")


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def method_not_allowed(verb: str) -> ApiError:
    return ApiError(405, "MethodNotAllowed", f"the server does not allow {verb} on the requested resource")


def expired(version: int, current: int) -> ApiError:
    """What a watch that begins too far back gets."""
    return ApiError(410, "Expired", f"too old resource version: {version} ({current})")


def terminating(group: str, plural: str, name: str, namespace: str) -> ApiError:
    """No new objects in a namespace that is going."""
    shown = _resource(group, plural)
    text = (
        f'{shown} "{name}" is forbidden: unable to create new content in namespace {namespace} '
        "because it is being terminated"
    )
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    return ApiError(403, "Forbidden", text, details={**_details(group, plural, name), "causes": [cause]})


def _resource(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def _details(group: str, plural: str, name: str) -> dict[str, Any]:
    return {**({"name": name} if name else {}), **({"group": group} if group else {}), "kind": plural}
