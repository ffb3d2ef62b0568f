"""``keystead adopt``, as people call it: a process of its own, asked at a terminal or not, and an operator that listens."""

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from installation import BIN, PATIENCE, Installation, identity_id

pytestmark = pytest.mark.process
HELD = {f"tf-{name}": f"system:serviceaccount:{name}:keystead" for name in ("shop", "mill", "bill")}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Three namespaces that others serve, and an operator to which nobody has said anything."""
    with Installation(tmp_path_factory.mktemp("installation"), ("one",), credentials={"one": HELD}) as made:
        made.grant("team", [identity_id("one")])
        for name in ("shop", "mill", "bill"):
            made.namespace(name, team="team")
        made.start_operator()
        yield made


def _adopted(installation: Installation) -> list[str]:
    specs = [each["spec"] for each in installation.objects("Federation")]
    return sorted(each["credential"]["name"] for each in specs if each.get("adopted"))


def _word(installation: Installation) -> str:
    (grant,) = installation.objects("VaultGrant")
    return str((grant["metadata"].get("annotations") or {}).get("keystead.dev/adopt", ""))


def _at_a_terminal(installation: Installation, *arguments: str, answer: bytes) -> tuple[int, str]:
    """The command with a terminal before it, at which somebody answers its question."""
    ours, theirs = pty.openpty()
    command = [str(BIN / "keystead"), *arguments]
    with subprocess.Popen(  # noqa: S603 - our own executable
        command, env=installation.environment(COLUMNS="100"), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown, answered, deadline = b"", False, time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], PATIENCE)[0]:
                break
            try:
                more = os.read(ours, 65536)
            except OSError:
                break  # Linux's word for the other side's end
            if not more:
                break
            shown += more
            if not answered and b"[y/N]" in shown:
                os.write(ours, answer)
                answered = True
        code = process.wait(PATIENCE)
    os.close(ours)
    return code, shown.decode()


def test_nothing_is_written_before_a_yes_and_the_operator_does_what_follows(installation: Installation) -> None:
    asked_nobody = installation.keystead("adopt", "team")
    said_no = _at_a_terminal(installation, "adopt", "team", answer=b"\n")

    assert (asked_nobody.returncode, asked_nobody.stderr) == (0, "")
    assert "Say --yes to take over what can be." in asked_nobody.stdout
    assert said_no[0] == 0
    assert "Take over 3 credentials?" in said_no[1]
    assert _word(installation) == ""

    said_yes = _at_a_terminal(installation, "adopt", "team", "shop", answer=b"y\n")

    assert said_yes[0] == 0
    assert "Take over 1 credential?" in said_yes[1]
    installation.until(lambda: _adopted(installation) == ["tf-shop"])
    assert _word(installation) == "shop/keystead"

    ran = installation.keystead("adopt", "team", "--yes", "-o", "json")

    told: dict[str, Any] = json.loads(ran.stdout)
    assert (ran.returncode, ran.stderr, told["said"]) == (0, "", True)
    installation.until(lambda: _adopted(installation) == ["tf-bill", "tf-mill", "tf-shop"])
    installation.until(lambda: installation.ready() == 3)
    again = json.loads(installation.keystead("adopt", "team", "--yes", "-o", "json").stdout)
    assert (again["said"], again["possible"]) == (False, [])
    assert {each["state"] for each in again["others"] if each["kind"] == "Credential"} == {"Adopted"}


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "told"),
    [
        (["sales"], {}, 1, "there is no VaultGrant sales; there are: team"),
        (["team", "-o", "yaml"], {}, 2, "give table or json"),
        (["team"], {"AZURE_CLIENT_SECRET": "wrong"}, 1, "az login"),
        (["team"], {"KUBECONFIG": "/nowhere"}, 1, "Set KUBECONFIG to a readable kubeconfig file"),
        ([], {}, 2, "Missing argument 'GRANT'"),
    ],
    ids=["no such grant", "an output that is none", "a wrong secret", "no cluster", "no grant named"],
)
def test_what_goes_wrong_is_told_with_the_cure(
    installation: Installation, arguments: list[str], environment: dict[str, str], code: int, told: str
) -> None:
    ran = installation.keystead("adopt", *arguments, **environment)

    assert (ran.returncode, ran.stdout) == (code, "")
    assert told in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr
