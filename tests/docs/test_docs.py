"""What the documents say is so: generated pages are fresh, links lead somewhere, commands and targets exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from keystead.model.reasons import CATALOGUE, Reason

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
KEYSTEAD = Path(sys.executable).with_name("keystead")


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - ours


def test_generated_files_are_up_to_date() -> None:
    checked = _run(sys.executable, "tools/generate.py", "--check")

    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained_and_documented(reason: Reason) -> None:
    page = (ROOT / "docs/reference/troubleshooting.md").read_text()

    assert CATALOGUE[reason].tenant.endswith(".")
    assert f"### {reason}\n" in page


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    lost = [link for link in links if "://" not in link and not (page.parent / link).exists()]

    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_named_commands_exist(page: Path) -> None:
    named = sorted(
        set(re.findall(r"`?keystead (run|sync|sandbox|requests|approve|deny|crds|\w+)\b[^`\n]*`", page.read_text()))
    )
    unknown = [name for name in named if _run(str(KEYSTEAD), name, "--help").returncode != 0]

    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_named_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"`make ([a-z-]+)", page.read_text())) <= targets


def test_the_readmes_grant_is_accepted_by_the_rules() -> None:
    import yaml

    from keystead.kube.decode import grant as decode_grant
    from keystead.model.records import Cluster
    from keystead.plan.validation import Validated, check

    block = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    written = yaml.safe_load(block[1])
    written["metadata"] |= {"uid": "u", "generation": 1}

    assert isinstance(check(decode_grant(written), (), Cluster("c1", "https://issuer")), Validated)
