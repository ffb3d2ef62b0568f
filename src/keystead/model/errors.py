"""The tree of errors that the operator's loops understand.

::

    KeysteadError            reason: a Reason; str() is one line for logs; diagnostics() is for a person
    ├── Retryable            will pass; ``after`` seconds, when the other side named a time
    ├── Refused              needs a change by somebody; retried slowly, never in a hot loop
    │   └── FieldConflict    server-side apply met another manager's field
    ├── Uncertain            the write may or may not have happened (time-out, reset): look before trying again
    └── Bug                  ours: should not happen

Foreign exceptions stop at the adapters, which classify by status and code, never by text.
"""

from enum import StrEnum

from keystead.model.reasons import CATALOGUE, Reason


class Waits(StrEnum):
    """What has to wait before another try makes sense."""

    IDENTITY = "identity"
    SUBSCRIPTION = "subscription"
    TENANT = "tenant"


class KeysteadError(Exception):
    """Base of all errors of ours."""

    def __init__(self, reason: Reason, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code
        """What the other side called it (ARM code, AADSTS number, Kubernetes reason), or empty."""

    def diagnostics(self) -> str:
        """What happened, whether it heals by itself, and what to do."""
        explanation = CATALOGUE[self.reason]
        heals = "It is retried by itself." if explanation.heals else "It needs a change."
        return f"{self}\n{heals} {explanation.admin}"


class Retryable(KeysteadError):
    """Will pass by itself; ``after`` is the wait in seconds that the other side asked for, if it did."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        code: str = "",
        after: float | None = None,
        waits: Waits = Waits.IDENTITY,
    ) -> None:
        super().__init__(reason, message, code=code)
        self.after = after
        self.waits = waits
        """Of Azure's answers: whom else the same would be answered."""


class Refused(KeysteadError):
    """Will not pass before somebody changes something."""


class FieldConflict(Refused):
    """Server-side apply would take fields from other managers."""

    def __init__(self, reason: Reason, message: str, *, managers: tuple[str, ...], fields: tuple[str, ...]) -> None:
        super().__init__(reason, message, code="Conflict")
        self.managers = managers
        self.fields = fields


class Uncertain(KeysteadError):
    """The request was sent and its answer never came."""


class Bug(KeysteadError):
    """A mistake of ours."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.INTERNAL_ERROR, message)
