"""The real provider takes over what is exported, and finds nothing to add, to change or to destroy."""

import json
from pathlib import Path

import pytest

from installation import GROUP, Installation, identity_id
from keystead.report.terraform import literal
from terraform.conftest import ACCOUNTS, IDENTITIES, TYPE, Terraform

HOSTILE = [
    "",
    "plain",
    'a "quote"',
    "back\\slash \\n",
    "${var.x}",
    "$${x}",
    "$$${x}",
    "$",
    "$$",
    "%{ if true }no%{ endif }",
    "%%{x}",
    "%%%{x}",
    "two\nlines\r\n\ttab",
    "\x00\x01\x1b[31m\x7f",
    "\u00a0\u2028\ufeff",
    "Zürich ✓ \U0001f511 \U000e0001",
    "#{x} {{x}} <<EOT ~} ${~ x ~}",
]


def export(installation: Installation, *options: str) -> str:
    ran = installation.keystead("export", "terraform", *options)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.mark.parametrize(("output", "file"), [("hcl", "credentials.tf"), ("tf-json", "credentials.tf.json")])
def test_everything_is_imported_and_nothing_changes(
    installation: Installation, terraform: Terraform, output: str, file: str
) -> None:
    count = 4 * len(ACCOUNTS)
    terraform.write(file, export(installation, "-o", output))

    first = terraform.plan()
    taken = terraform.apply()
    second = terraform.plan()

    assert first.counts == {"import": count, "add": 0, "change": 0, "destroy": 0}, first.text
    assert (taken.code, taken.counts) == (0, {"imported": count, "added": 0, "changed": 0, "destroyed": 0}), taken.text
    assert (second.code, "No changes." in second.text) == (0, True), second.text


def test_terraforms_state_has_exactly_what_the_facts_say(installation: Installation, terraform: Terraform) -> None:
    facts = json.loads(export(installation, "-o", "json"))
    terraform.write("credentials.tf", export(installation))

    assert terraform.apply().code == 0

    kept = {
        each["id"]: {
            "name": each["name"],
            "identity": each["user_assigned_identity_id"],
            "audience": each["audience"],
            "issuer": each["issuer"],
            "subject": each["subject"],
        }
        for each in terraform.state()
    }
    assert kept == {
        each["importId"]: {
            "name": each["name"],
            "identity": each["identity"],
            "audience": [each["audience"]],
            "issuer": each["issuer"],
            "subject": each["subject"],
        }
        for each in facts
    }
    assert {each["identity"] for each in facts} == {
        f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}" for name in IDENTITIES
    }


def test_the_configuration_is_formatted_as_terraform_would(installation: Installation, terraform: Terraform) -> None:
    terraform.write("credentials.tf", export(installation))

    assert terraform("fmt", "-check", "-diff", "-no-color").code == 0


def test_a_second_export_is_the_same(installation: Installation) -> None:
    assert export(installation) == export(installation)


def test_the_fourth_majors_shape_is_for_the_fourth_and_the_fifth_refuses_its_two_arguments_alone(
    installation: Installation, terraform: Terraform
) -> None:
    schema = json.loads(terraform("providers", "schema", "-json").text)
    (provider,) = schema["provider_schemas"].values()
    attributes = set(provider["resource_schemas"][TYPE]["block"]["attributes"])
    terraform.write("credentials.tf", export(installation, "--azurerm", "4"))

    said = terraform.plan()

    if {"parent_id", "resource_group_name"} <= attributes:  # a provider of the fourth major
        assert said.counts == {"import": 4 * len(ACCOUNTS), "add": 0, "change": 0, "destroy": 0}, said.text
        assert terraform.apply().code == 0
        assert "No changes." in terraform.plan().text
        return
    assert said.code == 1
    unknown = {
        word for word in ("parent_id", "resource_group_name") if f'An argument named "{word}" is not' in said.text
    }
    assert unknown == {"parent_id", "resource_group_name"}, said.text
    assert 'The argument "user_assigned_identity_id" is required' in said.text


def test_a_credential_that_terraform_made_keeps_the_name_that_azure_knows(tmp_path: Path) -> None:
    folder = tmp_path / "installation"
    folder.mkdir()
    with Installation(folder, ("one",)) as installation:
        installation.grant("team", [identity_id("one")])
        installation.namespace("legacy", team="team")
        before = Terraform(tmp_path / "before", installation.environment())
        trust = {
            "issuer": installation.issuer,
            "subject": "system:serviceaccount:legacy:keystead",
            "audience": "api://AzureADTokenExchange",
        }
        made = {"name": "Team_A--FIC", "user_assigned_identity_id": identity_id("one"), **trust}
        body = {"resource": {TYPE: {"theirs": {**made, "audience": [trust["audience"]]}}}}
        before.write("theirs.tf.json", json.dumps(body))
        assert before.apply().code == 0
        installation.record("legacy", "one", {"name": "TEAM_a--fic", **trust})

        after = Terraform(tmp_path / "after", installation.environment())
        after.write("credentials.tf", export(installation))

        assert after.plan().counts == {"import": 1, "add": 0, "change": 0, "destroy": 0}
        assert '"Team_A--FIC"' in (after.folder / "credentials.tf").read_text()


def test_an_export_to_a_file_is_all_or_nothing(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "credentials.tf"
    written = installation.keystead("export", "terraform", "--output-file", str(file))
    refused = installation.keystead("export", "terraform", "nowhere", "--output-file", str(file), "-o", "json")

    assert (written.returncode, written.stdout) == (0, "")
    assert file.read_text() == export(installation)
    assert refused.returncode == 1
    assert [each.name for each in tmp_path.iterdir()] == ["credentials.tf"]


def test_every_string_means_itself_to_terraform(terraform: Terraform) -> None:
    outputs = [f'output "n{number}" {{\n  value = {literal(text)}\n}}' for number, text in enumerate(HOSTILE)]
    terraform.write("main.tf", "\n".join(outputs))

    applied = terraform.apply()

    assert applied.code == 0, applied.text
    read = json.loads(terraform("output", "-json").text)
    assert [read[f"n{number}"]["value"] for number in range(len(HOSTILE))] == HOSTILE
