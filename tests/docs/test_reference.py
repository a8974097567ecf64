"""The reference names everything that a user can write or read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import django_runbook
from django_runbook.conf import KNOWN_BACKUP_SETTINGS, KNOWN_SERVICE_SETTINGS, KNOWN_SETTINGS
from django_runbook.journal import Event
from django_runbook.management.commands.runbook import SUBCOMMANDS

ROOT = Path(__file__).parent.parent.parent
PACKAGE = Path(django_runbook.__file__).parent
REFERENCE = (ROOT / "docs/reference/index.md").read_text()
CHECKS_PAGE = (ROOT / "docs/reference/checks.md").read_text()
CHECK_IDS = {
    found for path in PACKAGE.rglob("*.py") for found in re.findall(r'"(runbook\.[EP]\d+)"', path.read_text())
}
UNDOCUMENTED = {"Runbook"}


@pytest.mark.parametrize("name", sorted(SUBCOMMANDS))
def test_every_command_is_in_the_reference(name: str):
    assert f"`manage.py runbook {name}" in REFERENCE


@pytest.mark.parametrize("name", [*KNOWN_SETTINGS, *KNOWN_BACKUP_SETTINGS, *KNOWN_SERVICE_SETTINGS])
def test_every_setting_is_in_the_reference(name: str):
    assert f'"{name}"' in REFERENCE


@pytest.mark.parametrize("check_id", sorted(CHECK_IDS))
def test_every_check_is_in_the_reference(check_id: str):
    assert f"| {check_id} |" in CHECKS_PAGE or f"`{check_id}`" in REFERENCE


@pytest.mark.parametrize("name", sorted(set(django_runbook.__all__) - UNDOCUMENTED))
def test_every_public_name_is_in_the_reference(name: str):
    assert re.search(rf"\b{name}\b", REFERENCE)


@pytest.mark.parametrize("event", Event)
def test_every_event_is_in_the_reference(event: Event):
    assert f"`{event.value}`" in REFERENCE


def test_every_check_id_in_the_reference_exists():
    assert set(re.findall(r"runbook\.[EP]\d+", REFERENCE + CHECKS_PAGE)) == CHECK_IDS


@pytest.mark.parametrize("path", ["README.md", *map(str, (ROOT / "docs").rglob("*.md"))])
def test_every_link_between_the_documents_leads_somewhere(path: str):
    document = ROOT / path
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []
