"""Kubernetes' answers and httpx2's exceptions as errors of ours, by status and reason, never by text.

Bodies are dropped unless they are a ``Status``: an answer to a write may echo the object.
"""

from typing import Any

import httpx2
import msgspec

from keystead.kube.pressure import LEVEL, seconds_asked
from keystead.model.errors import FieldConflict, KeysteadError, Refused, Retryable
from keystead.model.reasons import Reason

VERSION_AHEAD = "ResourceVersionTooLarge"
"""The code of a refusal of a version that the server has not seen: it, or what it stores, went back in time."""
_LONGEST_MESSAGE = 256  # characters of a foreign text that may go into a log line or a condition

STATUSES: dict[tuple[int, str], tuple[type[Retryable | Refused], Reason]] = {
    (400, ""): (Refused, Reason.KUBERNETES_REFUSED),
    (401, ""): (Refused, Reason.KUBERNETES_FORBIDDEN),
    (403, ""): (Refused, Reason.KUBERNETES_FORBIDDEN),
    (404, ""): (Refused, Reason.KUBERNETES_REFUSED),
    (405, ""): (Refused, Reason.KUBERNETES_REFUSED),
    (409, ""): (Retryable, Reason.KUBERNETES_CONFLICT),
    (409, "AlreadyExists"): (Refused, Reason.KUBERNETES_CONFLICT),
    (410, ""): (Retryable, Reason.KUBERNETES_CONFLICT),
    (413, ""): (Refused, Reason.KUBERNETES_REFUSED),
    (415, ""): (Refused, Reason.KUBERNETES_REFUSED),
    (422, ""): (Refused, Reason.KUBERNETES_REFUSED),
    (429, ""): (Retryable, Reason.KUBERNETES_UNAVAILABLE),
}
"""(status, reason) to what the loop does and what people read; 5xx is KUBERNETES_UNAVAILABLE."""


def from_response(response: httpx2.Response, what: str) -> KeysteadError:
    """The error for an answer of 400 and above to *what* (a verb and a path)."""
    status = _status(response)
    code = str(status.get("reason") or "")
    text = f"{what}: {response.status_code} {code} {str(status.get('message') or '')[:_LONGEST_MESSAGE]}".strip()
    causes = _causes(status)
    conflicts = [each for each in causes if each.get("reason") == "FieldManagerConflict"]
    if conflicts:
        managers = tuple(sorted({_manager(str(each.get("message") or "")) for each in conflicts}))
        fields = tuple(sorted(str(each.get("field") or "") for each in conflicts))
        return FieldConflict(Reason.KUBERNETES_CONFLICT, text, managers=managers, fields=fields)
    if any(each.get("reason") == VERSION_AHEAD for each in causes):
        code = VERSION_AHEAD
    if response.status_code == httpx2.codes.TOO_MANY_REQUESTS and LEVEL in response.headers:
        text += f" (priority level {response.headers[LEVEL]})"
    row = STATUSES.get((response.status_code, code)) or STATUSES.get((response.status_code, ""))
    if row is None:
        failed = response.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR
        row = (Retryable, Reason.KUBERNETES_UNAVAILABLE) if failed else (Refused, Reason.KUBERNETES_REFUSED)
    kind, reason = row
    if kind is Retryable:
        return Retryable(reason, text, code=code or str(response.status_code), after=seconds_asked(response.headers))
    return Refused(reason, text, code=code or str(response.status_code))


def from_exception(error: Exception, what: str) -> KeysteadError:
    """The error for a request that got no answer, or an unreadable one."""
    if isinstance(error, KeysteadError):
        return error
    return Retryable(Reason.KUBERNETES_UNAVAILABLE, f"{what}: {type(error).__name__}: {str(error)[:_LONGEST_MESSAGE]}")


def unreadable(what: str, error: Exception) -> Retryable:
    """The error for an answer that is not what it should be: a proxy's page, or one that was cut off."""
    return Retryable(
        Reason.KUBERNETES_UNAVAILABLE, f"{what}: unreadable answer: {type(error).__name__}", code="Unreadable"
    )


def _status(response: httpx2.Response) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        return {}
    return body if isinstance(body, dict) and body.get("kind") == "Status" else {}


def _causes(status: dict[str, Any]) -> list[dict[str, Any]]:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return [each for each in causes if isinstance(each, dict)] if isinstance(causes, list) else []


def _manager(message: str) -> str:
    """The API server writes ``conflict with "NAME" using VERSION``; the name is not given anywhere else."""
    return message.split('"')[1] if message.count('"') > 1 else "another manager"
