"""An export is what its manifest says, or it is said what differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command

from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.fixtures import export, manifest_path, verify, verify_against

Zoo = Callable[..., Database]


@pytest.fixture
def keepers(zoo: Zoo, tmp_path: Path) -> tuple[Database, Path]:
    """A database and an export of it."""
    database, file = zoo(), tmp_path / "keepers.json.zst"
    export(database, ["zoo.Keeper", "zoo.Ticket"], file)
    return database, file


def test_an_export_is_what_its_manifest_and_its_database_say(keepers: tuple[Database, Path]) -> None:
    database, file = keepers
    assert verify(file) == verify_against(database, file)
    assert not list(file.parent.glob(".*"))
    assert sorted(file.parent.glob("keepers*")) == [file, manifest_path(file)]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE zoo_ticket SET number = number + 1", "As many objects, but other values"),
        ("DELETE FROM zoo_ticket", "zoo.Ticket: 1 in the manifest, 0 found"),
    ],
)
def test_what_the_database_says_otherwise_is_named(
    keepers: tuple[Database, Path], statement: str, said: str
) -> None:
    database, file = keepers
    with database.connection.cursor() as cursor:
        cursor.execute(statement)
    with pytest.raises(Refused, match=said):
        verify_against(database, file)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_file_that_was_changed_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    database, file = zoo(), tmp_path / "keepers.json"
    export(database, ["zoo.Keeper"], file)
    text = file.read_text()
    file.write_text(text.replace("zoo.keeper", "zoo.ticket", 1))
    with pytest.raises(Refused, match=r"zoo.keeper: 4 in the manifest, 3 found\n- zoo.ticket: 0"):
        verify(file)
    file.write_text(f"{text}\n")
    with pytest.raises(Refused, match="SHA-256"):
        verify(file)
    file.unlink()
    with pytest.raises(Refused, match="There is no fixture"):
        verify(file)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_command_verifies(keepers: tuple[Database, Path], capsys: pytest.CaptureFixture[str]) -> None:
    database, file = keepers
    words = ["runbook", "export", "--verify", str(file), "--database", database.alias]
    call_command(*words)
    call_command(*words, "--against-database")
    assert capsys.readouterr().out.count("4 zoo.Keeper") == 2
