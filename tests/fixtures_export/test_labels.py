"""What a label names in a database, and what is said when it names nothing there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.fixtures import export

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
Zoo = Callable[..., Database]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (
            "zoo.Ticket",
            "The database 'default' has no 'zoo.Ticket' yet: a pending migration creates it.\n"
            "Export it after `manage.py migrate zoo 0004_website`, or leave it out now.",
        ),
        (
            "zoo.Kiper",
            "No model 'zoo.Kiper' is known to the migrations that database 'default' has applied.\n"
            "Near it: zoo.Keeper.",
        ),
        (
            "zoo.X",
            "No model 'zoo.X' is known to the migrations that database 'default' has applied.\n"
            "The app has: Animal, Bird, Duty, Enclosure, Feeding, Keeper, LoudAnimal, Old, Sign.",
        ),
        (
            "nowhere.X",
            "No model 'nowhere.X' is known to the migrations that database 'default' has applied.\n"
            "No installed app with that label has models there.",
        ),
        (
            "zo.Keeper",
            "No model 'zo.Keeper' is known to the migrations that database 'default' has applied.\n"
            "Near it: zoo.Keeper.",
        ),
        (
            "zu",
            "No installed app has the label 'zu'.\nA label is the last part of an entry in INSTALLED_APPS.",
        ),
        ("zooo", "No installed app has the label 'zooo'.\nNear it: zoo."),
    ],
)
def test_a_label_that_names_nothing_is_refused_before_anything_is_written(
    zoo: Zoo, tmp_path: Path, label: str, message: str
) -> None:
    database = zoo("0003", filled=False)
    folder = tmp_path / "exports"
    folder.mkdir()
    with pytest.raises(Refused) as caught:
        export(database, [label], folder / "zoo.json")
    assert str(caught.value) == message
    assert list(folder.iterdir()) == []


def test_an_app_whose_first_migration_is_pending_is_refused(database: Database, tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        export(database, ["zoo"], tmp_path / "zoo.json")
    assert str(caught.value) == (
        "The database 'default' has no 'zoo' yet: a pending migration creates it.\n"
        "Export it after `manage.py migrate zoo 0001_initial`, or leave it out now."
    )


def test_a_model_that_no_migration_creates_is_refused(
    zoo: Zoo, tmp_path: Path, settings_of_migrations: Callable[..., None]
) -> None:
    database = zoo("0003", filled=False)
    settings_of_migrations(zoo="zoo.layouts.behind")
    with pytest.raises(Refused) as caught:
        export(database, ["zoo.Ticket"], tmp_path / "zoo.json")
    assert str(caught.value) == (
        "The model 'zoo.Ticket' is not in the migrations, so no database can have its table.\n"
        "Run `manage.py makemigrations zoo`, and commit what it writes."
    )


def test_without_labels_what_is_not_there_yet_is_left_out(zoo: Zoo, tmp_path: Path) -> None:
    result = export(zoo("0003", filled=False), [], tmp_path / "all.json")
    assert "zoo.Ticket" not in result.objects
    assert {"zoo.Sign", "auth.User", "nomig.Poster"} <= set(result.objects)


def test_a_label_is_found_in_any_case_of_its_model(zoo: Zoo, tmp_path: Path) -> None:
    assert dict(export(zoo(), ["zoo.ticket"], tmp_path / "t.json").objects) == {"zoo.Ticket": 1}


def test_an_unknown_exclude_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        export(zoo(filled=False), ["zoo"], tmp_path / "zoo.json", exclude=["zoo.Animals"])
    assert str(caught.value) == (
        "No model 'zoo.Animals' is known to the migrations that database 'default' has applied.\n"
        "Near it: zoo.Animal, zoo.LoudAnimal."
    )


def test_excluding_what_is_not_there_yet_is_accepted(zoo: Zoo, tmp_path: Path) -> None:
    result = export(zoo("0003"), ["zoo"], tmp_path / "zoo.json", exclude=["zoo.Ticket"])
    assert "zoo.Keeper" in result.objects


def test_a_proxy_model_is_left_out(zoo: Zoo, tmp_path: Path) -> None:
    assert dict(export(zoo(), ["zoo.LoudAnimal"], tmp_path / "loud.json").objects) == {}


def test_what_the_routers_keep_off_the_database_is_left_out(
    zoo: Zoo, tmp_path: Path, settings: Callable[..., None]
) -> None:
    database = zoo()
    settings(DATABASE_ROUTERS=["zoo.routers.NoTickets"])
    result = export(database, ["zoo"], tmp_path / "zoo.json")
    assert "zoo.Ticket" not in result.objects
    assert "zoo.Keeper" in result.objects


def test_a_broken_migration_graph_is_refused(
    zoo: Zoo, tmp_path: Path, settings_of_migrations: Callable[..., None]
) -> None:
    database = zoo(filled=False)
    settings_of_migrations(zoo="zoo.layouts.broken")
    with pytest.raises(Refused) as caught:
        export(database, ["zoo"], tmp_path / "zoo.json")
    assert str(caught.value) == (
        "The migration files do not form a graph: Migration zoo.0002_orphan dependencies reference "
        "nonexistent parent node ('zoo', '0001_lost')\n"
        "Bring every migration file of the release to this machine, then run this command again."
    )
