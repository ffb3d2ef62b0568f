"""Terraform writes to the same identities at the same time as the operator.

Which of the two comes first is no matter of chance: the emulated Azure keeps a write, and with it the identity, until the
test lets its clock go on. Whether an identity is kept is found out by deleting a credential that is not there: refused
while somebody writes, nothing otherwise.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from installation import OPERATOR, PATIENCE, Installation, identity_id
from terraform.conftest import TYPE, Terraform, ended

CONCURRENT = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"
SHARED = "shared"
_FOREVER = 600.0  # seconds of the emulated Azure's clock


class Azure:
    """The emulated Azure, and somebody who looks whether an identity is kept."""

    def __init__(self, installation: Installation) -> None:
        self._control = installation.control
        exports = installation.exports
        trust = ssl.create_default_context(cafile=exports["SSL_CERT_FILE"])
        self._http = httpx2.Client(proxy=exports["HTTPS_PROXY"], verify=trust, trust_env=False, timeout=PATIENCE)
        form = {
            "client_id": exports["AZURE_CLIENT_ID"],
            "client_secret": exports["AZURE_CLIENT_SECRET"],
            "grant_type": "client_credentials",
            "scope": "https://management.azure.com/.default",
        }
        login = f"https://login.microsoftonline.com/{exports['AZURE_TENANT_ID']}/oauth2/v2.0/token"
        token = self._http.post(login, data=form).raise_for_status().json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        self._http.close()

    def keep_writes(self) -> None:
        """Whoever writes from now on keeps its identity to itself."""
        self._control("PATCH", "/rules", {"writeHold": _FOREVER})

    def let_go(self) -> None:
        """What is kept is done, and nobody is kept from now on."""
        self._control("PATCH", "/rules", {"writeHold": 0})
        self._control("POST", "/clock", {"advance": _FOREVER})

    def is_kept(self) -> bool:
        path = f"{identity_id(SHARED)}/federatedIdentityCredentials/nobody-has-this-name"
        answer = self._http.delete(f"https://management.azure.com{path}", params={"api-version": "2024-11-30"})
        assert answer.status_code in (httpx2.codes.NO_CONTENT, httpx2.codes.CONFLICT), answer.text
        return answer.status_code == httpx2.codes.CONFLICT

    def refused(self, caller: str) -> list[dict[str, Any]]:
        """Writes of one caller that met another's; waits for the first."""
        query = f"method=PUT&code={CONCURRENT}&caller={caller}&wait={PATIENCE / 2}"
        found: list[dict[str, Any]] = self._control("GET", f"/journal?{query}")
        return found


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[tuple[Installation, Azure]]:
    folder = tmp_path / "installation"
    folder.mkdir()
    with Installation(folder, (SHARED,)) as made:
        made.grant("team", [identity_id(SHARED)])
        made.start_operator()
        azure = Azure(made)
        yield made, azure
        azure.close()


def theirs(count: int) -> str:
    """Credentials that Terraform keeps on the shared identity, for something else than this cluster."""
    return "\n".join(
        f'resource "{TYPE}" "theirs-{number}" {{\n'
        f'  name = "theirs-{number}"\n'
        f'  user_assigned_identity_id = "{identity_id(SHARED)}"\n'
        '  audience = ["api://AzureADTokenExchange"]\n'
        '  issuer = "https://pipelines.example.test"\n'
        f'  subject = "pipeline-{number}"\n'
        "}\n"
        for number in range(count)
    )


def test_the_operator_waits_for_terraforms_write_and_then_has_its_own(
    beside: tuple[Installation, Azure], tmp_path: Path
) -> None:
    installation, azure = beside
    terraform = Terraform(tmp_path / "terraform", installation.environment())
    terraform.write("theirs.tf", theirs(1))
    azure.keep_writes()
    applying = terraform.start("apply", "-no-color", "-input=false", "-auto-approve")
    installation.until(azure.is_kept)

    installation.namespace("shop", team="team")
    refused = azure.refused(OPERATOR)
    azure.let_go()

    applied = ended(applying)
    assert refused
    assert (applied.code, applied.counts["added"]) == (0, 1), applied.text
    installation.until(lambda: installation.ready() == 1)
    assert terraform.plan().code == 0


def test_terraform_is_refused_while_the_operator_writes_and_the_next_apply_brings_it_about(
    beside: tuple[Installation, Azure], tmp_path: Path
) -> None:
    installation, azure = beside
    terraform = Terraform(tmp_path / "terraform", installation.environment())
    terraform.write("theirs.tf", theirs(2))
    azure.keep_writes()
    installation.namespace("shop", team="team")
    installation.until(azure.is_kept)

    first = terraform.apply()
    azure.let_go()
    installation.until(lambda: installation.ready() == 1)
    second = terraform.apply()

    assert (first.code, CONCURRENT in first.text) == (1, True), first.text
    assert (second.code, second.counts["added"]) == (0, 2), second.text
    assert terraform.plan().code == 0
    assert installation.keystead("plan", "--exit-code").returncode == 0


def test_what_both_write_at_will_is_there_in_the_end(beside: tuple[Installation, Azure], tmp_path: Path) -> None:
    installation, azure = beside
    terraform = Terraform(tmp_path / "terraform", installation.environment())
    terraform.write("theirs.tf", theirs(8))
    installation.control("PATCH", "/rules", {"writeHold": 0.3})
    applying = terraform.start("apply", "-no-color", "-input=false", "-auto-approve")
    for number in range(8):
        installation.namespace(f"n{number}", team="team")

    runs = [ended(applying)]
    while runs[-1].code and len(runs) < 20:
        runs.append(terraform.apply())
    installation.until(lambda: installation.ready() == 8)

    assert runs[-1].code == 0, runs[-1].text
    assert terraform.plan().code == 0
    facts = installation.keystead("export", "terraform", "-o", "json")
    assert facts.stdout.count('"importId"') == 8
    assert not azure.is_kept()


def test_what_keystead_revokes_terraform_would_write_again(beside: tuple[Installation, Azure], tmp_path: Path) -> None:
    installation, _ = beside
    installation.namespace("shop", team="team")
    installation.until(lambda: installation.ready() == 1)
    terraform = Terraform(tmp_path / "terraform", installation.environment())
    terraform.write("credentials.tf", installation.keystead("export", "terraform").stdout)
    assert terraform.apply().counts["imported"] == 1

    installation.delete("Namespace", "shop")
    installation.until(lambda: not installation.objects("Federation"))

    assert terraform.plan().counts == {"add": 1, "change": 0, "destroy": 0}
