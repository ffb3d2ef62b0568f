"""What must hold between the rows of fidelity, the sandbox's rules and the tests; complaints are sentences.

- Rules are found by reading the sources: a refusal that somebody adds is one at once.
- Witnesses are found by reading the test files, so that no collection is needed; parametrised tests count as one.
"""

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

CERTAINTIES = ("documented", "recorded", "observed", "reported", "inferred", "promised")
FIELDS = {"id", "claim", "certainty", "source", "enforced_by", "witness"}
_ADMITS = re.compile(
    r"unknown|not known|undocumented|not documented|unpublished|not published|no source|nowhere", re.IGNORECASE
)


def complaints(
    rows: Sequence[Mapping[str, Any]], *, rules: Collection[str], tests: Mapping[str, Collection[str]]
) -> list[str]:
    """Everything that is wrong, in the order of the rows; *tests* has the names in each test file."""
    found: list[str] = []
    for row in rows:
        found += [f"{row.get('id', 'a row without id')}: {problem}" for problem in _row(row, rules, tests)]
    times = Counter(str(row.get("id")) for row in rows)
    found += [f"{name}: the id is there {count} times" for name, count in times.items() if count > 1]
    claimed = {rule for row in rows for rule in row.get("enforced_by") or ()}
    found += [f"{rule}: no row claims this rule (enforced_by)" for rule in sorted(set(rules) - claimed)]
    return found


def _row(row: Mapping[str, Any], rules: Collection[str], tests: Mapping[str, Collection[str]]) -> Iterator[str]:
    if set(row) != FIELDS:
        yield f"has the fields {', '.join(sorted(row))}; a row has {', '.join(sorted(FIELDS))}"
        return
    if not re.fullmatch(r"[a-z]+\.[a-z0-9-]+", str(row["id"])):
        yield "the id is not service.short-name"
    if row["certainty"] not in CERTAINTIES:
        yield f"the certainty {row['certainty']!r} is none of {', '.join(CERTAINTIES)}"
    if not str(row["claim"]).strip() or not str(row["source"]).strip():
        yield "has no claim or no source"
    if row["certainty"] == "inferred" and not _ADMITS.search(str(row["source"])):
        yield "is inferred, but its source does not say what is unknown"
    if not row["witness"]:
        yield "has no witness"
    for witness in row["witness"] or ():
        path, _, name = str(witness).partition("::")
        if name not in tests.get(path, ()):
            yield f"the witness {witness} is no test that exists"
    for rule in row["enforced_by"] or ():
        if rule not in rules:
            yield f"is enforced by {rule}, which is no rule of the sandbox"


def refusals(module_name: str, source: str) -> set[str]:
    """The functions of a service's ``errors.py`` that build a refusal: what others raise."""
    return {
        f"{module_name}.{node.name}"
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and isinstance(node.returns, ast.Name)
        and node.returns.id in ("Refusal", "RefusedError")
    }


def names_of_tests(source: str) -> set[str]:
    """The ids behind ``FILE::`` that pytest would collect, classes too."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            found.add(node.name)
            found |= {f"{node.name}::{name}" for name in names_of_tests(ast.unparse(ast.Module(node.body, [])))}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            # hypothesis makes a test case of a state machine: ``TestIt = Machine.TestCase``
            name, value = node.targets[0].id, node.value
            if name.startswith("Test") and isinstance(value, ast.Attribute) and value.attr == "TestCase":
                found.add(name)
    return found


def collected(root: Path) -> dict[str, set[str]]:
    """The tests of a checkout, by file."""
    return {
        str(path.relative_to(root)): names_of_tests(path.read_text())
        for path in sorted((root / "tests").rglob("test_*.py"))
    }
