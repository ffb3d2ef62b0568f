"""No token and no secret leaves in a log line, whoever wrote the text."""

import contextlib
import io
import json

import pytest
import structlog

from keystead.apply import audit
from keystead.model.reasons import Reason
from keystead.model.secret import Secret
from keystead.plan.steps import BeginRevocation
from keystead.report import logs

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"answer was {TOKEN} today", "answer was *** today"),
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer ***"),
        ("grant_type=x&client_secret=planted&scope=y", "grant_type=x&client_secret=***&scope=y"),
        ('{"access_token": "planted"}', '{"access_token": "***"}'),
        (Secret("planted"), "***"),
        ({"inner": [f"x {TOKEN}"]}, {"inner": ["x ***"]}),
        (ValueError(f"no {TOKEN}"), "no ***"),
        ("AADSTS700213: no match for the assertion", "AADSTS700213: no match for the assertion"),
        (
            "ks-1a2b3c4d-shop-keystead-abcdefghijklmnopqrstuvwxyz",
            "ks-1a2b3c4d-shop-keystead-abcdefghijklmnopqrstuvwxyz",
        ),
        (17, 17),
    ],
    ids=["token", "bearer", "form", "json", "Secret", "nested", "exception", "plain words", "our names", "number"],
)
def test_redaction(value: object, shown: object) -> None:
    assert logs.redact(None, "info", {"event": value})["event"] == shown


def _refuse() -> None:
    raise RuntimeError(f"refused {TOKEN}")


def test_the_audit_log_is_written_whatever_the_level() -> None:
    caught = io.StringIO()
    with contextlib.redirect_stderr(caught):
        logs.configure("error")
        structlog.get_logger("test").info("too quiet")
        audit.revoked(BeginRevocation("fed", "fed", "uid", Reason.DENIED))
    structlog.reset_defaults()

    (line,) = [json.loads(each) for each in caught.getvalue().splitlines()]
    assert (line["event"], line["audit"], line["federation"], line["cause"]) == ("trust revoked", True, "fed", "Denied")


def test_a_log_line_is_json_with_its_keys_and_without_its_secrets() -> None:
    caught = io.StringIO()
    with contextlib.redirect_stderr(caught):
        logs.configure("info")
        log = structlog.get_logger("test")
        log.debug("too quiet")
        try:
            _refuse()
        except RuntimeError:
            log.exception("pass failed", grant="team", secret=Secret("planted"))
    structlog.reset_defaults()

    (line,) = caught.getvalue().splitlines()
    written = json.loads(line)
    assert (written["event"], written["grant"], written["level"], written["secret"]) == (
        "pass failed",
        "team",
        "error",
        "***",
    )
    assert "RuntimeError: refused ***" in written["exception"]
    assert "planted" not in line
    assert TOKEN not in line
