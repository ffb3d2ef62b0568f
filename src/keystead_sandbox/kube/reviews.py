"""Reviews: questions that are answered on the spot and stored nowhere.

Access reviews always say yes, and why: the embedded server does not authorise.
"""

from typing import Any, TypeAlias

from keystead_sandbox.kube.auth import User
from keystead_sandbox.kube.errors import bad_request, no_such_path

_REASON = "the embedded server does not authorise: whoever is known may do everything"
_ALL = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
REVIEWS = (
    ("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews"),
    ("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
)
"""Group, kind and plural."""
Object: TypeAlias = dict[str, Any]


def answer(path: str, given: Any, user: User) -> Object:
    """The review with its status."""
    found = next((each for each in REVIEWS if path.rstrip("/") == f"/apis/{each[0]}/v1/{each[2]}"), None)
    if found is None:
        raise no_such_path()
    if not isinstance(given, dict) or given.get("kind", found[1]) != found[1]:
        raise bad_request(f"the request's body is not a {found[1]}")
    if found[1] == "SelfSubjectReview":
        status: Object = {"userInfo": user.info()}
    elif found[1] == "SelfSubjectAccessReview":
        status = {"allowed": True, "reason": _REASON}
    else:
        status = {
            "resourceRules": _ALL,
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    head = {"kind": found[1], "apiVersion": f"{found[0]}/v1", "metadata": {"creationTimestamp": None}}
    spec = {"spec": given["spec"]} if "spec" in given else {}
    return {**head, **spec, "status": status}
