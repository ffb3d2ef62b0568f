"""Seed files: what they make, and how a bad one is refused."""

import datetime
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keystead_sandbox.clock import ScaledClock, VirtualClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.seeds import AssignmentSeed, BadSeed, Seed, plant, read_seed
from keystead_sandbox.world import World

pytestmark = pytest.mark.looptime(start=0)
PLANTED = "hunter2-planted"
TENANT = "11111111-1111-4111-8111-111111111111"
SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/keystead"
WRITER = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/writer"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/team-kv"
WHOLE = f"""\
rules:
  propagation: 5
  writeHold: 0.5
tenants:
- id: {TENANT}
  name: contoso
subscriptions:
- id: {SUBSCRIPTION}
  tenant: {TENANT}
resourceGroups:
- id: {GROUP}
  location: northeurope
applications:
- clientId: 33333333-3333-4333-8333-333333333333
  secret: {PLANTED}
identities:
- id: {WRITER}
  credentials:
  - name: by-hand
    issuer: https://issuer.example.test/
    subject: system:serviceaccount:a:b
vaults:
- id: {VAULT}
  secrets:
    db: {PLANTED}
roleAssignments:
- principal: {WRITER.replace("resourceGroups", "resourcegroups")}
  role: Key Vault Secrets User
  scope: {VAULT}
- principal: 33333333-3333-4333-8333-333333333333
  role: Managed Identity Contributor
  scope: {GROUP}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "seed.yaml"
    path.write_text(text)
    return path


def planted(seed: Seed) -> World:
    clock = VirtualClock(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    return plant(seed, clock, Journal(clock))


async def test_a_seed_makes_what_it_says(tmp_path: Path) -> None:
    world = planted(read_seed(written(tmp_path, WHOLE)))

    identity, vault = world.identity(WRITER), world.vault("TEAM-KV")
    application = world.applications["33333333-3333-4333-8333-333333333333"]
    assert identity is not None
    assert vault is not None
    assert (world.rules.propagation, world.rules.write_hold, world.rules.negative_cache) == (5, 0.5, 90)
    assert world.tenants[TENANT].name == "contoso"
    assert world.groups[GROUP.lower()].location == "northeurope"
    assert identity.credentials["by-hand"].written_at <= -5
    assert vault.resource_id == VAULT
    assert vault.secrets["db"][-1].value == PLANTED
    assert world.may(identity.principal_id, "Microsoft.KeyVault/vaults/secrets/getSecret/action", VAULT, data=True)
    assert world.may(application.object_id, "Microsoft.ManagedIdentity/userAssignedIdentities/write", WRITER)
    assert PLANTED not in repr((world.applications, vault))


async def test_the_same_seed_gives_the_same_ids(tmp_path: Path) -> None:
    seed = read_seed(written(tmp_path, WHOLE))

    first, second = planted(seed).identity(WRITER), planted(seed).identity(WRITER)

    assert first is not None
    assert second is not None
    assert (first.client_id, first.principal_id) == (second.client_id, second.principal_id)


@pytest.mark.parametrize("text", ["", "{}", "# nothing\n"])
async def test_an_empty_seed_is_a_tenant_and_a_subscription(tmp_path: Path, text: str) -> None:
    world = planted(read_seed(written(tmp_path, text)))

    assert len(world.tenants) == 1
    assert [each.tenant_id for each in world.subscriptions.values()] == list(world.tenants)


# What is wrong, the first words of the line that is named, and the cure.
BAD = {
    "no YAML": ("a: [", "a: [", "Correct the line"),
    "a tab": ("tenants:\n\t- id: x\n", "\t- id", "Correct the line"),
    "a list": ("- rules\n", "- rules", "Known fields: rules, tenants"),
    "an unknown part": (f"{WHOLE}identites: []\n", "identites", "Known fields: rules, tenants"),
    "an unknown rule": (WHOLE.replace("writeHold", "writehold"), "  writehold", "Known fields: propagation"),
    "a rule that is no number": (WHOLE.replace("propagation: 5", "propagation: soon"), "  propagation", "`float`"),
    "an unknown field": (WHOLE.replace("  credentials:", "  credential:"), "  credential:", "id, clientId, location"),
    "no way to sign in": (
        WHOLE.replace(f"  secret: {PLANTED}\n", ""),
        "- clientId",
        "Give it a secret, or certificates",
    ),
    "a certificate that is none": (
        WHOLE.replace(f"  secret: {PLANTED}\n", f"  certificates: [{PLANTED}]\n"),
        "  certificates",
        "no RSA certificate in PEM",
    ),
    "a missing field": (WHOLE.replace("- clientId", "- name"), "- name", "missing required field `clientId`"),
    "an identity that is a vault": (
        WHOLE.replace(f"- id: {WRITER}", f"- id: {VAULT}x"),
        f"- id: {VAULT}x",
        "is not the id of an identity: /subscriptions/",
    ),
    "a vault's name that is too short": (
        WHOLE.replace(f"- id: {VAULT}", f"- id: {VAULT[:-5]}"),
        f"- id: {VAULT[:-5]}",
        "3 to 24 letters",
    ),
    "a group with a line too many": (
        WHOLE.replace(f"- id: {GROUP}\n  location", f'- id: "{GROUP}\\n"\n  location'),
        f'- id: "{GROUP}',
        "is not the id of a resource group",
    ),
    "a tenant that is not there": (WHOLE.replace(f"tenant: {TENANT}", "tenant: x"), "  tenant: x", "not in tenants"),
    "a subscription that is not there": (
        WHOLE.replace(f"- id: {VAULT}", f"- id: {VAULT.replace(SUBSCRIPTION, 'other')}"),
        "- id: /subscriptions/other",
        "not in subscriptions. Add it there",
    ),
    "an identity twice": (
        WHOLE.replace("vaults:\n- id", f"- id: {WRITER.replace('writer', 'WRITER')}\nvaults:\n- id"),
        f"- id: {WRITER.replace('writer', 'WRITER')}",
        "there twice. Remove one",
    ),
    "an unknown role": (WHOLE.replace("Key Vault Secrets User", "Cook"), "  role: Cook", "Key Vault Secrets User"),
    "a principal that is not there": (
        WHOLE.replace("- principal: /sub", "- principal: /gone/sub"),
        "- principal: /gone",
        "not in identities. Add it there",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_seed_is_refused_with_its_line_and_the_cure(tmp_path: Path, case: str) -> None:
    text, start, cure = BAD[case]
    path = written(tmp_path, text)

    with pytest.raises(BadSeed) as refused:
        read_seed(path)

    file, line, _ = str(refused.value).split(":", 2)
    assert file == str(path)
    assert text.splitlines()[int(line) - 1].startswith(start)
    assert cure in str(refused.value)
    assert PLANTED not in str(refused.value)


def test_a_seed_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(BadSeed, match="cannot be read: No such file"):
        read_seed(tmp_path / "missing")
    with pytest.raises(BadSeed, match="is not text in YAML"):
        read_seed(tmp_path / "binary")


async def test_a_seed_made_in_code_is_checked_too() -> None:
    given = AssignmentSeed(principal=TENANT, role="Nobody", scope=GROUP)

    with pytest.raises(BadSeed, match=r"roleAssignments\[0\]\.role: 'Nobody' is not a role"):
        planted(Seed(role_assignments=[given]))


@pytest.mark.parametrize(
    "principal", [WRITER, "44444444-4444-4444-8444-444444444444"], ids=["resource id", "client id"]
)
async def test_an_identity_is_a_principal_by_its_resource_id_and_by_its_client_id(
    tmp_path: Path, principal: str
) -> None:
    text = (
        f"identities:\n- id: {WRITER}\n  clientId: 44444444-4444-4444-8444-444444444444\nsubscriptions:\n"
        f"- id: {SUBSCRIPTION}\nroleAssignments:\n- {{principal: {principal}, role: Reader, scope: {GROUP}}}\n"
    )
    path = tmp_path / "seed.yaml"
    path.write_text(text)
    clock = VirtualClock(datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC))

    world = plant(read_seed(path), clock, Journal(clock))

    (given,) = world.assignments.values()
    assert given.principal_id == world.identities[WRITER.lower()].principal_id


async def test_faults_stand_from_the_start(tmp_path: Path) -> None:
    text = """
