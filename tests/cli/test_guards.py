"""``keystead guards``: what is shipped, and whom it leaves out."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from keystead.kube.guards import STORES

KEYSTEAD = str(Path(sys.executable).with_name("keystead"))
ROOT = Path(__file__).parents[2]


def _printed(*options: str) -> list[dict[str, Any]]:
    command = [KEYSTEAD, "guards", *options]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - our own executable
    return list(yaml.safe_load_all(run.stdout))


def _key(item: dict[str, Any]) -> tuple[str, str]:
    return item["kind"], item["metadata"]["name"]


def test_what_is_printed_is_what_lies_in_deploy() -> None:
    lying = [each for path in (ROOT / "deploy/guards").glob("*.yaml") for each in yaml.safe_load_all(path.read_text())]

    assert sorted(_printed("--stores"), key=_key) == sorted(lying, key=_key)


def test_stores_are_guarded_on_request_alone() -> None:
    plain, more = _printed(), _printed("--stores")

    assert [each for each in more if each not in plain] == [each for each in more if each["metadata"]["name"] == STORES]
    assert len(more) == len(plain) + 2


def test_the_operator_is_the_one_of_the_namespace_that_was_asked_for() -> None:
    text = yaml.safe_dump_all(_printed("--namespace", "elsewhere"), width=10_000)

    assert "system:serviceaccount:elsewhere:keystead-operator" in text
    assert "keystead-system" not in text


def test_the_exempt_are_named_and_no_name_breaks_out_of_its_quotes() -> None:
    (policy,) = [
        each
        for each in _printed("--exempt", "it's me", "--exempt", "back\\slash")
        if each["kind"] == "ValidatingAdmissionPolicy" and "matchConditions" in each["spec"]
    ]

    (condition,) = policy["spec"]["matchConditions"]
    assert condition["expression"] == r"!(request.userInfo.username in ['it\'s me', 'back\\slash'])"
