"""Settings come from the environment and from flags; what makes no sense is refused by name."""

import dataclasses
from typing import Any

import pytest

from keystead.model.errors import Refused
from keystead.model.reasons import Reason
from keystead.operator.settings import Settings, read_settings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4s", 4.0), ("500ms", 0.5), ("10m", 600.0), ("24h", 86400.0), ("2.5", 2.5), ("0.4s", 0.4)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert read_settings({"KEYSTEAD_DRIFT_INTERVAL": text}).drift_interval == seconds


@pytest.mark.parametrize(
    ("environment", "field", "value"),
    [
        ({}, "lane_pace", 4.0),
        ({}, "service_account_names", ("keystead",)),
        ({"KEYSTEAD_OBSERVE_ONLY": "true"}, "observe_only", True),
        ({"KEYSTEAD_OBSERVE_ONLY": "0"}, "observe_only", False),
        (
            {"KEYSTEAD_SERVICE_ACCOUNT_NAMES": "keystead, vault-reader"},
            "service_account_names",
            ("keystead", "vault-reader"),
        ),
        ({"KEYSTEAD_HEALTH_PORT": "8080"}, "health_port", 8080),
        ({"KEYSTEAD_CLOUD": "AzureChinaCloud"}, "cloud", "AzureChinaCloud"),
        ({"KEYSTEAD_LANE_PACE": ""}, "lane_pace", 4.0),
    ],
)
def test_a_setting_is_read(environment: dict[str, str], field: str, value: Any) -> None:
    assert getattr(read_settings(environment), field) == value


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"KEYSTEAD_LANE_PACE": "-4s"}, ("KEYSTEAD_LANE_PACE", "'-4s'", "duration")),
        ({"KEYSTEAD_LANE_PACE": "0"}, ("KEYSTEAD_LANE_PACE", "'0'", "at least 0.01 s")),
        ({"KEYSTEAD_HEARTBEAT": "0"}, ("KEYSTEAD_HEARTBEAT", "'0'", "at least 1 s")),
        ({"KEYSTEAD_DRIFT_INTERVAL": "0h"}, ("KEYSTEAD_DRIFT_INTERVAL", "'0h'", "at least 0.1 s")),
        ({"KEYSTEAD_DRIFT_INTERVAL": "5 days"}, ("KEYSTEAD_DRIFT_INTERVAL", "'5 days'", "duration")),
        ({"KEYSTEAD_ESO_ACCOUNT": "external-secrets"}, ("KEYSTEAD_ESO_ACCOUNT", "NAMESPACE/NAME")),
        ({"KEYSTEAD_REQUIRE_GUARDS": "maybe"}, ("KEYSTEAD_REQUIRE_GUARDS", "true or false")),
        ({"KEYSTEAD_HEALTH_PORT": "99999"}, ("KEYSTEAD_HEALTH_PORT", "'99999'", "65535")),
        ({"KEYSTEAD_HEALTH_PORT": "http"}, ("KEYSTEAD_HEALTH_PORT", "'http'", "whole number")),
        ({"KEYSTEAD_QUORUM": "²"}, ("KEYSTEAD_QUORUM", "'²'", "whole number")),
        ({"KEYSTEAD_SERVICE_ACCOUNT_NAMES": ","}, ("KEYSTEAD_SERVICE_ACCOUNT_NAMES", "','", "at least one")),
        ({"AZURE_CLIENT_SECRET": "planted"}, ("AZURE_TENANT_ID and AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")),
        ({"AZURE_CLIENT_SECRET": "planted", "AZURE_CLIENT_ID": "c"}, ("AZURE_TENANT_ID", "AZURE_CLIENT_SECRET")),
        (
            {"AZURE_FEDERATED_TOKEN_FILE": "/t", "AZURE_TENANT_ID": "t"},
            ("AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"),
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(environment: dict[str, str], named: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refusal:
        read_settings(environment)

    assert refusal.value.reason in (Reason.SETTING_INVALID, Reason.AZURE_SIGN_IN_FAILED)
    assert [each for each in named if each not in str(refusal.value)] == []
    assert "planted" not in str(refusal.value)


def test_flags_win_over_the_environment() -> None:
    assert read_settings({"KEYSTEAD_LOG_LEVEL": "error"}, log_level="debug").log_level == "debug"


def test_the_client_secret_is_never_shown() -> None:
    environment = {"AZURE_CLIENT_SECRET": "planted", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}

    assert "planted" not in repr(read_settings(environment))


@pytest.mark.parametrize("setting", dataclasses.fields(Settings), ids=lambda setting: setting.name)
def test_every_setting_has_a_variable_of_its_own_and_a_meaning(setting: Any) -> None:
    variables = [each.metadata["variable"] for each in dataclasses.fields(Settings)]

    assert variables.count(setting.metadata["variable"]) == 1
    assert setting.metadata["meaning"].endswith(".")
