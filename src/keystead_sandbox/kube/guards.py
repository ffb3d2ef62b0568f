"""What may refuse a write that is well formed: RBAC's rules against escalation, and admission policies."""

from typing import TYPE_CHECKING, Any, TypeAlias

from keystead_sandbox.kube import escalation
from keystead_sandbox.kube.admission import Writing
from keystead_sandbox.kube.kinds import Kind
from keystead_sandbox.kube.policies import Policies
from keystead_sandbox.kube.rbac import Authorizer

if TYPE_CHECKING:
    from keystead_sandbox.kube.rest import Rest

Object: TypeAlias = dict[str, Any]


class Guards:
    """Asked before each write that a client causes."""

    def __init__(self, rest: "Rest", authorizer: Authorizer) -> None:
        self._policies = Policies(rest, authorizer)
        self._authorizer = authorizer

    def __call__(self, kind: Kind, item: Object | None, before: Object | None, how: Writing) -> None:
        if item is not None:
            escalation.check(self._authorizer, how.user, kind, item, before)
        self._policies.check(kind, item, before, how)
