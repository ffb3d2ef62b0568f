"""``keystead plan`` and ``keystead export``, as people call them: a process of their own, real connections, real output."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import Installation, identity_id

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One namespace that is served, one that is not yet, and no operator."""
    with Installation(tmp_path_factory.mktemp("installation"), ("one",)) as made:
        made.grant("team", [identity_id("one")])
        made.namespace("shop", team="team")
        made.start_operator()
        made.until(lambda: made.ready() == 1)
        made.stop_operator()
        made.namespace("office", team="team")
        yield made


def test_the_plan_is_printed_as_a_table_and_as_json(installation: Installation) -> None:
    table = installation.keystead("plan")
    told = installation.keystead("plan", "team", "-o", "json")

    assert (table.returncode, table.stderr) == (0, "")
    assert "office/team" in table.stdout
    assert table.stdout.endswith("1 step to take. Nothing was written.\n")
    (grant,) = json.loads(told.stdout)["grants"]
    assert [unit["steps"][0]["step"] for unit in grant["units"]] == ["CreateClaim"]


def test_pending_steps_are_an_exit_code_for_whoever_asks(installation: Installation) -> None:
    assert installation.keystead("plan", "--exit-code").returncode == 2


def test_the_export_is_printed_or_written(installation: Installation, tmp_path: Path) -> None:
    printed = installation.keystead("export", "terraform")
    written = installation.keystead("export", "terraform", "--output-file", str(tmp_path / "x.tf"))

    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout.count("import {") == 1
    assert (written.returncode, written.stdout) == (0, "")
    assert (tmp_path / "x.tf").read_text() == printed.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "told"),
    [
        (["plan", "sales"], {}, 1, "there is no VaultGrant sales; there are: team"),
        (["plan"], {"AZURE_CLIENT_SECRET": "wrong"}, 1, "az login"),
        (["plan"], {"AZURE_CLIENT_ID": ""}, 1, "AZURE_CLIENT_ID: not set, but AZURE_CLIENT_SECRET is"),
        (["plan"], {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}, 1, "reaches Azure"),
        (["plan"], {"KUBECONFIG": "/nowhere"}, 1, "Set KUBECONFIG to a readable kubeconfig file"),
        (["plan", "-o", "yaml"], {}, 2, "give table or json"),
        (["export", "terraform", "--azurerm", "3"], {}, 2, "give 4 or 5"),
        (["export", "terraform", "--output-file", "/nowhere/x"], {}, 1, "--output-file: /nowhere/x cannot be written"),
    ],
    ids=[
        "no such grant",
        "a wrong secret",
        "half a sign-in",
        "no way to Azure",
        "no cluster",
        "an output that is none",
        "a provider that is none",
        "a file that cannot be",
    ],
)
def test_what_goes_wrong_is_told_with_the_cure(
    installation: Installation, arguments: list[str], environment: dict[str, str], code: int, told: str
) -> None:
    ran = installation.keystead(*arguments, **environment)

    assert (ran.returncode, ran.stdout) == (code, "")
    assert told in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr
    assert installation.exports["AZURE_CLIENT_SECRET"] not in ran.stderr


def test_a_sign_in_that_is_empty_makes_no_traceback(installation: Installation) -> None:
    empty = dict.fromkeys(("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"), "")

    ran = installation.keystead("plan", **empty)

    assert ran.returncode == 1
    assert ran.stderr.startswith("keystead: cannot sign in to Azure: ")
