"""The ``authorizer`` of admission expressions: a chain of functions that ends in a question to RBAC.

``authorizer.group(g).resource(r).subresource(s).namespace(n).name(x).check(verb)`` and
``authorizer.path(p).check(verb)`` answer with ``allowed()`` and ``reason()``; ``serviceAccount(namespace, name)`` asks for
somebody else, and ``requestResource`` is the resource of the request itself (Kubernetes docs: "Authorizer Library").
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from keystead_sandbox.kube.auth import User
from keystead_sandbox.kube.rbac import Attributes, Authorizer

Value: TypeAlias = dict[str, Any]
_ACCOUNTS = "system:serviceaccounts"
NAMES = frozenset(
    (
        *("group", "resource", "subresource", "namespace", "name", "path", "check", "allowed", "reason", "errored"),
        *("serviceAccount", "fieldSelector", "labelSelector"),
    )
)
"""The functions that are there."""


def of(user: User, request: Mapping[str, Any]) -> Value:
    """The authoriser as a value; it names whom it asks for."""
    resource = request["resource"]
    about = {
        "user": user.name,
        "group": resource["group"],
        "resource": resource["resource"],
        "subresource": request["subResource"],
        "namespace": request["namespace"],
        "name": request["name"],
    }
    return {"user": user.name, "requestResource": about}


def functions(authorizer: Authorizer, user: User) -> Mapping[str, Callable[..., Any]]:
    """The functions, answering for *user* unless an account is named."""

    def part(name: str) -> Callable[[Value, str], Value]:
        return lambda chain, value: {**chain, name: value}

    def who(chain: Value) -> User:
        name = str(chain["user"])
        if name == user.name:
            return user
        return User(name, (_ACCOUNTS, f"{_ACCOUNTS}:{name.split(':')[2]}"))

    def check(chain: Value, verb: str) -> Value:
        about = {name: chain.get(name, "") for name in ("group", "resource", "subresource", "name", "namespace")}
        asked = (
            Attributes(verb, path=chain["path"])
            if "path" in chain
            else Attributes(
                verb,
                about["group"],
                "*",
                about["resource"],
                about["subresource"],
                about["name"],
                about["namespace"],
            )
        )
        verdict = authorizer.decide(who(chain), asked)
        return {"allowed": verdict.allowed, "reason": verdict.reason}

    return {
        **{name: part(name) for name in ("group", "resource", "subresource", "namespace", "name", "path")},
        "serviceAccount": lambda chain, place, name: {**chain, "user": f"system:serviceaccount:{place}:{name}"},
        "fieldSelector": lambda chain, _: chain,
        "labelSelector": lambda chain, _: chain,
        "check": check,
        "allowed": lambda decision: decision["allowed"],
        "reason": lambda decision: decision["reason"],
        "errored": lambda _: False,
    }
