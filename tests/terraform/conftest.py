"""The real Terraform with the real azurerm provider, against an installation on this machine.

``TF_AZURERM_PROVIDER_DIR`` names the folder with a built ``terraform-provider-azurerm``; without it, or without
``terraform``, nothing here runs, and says why.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from installation import PATIENCE, Installation, identity_id

PROVIDER = os.environ.get("TF_AZURERM_PROVIDER_DIR", "")  # noqa: TID251 - a switch of these tests
TYPE = "azurerm_federated_identity_credential"
_HEAD = """
provider "azurerm" {
  features {}
  resource_provider_registrations = "none"
}
"""
IDENTITIES = ("Payments_Pool-1", "payments_pool_2")
ACCOUNTS = ("keystead", "my.dotted.account", "0")
LONGEST = "a-namespace-with-a-name-of-the-most-letters-that-kubernetes-has"


def why_not() -> str:
    """Why these tests cannot run here; empty where they can."""
    if not PROVIDER:
        return "TF_AZURERM_PROVIDER_DIR is not set: name the folder that holds a built terraform-provider-azurerm"
    if not (Path(PROVIDER) / "terraform-provider-azurerm").is_file():
        return f"TF_AZURERM_PROVIDER_DIR: {PROVIDER} holds no terraform-provider-azurerm"
    return "" if shutil.which("terraform") else "terraform is not on PATH"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if reason := why_not():
        for each in items:
            if Path(__file__).parent in each.path.parents:
                each.add_marker(pytest.mark.skip(reason=reason))


@dataclass(frozen=True)
class Said:
    """How a run of Terraform ended."""

    code: int
    text: str

    @property
    def counts(self) -> dict[str, int]:
        """``{"import": 3, "add": 0, ...}``; empty when there is nothing to do."""
        lines = re.findall(r"^(?:Plan:|Apply complete! Resources:) (.*)\.$", self.text, re.MULTILINE)
        found = re.findall(r"(\d+)(?: to)? ([a-z]+)", lines[-1]) if lines else []
        return {word: int(number) for number, word in found}


class Terraform:
    """One working folder."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        folder.mkdir()
        settings = folder / "terraformrc"
        override = f'dev_overrides {{\n    "hashicorp/azurerm" = {json.dumps(PROVIDER)}\n  }}'
        settings.write_text(f"provider_installation {{\n  {override}\n  direct {{}}\n}}\n")
        own = {"TF_CLI_CONFIG_FILE": str(settings), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
        self._environment = {**environment, **own}
        self.write("main.tf", _HEAD)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(  # noqa: S603 - what is under test
            ["terraform", *arguments],  # noqa: S607 - the machine's own
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __call__(self, *arguments: str) -> Said:
        return ended(self.start(*arguments))

    def plan(self) -> Said:
        """0: no changes; 2: some."""
        return self("plan", "-no-color", "-input=false", "-detailed-exitcode")

    def apply(self) -> Said:
        return self("apply", "-no-color", "-input=false", "-auto-approve")

    def state(self) -> list[dict[str, Any]]:
        """Attributes of the credentials that it has taken over."""
        shown = json.loads(self("show", "-json").text)
        resources = shown.get("values", {}).get("root_module", {}).get("resources", [])
        return [each["values"] for each in resources if each["type"] == TYPE]


def ended(process: "subprocess.Popen[str]") -> Said:
    text, _ = process.communicate(timeout=PATIENCE)
    return Said(process.returncode, text)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two identities, and namespaces and accounts with the oddest names that there may be, served by the operator."""
    folder = tmp_path_factory.mktemp("installation")
    with Installation(folder, IDENTITIES, accounts=",".join(ACCOUNTS)) as made:
        spelt_oddly = identity_id(IDENTITIES[1]).replace("/resourceGroups/", "/resourcegroups/")
        spelt_oddly = spelt_oddly.replace("/Microsoft.ManagedIdentity/userA", "/microsoft.managedidentity/usera")
        made.grant("team", [identity_id(IDENTITIES[0]), spelt_oddly], claims="OnRequest", maxClaimsPerNamespace=3)
        for namespace in ("shop", "1st-team", "0", LONGEST):
            made.namespace(namespace, team="team")
            for account in ACCOUNTS:
                made.claim(namespace, f"for-{account}", grant="team", account=account)
        made.start_operator()
        made.until(lambda: made.ready() == 4 * len(ACCOUNTS))
        yield made


@pytest.fixture
def terraform(installation: Installation, tmp_path: Path) -> Terraform:
    """An empty folder of somebody who may write in Azure."""
    return Terraform(tmp_path / "terraform", installation.environment())
