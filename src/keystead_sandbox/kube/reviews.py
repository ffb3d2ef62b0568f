"""Reviews: questions that are answered on the spot and stored nowhere.

Source: Kubernetes API reference, groups authentication.k8s.io and authorization.k8s.io.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from keystead_sandbox.kube.auth import User
from keystead_sandbox.kube.errors import bad_request, invalid
from keystead_sandbox.kube.rbac import Attributes, Authorizer

Object: TypeAlias = dict[str, Any]
_AUTHENTICATION, _AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"
REVIEWS = (
    (_AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews"),
    (_AUTHENTICATION, "TokenReview", "tokenreviews"),
    (_AUTHORIZATION, "LocalSubjectAccessReview", "localsubjectaccessreviews"),
    (_AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    (_AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
    (_AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews"),
)
"""Group, kind and plural."""
_LOCAL = "localsubjectaccessreviews"
_NAMESPACED_PARTS = 6


def find(path: str) -> tuple[str, str, str, str] | None:
    """Group, kind, plural and namespace of the review at a path."""
    parts = [part for part in path.split("/") if part]
    namespace = ""
    if len(parts) == _NAMESPACED_PARTS and parts[3] == "namespaces" and parts[5] == _LOCAL:
        namespace, parts = parts[4], [*parts[:3], parts[5]]
    for group, kind, plural in REVIEWS:
        if parts == ["apis", group, "v1", plural] and bool(namespace) == (plural == _LOCAL):
            return group, kind, plural, namespace
    return None


TokenOf: TypeAlias = Callable[[str, list[str]], tuple[User, list[str]] | str]
"""The user of a token and the audiences that it is good for, or why it is good for nobody."""


class Reviews:
    """Answers them for one cluster."""

    def __init__(self, authorizer: Authorizer, token_of: TokenOf, now: Callable[[], str]) -> None:
        self._now = now
        self._authorizer = authorizer
        self._token_of = token_of

    def answer(self, about: tuple[str, str, str, str], given: Any, user: User) -> Object:
        """The review with its status."""
        group, kind, _, namespace = about
        if not isinstance(given, dict) or given.get("kind", kind) != kind:
            named = given.get("kind") if isinstance(given, dict) else ""
            text = f"converting (v1.{named}) to ({group.partition('.')[0]}.{kind}): unknown conversion"
            raise bad_request(f'{named} in version "v1" cannot be handled as a {kind}: {text}')
        spec = given.get("spec") or {}
        if kind == "SelfSubjectReview":
            status: Object = {"userInfo": user.info()}
            metadata: Object = {"creationTimestamp": self._now()}
        elif kind == "TokenReview":
            status, metadata = self._token(spec), {}
        elif kind == "SelfSubjectRulesReview":
            status, metadata = self._rules(spec, user), {}
        else:
            status = self._access(kind, spec, user, namespace)
            metadata = {"namespace": namespace} if namespace else {}
        shown = {"spec": spec} if kind != "SelfSubjectReview" else {}
        if kind == "SelfSubjectRulesReview":
            shown = {"spec": {}}
        return {"kind": kind, "apiVersion": f"{group}/v1", "metadata": metadata, **shown, "status": status}

    def _token(self, spec: Object) -> Object:
        token = spec.get("token") or ""
        if not token:
            raise bad_request("token is required for TokenReview in authentication")
        found = self._token_of(token, list(spec.get("audiences") or ()))
        if isinstance(found, str):
            return {"user": {}, "error": found}
        user, audiences = found
        return {"authenticated": True, "user": user.info(), "audiences": audiences}

    def _access(self, kind: str, spec: Object, user: User, namespace: str) -> Object:
        about, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        problems = []
        if about is None and path is None:
            text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            problems.append(("spec.resourceAttributes", "FieldValueInvalid", f"Invalid value: null: {text}"))
        if about is not None and path is not None:
            shown = msgspec.json.encode({"Path": path.get("path", ""), "Verb": path.get("verb", "")}).decode()
            text = f"Invalid value: {shown}: cannot be specified in combination with resourceAttributes"
            problems.append(("spec.nonResourceAttributes", "FieldValueInvalid", text))
        if kind != "SelfSubjectAccessReview":
            if not spec.get("user") and not spec.get("groups"):
                text = 'Invalid value: "": at least one of user or group must be specified'
                problems.append(("spec.user", "FieldValueInvalid", text))
            elsewhere = (about or {}).get("namespace", "")
            if kind == "LocalSubjectAccessReview" and elsewhere != namespace:
                text = f'Invalid value: "{elsewhere}": must match metadata.namespace'
                problems.append(("spec.resourceAttributes.namespace", "FieldValueInvalid", text))
            user = User(spec.get("user") or "", tuple(spec.get("groups") or ()))
        if problems:
            raise invalid(_AUTHORIZATION, "", "", problems)
        asked = _attributes(about, path)
        verdict = self._authorizer.decide(Asked(user), asked) if kind != "SelfSubjectAccessReview" else None
        verdict = verdict or self._authorizer.decide(user, asked)
        return {"allowed": verdict.allowed, **({"reason": verdict.reason} if verdict.reason else {})}

    def _rules(self, spec: Object, user: User) -> Object:
        namespace = spec.get("namespace") or ""
        if not namespace:
            raise bad_request("no namespace on request")
        resources: list[Object] = []
        paths: list[Object] = []
        missing = []
        for granted in self._authorizer.granted(user, namespace):
            if granted.missing:
                missing.append(granted.missing)
            for rule in granted.rules:
                if rule.get("resources"):
                    names = {"resourceNames": rule["resourceNames"]} if rule.get("resourceNames") else {}
                    resources.append(
                        {
                            "verbs": rule["verbs"],
                            "apiGroups": rule.get("apiGroups"),
                            "resources": rule["resources"],
                            **names,
                        }
                    )
                if rule.get("nonResourceURLs"):
                    paths.append({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]})
        status: Object = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": bool(missing)}
        return {**status, "evaluationError": ", ".join(missing)} if missing else status


class Asked:
    """A user of an access review: the groups are those that were named, and no more."""

    def __init__(self, user: User) -> None:
        self.name = user.name
        self.all_groups = user.groups


def _attributes(about: Object | None, path: Object | None) -> Attributes:
    if about is None:
        given = path or {}
        return Attributes(given.get("verb", ""), path=given.get("path", "") or "/")
    return Attributes(
        about.get("verb", ""),
        about.get("group", ""),
        about.get("version", ""),
        about.get("resource", ""),
        about.get("subresource", ""),
        about.get("name", ""),
        about.get("namespace", ""),
    )
