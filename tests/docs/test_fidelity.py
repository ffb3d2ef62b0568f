"""Every claim of fidelity has a witness, every rule of the sandbox has a claim; and the checker notices what is not so."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from docs.fidelity_checks import collected, complaints, names_of_tests, refusals
from keystead_sandbox.entra.errors import CODES
from keystead_sandbox.resources import Rules

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src/keystead_sandbox"
TESTS = {"tests/a/test_b.py": {"test_it", "TestThem", "TestThem::test_it"}}
ROW = {
    "id": "arm.limit",
    "claim": "An identity holds twenty.",
    "certainty": "documented",
    "source": "the docs",
    "enforced_by": ["arm.errors.too_many"],
    "witness": ["tests/a/test_b.py::test_it"],
}


def rules() -> set[str]:
    """Everything that the sandbox may refuse or that may be set."""
    found = {f"rules.{name}" for name in Rules.__struct_fields__} | {f"entra.{code}" for code in CODES}
    for service in ("arm", "keyvault", "imds"):
        for path in (SOURCES / service).glob("*errors.py"):
            found |= refusals(f"{service}.{path.stem}", path.read_text())
    return found


def rows() -> list[dict[str, Any]]:
    return [row for path in sorted((ROOT / "docs/fidelity").glob("*.yaml")) for row in yaml.safe_load(path.read_text())]


def test_rules_rows_and_witnesses_fit_together() -> None:
    found = complaints(rows(), rules=rules(), tests=collected(ROOT))

    assert not found, f"{len(found)} complaints about docs/fidelity/*.yaml:\n" + "\n".join(found)


def test_rows_stand_in_the_file_of_their_service() -> None:
    strayed = [
        f"{path.name}: {row['id']}"
        for path in sorted((ROOT / "docs/fidelity").glob("*.yaml"))
        for row in yaml.safe_load(path.read_text())
        if not row["id"].startswith(f"{path.stem}.")
    ]

    assert strayed == []


def test_the_sandbox_has_rules_of_every_kind() -> None:
    kinds = {rule.rpartition(".")[0] for rule in rules()}

    assert kinds >= {"rules", "entra", "arm.errors", "arm.access_errors", "keyvault.errors", "imds.errors"}
    assert {"arm.errors.too_many", "entra.700213", "rules.credential_limit"} <= rules()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({}, "", id="a row as it must be"),
        pytest.param({"witness": []}, "has no witness", id="no witness"),
        pytest.param({"witness": None}, "has no witness", id="an empty witness"),
        pytest.param({"witness": ["tests/a/test_b.py::test_gone"]}, "is no test that exists", id="a lost witness"),
        pytest.param({"witness": ["tests/a/test_gone.py::test_it"]}, "is no test that exists", id="a lost file"),
        pytest.param({"witness": ["tests/a/test_b.py"]}, "is no test that exists", id="a file for a witness"),
        pytest.param({"witness": ["tests/a/test_b.py::TestThem"]}, "", id="a class for a witness"),
        pytest.param({"witness": ["tests/a/test_b.py::TestThem::test_it"]}, "", id="a method for a witness"),
        pytest.param(
            {"enforced_by": ["arm.errors.too_many", "arm.errors.gone"]}, "no rule of the sandbox", id="no rule"
        ),
        pytest.param({"enforced_by": []}, "no row claims this rule", id="a rule that nobody claims"),
        pytest.param({"certainty": "certain"}, "is none of", id="an unknown certainty"),
        pytest.param({"certainty": "inferred"}, "does not say what is unknown", id="inferred without a word"),
        pytest.param(
            {"certainty": "inferred", "source": "the docs; the text is not known"}, "", id="inferred, and what is"
        ),
        pytest.param({"source": " "}, "has no claim or no source", id="no source"),
        pytest.param({"id": "Limit"}, "is not service.short-name", id="an id of another form"),
        pytest.param({"note": "more"}, "a row has", id="a field too many"),
    ],
)
def test_the_checker_says_what_is_wrong_with_a_row(change: dict[str, Any], complaint: str) -> None:
    found = complaints([{**ROW, **change}], rules={"arm.errors.too_many"}, tests=TESTS)

    assert len(found) >= bool(complaint)
    assert all(complaint in each for each in found[:1])
    assert bool(found) == bool(complaint)


def test_the_checker_finds_an_id_that_is_there_twice() -> None:
    found = complaints([ROW, ROW], rules={"arm.errors.too_many"}, tests=TESTS)

    assert found == ["arm.limit: the id is there 2 times"]


def test_refusals_are_the_public_functions_that_build_one() -> None:
    source = (
        "class Refusal(Exception): ...\n"
        "def too_many() -> Refusal: ...\n"
        "def _built() -> Refusal: ...\n"
        "def text() -> str: ...\n"
    )

    assert refusals("arm.errors", source) == {"arm.errors.too_many"}


def test_tests_are_what_pytest_collects() -> None:
    source = (
        "def helper(): ...\n"
        "async def test_waits(): ...\n"
        "class TestThem:\n    def test_it(self): ...\n    def other(self): ...\n"
        "TestMachine = Machine.TestCase\n"
        "TestNot = 3\n"
    )

    assert names_of_tests(source) == {"test_waits", "TestThem", "TestThem::test_it", "TestMachine"}


def test_rules_are_named_as_the_settings_are_in_python() -> None:
    assert "rules.write_hold" in rules()
    assert "writeHold" in {field.encode_name for field in msgspec.structs.fields(Rules)}
