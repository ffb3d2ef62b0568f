"""The shape of admission policies and their bindings: what may be left out, and what must be there.

Source: Kubernetes API reference, ValidatingAdmissionPolicy and ValidatingAdmissionPolicyBinding (v1).
"""

from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]
Problem: TypeAlias = tuple[str, str, str]
"""Field, reason, message."""
_REQUIRED = "FieldValueRequired"


def complete(policy: Object) -> None:
    """Fill in what may be left out."""
    spec = policy.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    complete_match(spec.get("matchConstraints"))


def complete_match(limit: Any) -> None:
    """Fill in what a policy or its binding need not say of the writes that it matches."""
    if not isinstance(limit, dict):
        return
    limit.setdefault("matchPolicy", "Equivalent")
    for name in ("namespaceSelector", "objectSelector"):
        limit[name] = {part: value for part, value in (limit.get(name) or {}).items() if value}
    for rule in (*(limit.get("resourceRules") or ()), *(limit.get("excludeResourceRules") or ())):
        rule.setdefault("scope", "*")


def check(policy: Object) -> list[Problem]:
    """What a policy must say."""
    spec = policy["spec"]
    problems: list[Problem] = []
    if not spec.get("matchConstraints"):
        problems.append(("spec.matchConstraints", _REQUIRED, "Required value"))
    elif not spec["matchConstraints"].get("resourceRules"):
        problems.append(("spec.matchConstraints.resourceRules", _REQUIRED, "Required value"))
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        text = "Required value: validations or auditAnnotations must contain at least one item"
        problems += [(f"spec.{name}", _REQUIRED, text) for name in ("validations", "auditAnnotations")]
    return problems


def check_binding(binding: Object) -> list[Problem]:
    """What a binding must say."""
    if (binding.get("spec") or {}).get("validationActions"):
        return []
    return [("spec.validationActions", _REQUIRED, "Required value: at least one validation action is required")]
