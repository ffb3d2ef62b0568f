"""Modules and functions stay small enough to read in one sitting."""

import ast
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).parents[2] / "src").rglob("*.py"))
MODULE_LIMIT = 400
FUNCTION_LIMIT = 50


def _functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    end = function.end_lineno or function.lineno
    length = end - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        length -= (first.end_lineno or first.lineno) - first.lineno + 1
    return length


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    text = path.read_text()
    long = [
        f"{function.name}: {_length(function)}"
        for function in _functions(ast.parse(text))
        if _length(function) > FUNCTION_LIMIT
    ]

    assert len(text.splitlines()) <= MODULE_LIMIT
    assert long == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_module_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "misc", "types"])
def test_no_module_has_a_name_that_says_nothing(name: str) -> None:
    assert [path for path in SOURCES if path.stem == name] == []


def test_every_silenced_check_names_its_code_and_reason() -> None:
    silenced = [
        f"{path.name}:{number}: {line.strip()}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for marker in ("# noqa", "# type: ignore", "# pragma")
        if marker in line and not _explained(line, marker)
    ]

    assert silenced == []


def _explained(line: str, marker: str) -> bool:
    comment = line[line.index(marker) + len(marker) :]
    has_code = comment.startswith((": ", "[", ":"))
    return has_code and (" - " in comment or " # " in comment)