faults:
- service: entra
  effect: delay
  latency: {kind: lognormal, median: 0.2, sigma: 0.6}
- service: arm
  method: PUT
  every: 10
  status: 409
- service: entra
  after: 300
  seconds: 30
  period: 3600
"""
    world = planted(read_seed(written(tmp_path, text)))

    assert [(number, fault.service, hits) for number, fault, hits in world.faults.standing()] == [
        (1, "entra", 0),
        (2, "arm", 0),
        (3, "entra", 0),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("faults:\n- service: arm\n- service: ham\n", 3, "faults[1].service"),
        ("faults:\n- every: 0\n", 2, "faults[0].every"),
        ("faults:\n- service: arm\n- service: arm\n  path: (\n", 3, "faults[1]: path: '(' is not a regular expression"),
        ("faults:\n- latency: {kind: uniform, low: 2, high: 1}\n", 2, "low: it is above high"),
        ("faults:\n- latency: {kind: bell}\n", 2, "bell"),
        ("rules:\n  propagation: .nan\n", 1, "propagation: must be from 0"),
        ("rules:\n  writeRefill: 0\n", 1, "writeRefill: must be above 0"),
        ("tenants:\n- id: a\n  domains: [contoso]\n", 3, "domains[0]"),
    ],
)
def test_a_fault_or_rule_that_makes_no_sense_names_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(BadSeed) as refused:
        read_seed(written(tmp_path, text))

    assert f"seed.yaml:{line}: " in str(refused.value)
    assert words in str(refused.value)


KEYS = [
    "rules",
    "tenants",
    "subscriptions",
    "resourceGroups",
    "applications",
    "identities",
    "vaults",
    "roleAssignments",
    "faults",
    "id",
    "name",
    "tenant",
    "cloud",
    "clientId",
    "secret",
    "certificates",
    "credentials",
    "issuer",
    "subject",
    "secrets",
    "principal",
    "role",
    "scope",
    "domains",
    "allowedIssuers",
    "attached",
    "propagation",
    "latency",
    "kind",
    "effect",
    "service",
    "seconds",
]
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.dates()
    | st.sampled_from([GROUP, WRITER, VAULT, SUBSCRIPTION, "Owner", "lognormal"])
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=15,
)
NOISE = st.text("\n :-[]{}&*!?|>'\"#%@`a0.,2\t\x00\u00e9", max_size=40).map(str.encode) | st.binary(max_size=40)


@settings(max_examples=150, deadline=None)
@given(
    content=st.dictionaries(st.sampled_from(KEYS), TREES, max_size=5).map(lambda tree: yaml.safe_dump(tree).encode())
    | NOISE
)
@example(content=b"[" * 3000)
@example(content=b"&a [*a]")
@example(content=b"tenants: &a [*a]")
@example(content=b"x: 2026-13-45")
@example(content=b"? [a]\n: b")
@example(content=b"--- a\n--- b")
@example(content=b"[]")
@example(content=b"rules: {propagation: 1.e+400}")
def test_nonsense_is_refused_in_one_line_with_the_file(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "seed.yaml")
        path.write_bytes(content)

        complaint = complaint_about(path)

    assert complaint is None or (str(path) in complaint and "\n" not in complaint)


def complaint_about(path: Path) -> str | None:
    clock = ScaledClock()
    try:
        plant(read_seed(path), clock, Journal(clock))
    except BadSeed as refused:
        return str(refused)
    return None
