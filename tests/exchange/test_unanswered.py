"""Why no answer came, by the type of what the transport raises; and what a token says of itself."""

import base64
import json
import socket
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from azure.core.exceptions import ServiceRequestError, ServiceRequestTimeoutError, ServiceResponseError

from keystead.apply.verifier import presented
from keystead.azure.exchange import unanswered
from keystead.model.secret import Secret
from keystead.plan.codes import NETWORK, Presented

KEY = ConnectionKey("kv.vault.azure.net", 443, True, True, None, None, None)


def _wrapped(error: Exception) -> Exception:
    return ServiceRequestError(error, error=error)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (_wrapped(aiohttp.ClientConnectorDNSError(KEY, OSError("no such name"))), "NameNotResolved"),
        (_wrapped(aiohttp.ClientConnectorError(KEY, socket.gaierror(-2, "unknown"))), "NameNotResolved"),
        (_wrapped(aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "refused"))), "ConnectionRefused"),
        (
            _wrapped(aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("unknown authority"))),
            "CertificateNotTrusted",
        ),
        (ServiceRequestTimeoutError("too slow"), "ConnectTimeout"),
        (_wrapped(aiohttp.ServerDisconnectedError()), "Unreachable"),
        (ServiceResponseError("reset"), "Unreachable"),
        (TimeoutError(), "Unreachable"),
    ],
)
def test_silence_has_a_word(error: Exception, word: str) -> None:
    assert unanswered(error) == word
    assert word in NETWORK


def _token(**claims: Any) -> Secret:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return Secret(f"eyJhbGciOiJSUzI1NiJ9.{payload}.c2ln")


@pytest.mark.parametrize(
    ("token", "found"),
    [
        (_token(iss="i", sub="s", aud=["a", "b"], exp=1), Presented("i", "s", ("a", "b"))),
        (_token(iss="i", sub="s", aud="a"), Presented("i", "s", ("a",))),
        (_token(), Presented("", "", ("",))),
        (_token(iss=1), None),
        (Secret("no token"), None),
        (Secret("a.!!!.c"), None),
        (Secret("a.bm90IGpzb24.c"), None),
    ],
)
def test_what_a_token_says_of_itself(token: Secret, found: Presented | None) -> None:
    assert presented(token) == found
