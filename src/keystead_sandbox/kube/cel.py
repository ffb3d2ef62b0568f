"""CEL rules of CRDs (``x-kubernetes-validations``), as far as the CEL library carries them.

A rule that uses ``oldSelf`` is a transition rule: it is asked only when there is an old value at the same place. Rules
inside lists are not asked for transitions. What cannot be evaluated is told as a warning when the CRD is made.
"""

from typing import Any

import cel

from keystead_sandbox.kube.schema import Problem


def rules_of(schema: dict[str, Any], path: str = "") -> list[tuple[str, str]]:
    """All rules below a schema, with the path they stand at."""
    found = [(path, each["rule"]) for each in schema.get("x-kubernetes-validations") or ()]
    for name, inner in (schema.get("properties") or {}).items():
        found += rules_of(inner, f"{path}.{name}" if path else name)
    if isinstance(schema.get("items"), dict):
        found += rules_of(schema["items"], f"{path}[]")
    return found


def unsupported(schema: dict[str, Any]) -> list[str]:
    """A warning for each rule that the library cannot compile."""
    warnings = []
    for path, rule in rules_of(schema):
        try:
            cel.compile(rule)
        except ValueError as error:
            warnings.append(f"the rule at {path or 'the root'} is not enforced here: {str(error).splitlines()[0]}")
    return warnings


def check(schema: dict[str, Any], new: Any, old: Any, path: str = "") -> list[Problem]:
    """Problems of *new*, and of the way from *old* to it."""
    problems: list[Problem] = []
    for each in schema.get("x-kubernetes-validations") or ():
        transition = "oldSelf" in each["rule"]
        if transition and old is None:
            continue
        if not _holds(each["rule"], new, old):
            message = each.get("message") or f"failed rule: {each['rule']}"
            problems.append((path, "FieldValueInvalid", f'Invalid value: "object": {message}'))
    if isinstance(new, dict):
        for name, inner in (schema.get("properties") or {}).items():
            if name in new:
                before = old.get(name) if isinstance(old, dict) else None
                problems += check(inner, new[name], before, f"{path}.{name}" if path else name)
    if isinstance(new, list) and isinstance(schema.get("items"), dict):
        for index, each in enumerate(new):
            problems += check(schema["items"], each, None, f"{path}[{index}]")
    return problems


def _holds(rule: str, new: Any, old: Any) -> bool:
    try:
        return cel.evaluate(rule, {"self": new, "oldSelf": old} if old is not None else {"self": new}) is True
    except (ValueError, RuntimeError, TypeError):
        return False  # as the real server: a rule that fails to evaluate refuses the object
