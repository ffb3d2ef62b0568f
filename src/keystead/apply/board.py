"""What the hands remember between two passes; lost on restart, and found again by looking.

- Failures, by unit: why a step could not be carried out, and when it may be tried again.
- Exchanges, by Federation: the newest result of a verification, before status shows it.
- Federations just recorded: our own caches may not show them yet, and a claim must not be placed twice.
- Accounts just annotated, by namespace and name: for the same reason, since what is revoked at once is withdrawn first.
"""

import datetime

from keystead.model.errors import KeysteadError, Retryable, Uncertain
from keystead.model.reasons import Reason
from keystead.model.records import Annotation, Exchange, Federation
from keystead.plan.snapshot import Failure

_FIRST_RETRY, _LONGEST_RETRY = 2.0, 300.0  # seconds, of what may pass by itself
_FIRST_SLOW_RETRY, _LONGEST_SLOW_RETRY = 30.0, 3600.0  # of what somebody has to change
_AT_ONCE = frozenset({Reason.IDENTITY_FULL, Reason.NAMESPACE_RECREATED})


class Board:
    """One per operator."""

    def __init__(self) -> None:
        self.failures: dict[str, Failure] = {}
        self.exchanges: dict[str, Exchange] = {}
        self.recorded: dict[str, Federation] = {}
        self.annotated: dict[tuple[str, str], Annotation] = {}
        self._attempts: dict[str, int] = {}

    def succeeded(self, unit: str) -> None:
        """The unit's last step worked."""
        self.failures.pop(unit, None)
        self._attempts.pop(unit, None)

    def failed(
        self, unit: str, step: str, error: KeysteadError, now: datetime.datetime, *, longest: float | None = None
    ) -> Failure:
        """Remember why, and when to try again: soon if it may pass, ever later if somebody has to change something."""
        attempt = self._attempts.get(unit, 0)
        self._attempts[unit] = attempt + 1
        passes = isinstance(error, Retryable | Uncertain)
        first, last = (_FIRST_RETRY, _LONGEST_RETRY) if passes else (_FIRST_SLOW_RETRY, _LONGEST_SLOW_RETRY)
        most = last if longest is None else longest
        wait = 0.0 if error.reason in _AT_ONCE else min(most, first * float(2 ** min(attempt, 12)))
        if isinstance(error, Retryable) and error.after:  # a wait of no time is none that was asked for
            wait = error.after
        failure = Failure(unit, step, error.reason, str(error), now, now + datetime.timedelta(seconds=wait))
        self.failures[unit] = failure
        return failure

    def forgotten(self, federation_name: str, uid: str) -> None:
        """The entry is gone; the caches need never have shown it, and then nothing else would tell that it is."""
        if federation_name in self.recorded and self.recorded[federation_name].uid == uid:
            del self.recorded[federation_name]

    def exchanged(self, federation_name: str, exchange: Exchange) -> None:
        self.exchanges[federation_name] = exchange

    def unproven(self, federation_name: str) -> None:
        """Its credential was written or deleted: what was proven before was another's, under the same name."""
        self.exchanges.pop(federation_name, None)

    def gone(self, unit: str) -> None:
        """Nothing stands any more that this is about."""
        self.succeeded(unit)
        self.exchanges.pop(unit, None)
