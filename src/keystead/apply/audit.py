"""The audit log: each change of who trusts whom, in one line, whatever the log level.

- Every write to Azure and its outcome; every ledger entry that begins, begins to end, and ends, with the reason.
- What is left behind in Azure on somebody's word is named with that word.
- Lines carry ``audit: true``, so that they can be told from the rest and kept elsewhere.
"""

import logging

import structlog

from keystead.model.credentials import Credential
from keystead.model.errors import KeysteadError
from keystead.model.ids import IdentityId
from keystead.plan.steps import BeginRevocation, ForgetFederation, RecordFederation

_log = structlog.wrap_logger(
    None,
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    logger_factory_args=("keystead.audit",),
    cache_logger_on_first_use=False,  # it follows whoever configures the logs later
    audit=True,
)


def wrote(verb: str, identity: IdentityId, credential: Credential, grant: str, error: KeysteadError | None) -> None:
    """A write or a delete of a credential has come to its end."""
    _log.info(
        "azure write",
        verb=verb,
        identity=str(identity),
        credential=credential.name,
        subject=credential.subject,
        grant=grant,
        outcome="ok" if error is None else str(error.reason),
        code=error.code if error is not None else "",
    )


def wrote_pool(verb: str, identity: IdentityId, grant: str, error: KeysteadError | None, **more: str) -> None:
    """An identity of a growing pool, or a role of it, was made, or not."""
    outcome = "ok" if error is None else str(error.reason)
    code = error.code if error is not None else ""
    _log.info("azure write", verb=verb, identity=str(identity), grant=grant, outcome=outcome, code=code, **more)


def recorded(step: RecordFederation) -> None:
    """A claim is to be served: for whom, and on whose word."""
    entry = step.federation
    _log.info(
        "trust recorded",
        federation=entry.name,
        identity=str(entry.identity),
        subject=entry.credential.subject,
        namespace_uid=entry.namespace_uid,
        grant=entry.grant_name,
        requested_by=entry.requested_by,
        approval=entry.approval_name,
    )


def revoked(step: BeginRevocation) -> None:
    """Trust begins to be taken away."""
    _log.info("trust revoked", federation=step.federation_name, cause=str(step.cause))


def forgotten(step: ForgetFederation) -> None:
    """The ledger entry is gone, and perhaps not the credential."""
    left = step.left_behind
    if left is None:
        _log.info("trust ended", federation=step.federation_name)
        return
    _log.info(
        "credential left behind",
        federation=step.federation_name,
        identity=str(left.identity),
        credential=left.credential.name,
        issuer=left.credential.issuer,
        subject=left.credential.subject,
        by=left.by,
        why=left.why,
    )
