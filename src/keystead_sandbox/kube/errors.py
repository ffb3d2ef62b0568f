"""Refusals as Kubernetes ``Status`` objects."""

from collections.abc import Mapping, Sequence
from typing import Any


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
        self.details = None if details is None else dict(details)
        self.headers = dict(headers or {})
        self.continue_token = ""
        self.plain = plain
        """Whether the answer is text, and no Status."""

    @property
    def cause(self) -> str:
        """The reason of the first of its causes; empty where it names none."""
        causes = (self.details or {}).get("causes") or [{}]
        return str(causes[0].get("reason", ""))

    def status(self) -> dict[str, Any]:
        """The body."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continue_token} if self.continue_token else {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        }
        if self.reason:
            body["reason"] = self.reason
        return body if self.details is None else {**body, "details": self.details}


def not_found(group: str, plural: str, name: str) -> ApiError:
    text = f'{_resource(group, plural)} "{name}" not found'
    return ApiError(404, "NotFound", text, details=_details(group, plural, name))


def no_such_path() -> ApiError:
    """Nothing is served there, of a group and version that are served."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def no_such_page() -> ApiError:
    """Nothing at all is served there."""
    return ApiError(404, "NotFound", "404 page not found\n", plain=True)


def already_exists(group: str, plural: str, name: str) -> ApiError:
    text = f'{_resource(group, plural)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", text, details=_details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = "") -> ApiError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    text = f'Operation cannot be fulfilled on {_resource(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", text, details=_details(group, plural, name))


def apply_conflict(fields: Mapping[str, Sequence[str]]) -> ApiError:
    """Server-side apply is in the way of others; *fields* by manager, both as they are shown."""
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": field}
        for manager, shown in fields.items()
        for field in shown
    ]
    if len(causes) == 1:
        text = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines = [
            f"conflicts with {manager}:" + "".join(f"\n- {each}" for each in told) for manager, told in fields.items()
        ]
        text = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", text, details={"causes": causes})


def invalid(group: str, kind: str, name: str, problems: Sequence[tuple[str, str, str]]) -> ApiError:
    """422; *problems* are (field, reason, message)."""
    told = list(dict.fromkeys(f"{field}: {message}" for field, _, message in problems))
    text = f'{_resource(group, kind)} "{name}" is invalid: ' + (told[0] if len(told) == 1 else f"[{', '.join(told)}]")
    causes = [{"reason": reason, "message": message, "field": field} for field, reason, message in problems]
    return ApiError(422, "Invalid", text, details={**_details(group, kind, name), "causes": causes})


def invalid_options(options: str, field: str, message: str, reason: str = "FieldValueNotSupported") -> ApiError:
    """422 for the query or the options of a request; *options* is their kind."""
    return invalid("meta.k8s.io", options, "", [(field, reason, message)])


def unauthorized() -> ApiError:
    """A token that means nobody."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str) -> ApiError:
    """A rule of the server's own says no."""
    shown = f'{_resource(group, plural)} "{name}" is' if name else f"{_resource(group, plural)} is"
    return ApiError(403, "Forbidden", f"{shown} forbidden: {why}", details=_details(group, plural, name))


_DENIALS = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}


def denied(group: str, plural: str, name: str, why: str, reason: str) -> ApiError:
    """An admission policy says no."""
    error = forbidden(group, plural, name, why)
    error.code, error.reason = _DENIALS.get(reason, 422), reason
    error.details = {**(error.details or {}), "causes": [{"message": why}]}
    return error


def forbidden_to(user: str, asked: Any, reason: str = "") -> ApiError:
    """The authoriser says no; *asked* are its attributes."""
    if asked.path:
        text = f'User "{user}" cannot {asked.verb} path "{asked.path}"'
        return ApiError(403, "Forbidden", f"forbidden: {text}" + (f": {reason}" if reason else ""), details={})
    scope = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    text = f'User "{user}" cannot {asked.verb} resource "{asked.whole_resource}" in API group "{asked.group}" {scope}'
    return forbidden(asked.group, asked.resource, asked.name, text + (f": {reason}" if reason else ""))


def without_a_user() -> ApiError:
    """Groups, a UID or extra values are impersonated, and no user."""
    return bad_request("requested groups, a UID or extra values without impersonating a user name")


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def method_not_allowed() -> ApiError:
    text = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", text, details={})


def unknown_patch() -> ApiError:
    """415: a patch of a content type that no kind reads."""
    return ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})


def unknown_format(*accepted: str) -> ApiError:
    """415: a body of a content type that is not read."""
    text = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", text)


_SERVED = tuple(f"application/{each}" for each in ("json", "yaml", "vnd.kubernetes.protobuf"))


def no_such_form() -> ApiError:
    """406: a served type, in a form that it does not have."""
    text = f"only the following media types are accepted: {', '.join(_SERVED)}"
    return ApiError(406, "NotAcceptable", text)


def not_acceptable(*, lists: bool = True) -> ApiError:
    """406: an answer in a form that is not served."""
    served = [*_SERVED, *(f"{each};stream=watch" for each in (_SERVED[0], _SERVED[2]) if lists)]
    text = f"406: Not Acceptable\n\nAvailable representations: {', '.join(served)}"
    return ApiError(406, "NotAcceptable", text, details={})


def not_decoded(kind: str, version: str, why: str) -> ApiError:
    """400: a body that cannot be read as an object of the kind."""
    return bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')


def not_patched(why: str) -> ApiError:
    """422: what a patch makes cannot be read. The real one quotes the object, which may be a Secret; this does not."""
    problem = ("patch", "FieldValueInvalid", f'Invalid value: "<object>": {why}')
    return invalid("", "", "", [problem])


def not_typed(kind: Any, metadata: Mapping[str, Any], why: str) -> ApiError:
    """500: an applied object that does not fit its schema."""
    version = kind.api_version if kind.group else f"/{kind.version}"
    place = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
    return ApiError(500, "", f"failed to create typed patch object ({place}; {version}, Kind={kind.kind}): {why}")


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
    given = {"name": name, "group": group, "kind": plural}
    return {field: value for field, value in given.items() if value}
