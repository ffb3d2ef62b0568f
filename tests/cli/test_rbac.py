"""``keystead rbac``: what is shipped, and that it is as little as it says."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from keystead.kube.permissions import ENGINE, OPERATOR, roles
from keystead.kube.rbac import manifests, rbac_yaml
from keystead.model.growth import PROBE_ACCOUNT

KEYSTEAD = str(Path(sys.executable).with_name("keystead"))
ROOT = Path(__file__).parents[2]


def _run(*options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own executable
        [KEYSTEAD, "rbac", *options],
        env={**os.environ, **environment},  # noqa: TID251 - handed to a child process
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _rules(items: list[dict[str, Any]], name: str, kind: str = "ClusterRole") -> list[dict[str, Any]]:
    found = next(each for each in items if each["kind"] == kind and each["metadata"]["name"] == name)
    rules: list[dict[str, Any]] = found["rules"]
    return rules


def test_what_is_printed_is_what_lies_in_deploy() -> None:
    printed = list(yaml.safe_load_all(_run().stdout))

    lying = [each for path in (ROOT / "deploy/rbac").glob("*.yaml") for each in yaml.safe_load_all(path.read_text())]

    def key(item: dict[str, Any]) -> tuple[str, str]:
        return item["kind"], item["metadata"]["name"]

    assert sorted(printed, key=key) == sorted(lying, key=key)


def test_the_namespace_is_the_one_that_was_asked_for() -> None:
    printed = list(yaml.safe_load_all(_run("--namespace", "elsewhere").stdout))

    placed = {each["metadata"]["namespace"] for each in printed if "namespace" in each["metadata"]}
    subjects = {subject["namespace"] for each in printed for subject in each.get("subjects", ())}
    assert placed == subjects == {"elsewhere"}
    assert [each["metadata"]["name"] for each in printed if each["kind"] == "Namespace"] == ["elsewhere"]


def test_accounts_come_from_the_flag_or_from_the_operators_own_setting() -> None:
    by_flag = list(yaml.safe_load_all(_run("--service-account-names", "one, two").stdout))
    by_setting = list(yaml.safe_load_all(_run(KEYSTEAD_SERVICE_ACCOUNT_NAMES="one,two").stdout))

    assert by_flag == by_setting
    minting = [each for each in _rules(by_flag, OPERATOR) if each.get("resources") == ["serviceaccounts/token"]]
    assert [each["resourceNames"] for each in minting] == [["one", "two"]]


@pytest.mark.parametrize("names", [" ", ",", " , "])
def test_no_name_at_all_is_refused_since_it_would_mean_any(names: str) -> None:
    refused = _run("--service-account-names", names)

    assert refused.returncode == 2
    assert refused.stdout == ""


@pytest.mark.parametrize("names", [("keystead",), ("one", "two")], ids=["one account", "two accounts"])
def test_tokens_are_minted_for_named_accounts_alone(names: tuple[str, ...]) -> None:
    minting = [
        (role, rule)
        for role in roles(names)
        for rule in role.rules
        if "serviceaccounts/token" in rule.resources or "serviceaccounts/*" in rule.resources
    ]

    everywhere = [rule.names for role, rule in minting if role.cluster]
    at_home = [rule.names for role, rule in minting if not role.cluster]
    assert everywhere == [names, names]
    assert at_home == [(PROBE_ACCOUNT,)]


def test_the_account_that_identities_are_proven_with_may_do_nothing() -> None:
    bound = [
        subject["name"] for item in manifests() if item["kind"].endswith("Binding") for subject in item["subjects"]
    ]

    assert PROBE_ACCOUNT in [item["metadata"]["name"] for item in manifests() if item["kind"] == "ServiceAccount"]
    assert PROBE_ACCOUNT not in bound


def test_nobody_but_the_engine_has_any_right_on_secrets() -> None:
    with_secrets = {
        item["metadata"]["name"]
        for item in manifests()
        for rule in item.get("rules", ())
        if {"secrets", "*"} & set(rule.get("resources", ()))
    }

    assert with_secrets == {ENGINE}


def test_no_rule_holds_a_wildcard_or_a_right_to_more_rights() -> None:
    rules = [rule for item in manifests() for rule in item.get("rules", ())]

    words = {word for rule in rules for key in ("verbs", "apiGroups", "resources") for word in rule.get(key, ())}
    assert words.isdisjoint({"*", "escalate", "bind", "impersonate"})
    assert not any("rbac.authorization.k8s.io" in rule.get("apiGroups", ()) for rule in rules)


def test_every_rule_says_what_it_is_for() -> None:
    unexplained = [(role.name, rule) for role in roles(("keystead",)) for rule in role.rules if len(rule.why) < 10]

    assert unexplained == []


def test_the_yaml_repeats_itself_rather_than_point_elsewhere() -> None:
    text = rbac_yaml()

    assert "&id" not in text
    assert "*id" not in text
