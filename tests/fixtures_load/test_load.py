"""What is loaded is what loaddata would load, all of it or nothing."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from zoo.filling import matching_apps

from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.fixtures import export, load

Zoo = Callable[..., Database]
TABLES = (
    *("nomig_poster_artists", "nomig_print", "nomig_poster", "zoo_bird_rivals", "zoo_animal_friends"),
    *("zoo_animal_fans", "zoo_bird", "zoo_animal", "zoo_feeding", "zoo_duty", "zoo_enclosure"),
    *("zoo_keeper", "zoo_ticket", "zoo_old"),
)


def empty(database: Database) -> None:
    with database.connection.cursor() as cursor:
        cursor.execute("UPDATE zoo_keeper SET mentor_id = NULL")
        for table in TABLES:
            cursor.execute(f"DELETE FROM {table}")


def exported(database: Database, folder: Path, name: str) -> str:
    return export(database, ["zoo", "nomig"], folder / f"{name}.json").sha256


@pytest.mark.parametrize("name", ["zoo.json", "zoo.json.gz", "zoo.json.zst"])
def test_what_was_exported_is_there_again_to_the_byte(zoo: Zoo, tmp_path: Path, name: str) -> None:
    database = zoo()
    before = exported(database, tmp_path, "before")
    export(database, ["zoo", "nomig"], tmp_path / name)
    empty(database)
    result = load(database, [tmp_path / name])
    assert sum(result.objects.values()) > 20
    assert exported(database, tmp_path, "after") == before


def test_what_dumpdata_wrote_gives_what_loaddata_gives(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    file = tmp_path / "zoo.jsonl"
    words: dict[str, Any] = {"database": database.alias, "verbosity": 0}
    call_command("dumpdata", "zoo", "nomig", format="jsonl", output=file, use_base_manager=True, **words)
    empty(database)
    call_command("loaddata", file, **words)
    theirs = exported(database, tmp_path, "theirs")
    empty(database)
    load(database, [file])
    assert exported(database, tmp_path, "ours") == theirs


def test_rows_that_are_there_get_the_values_of_the_fixture(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    before = exported(database, tmp_path, "before")
    with database.connection.cursor() as cursor:
        cursor.execute("UPDATE zoo_animal SET species = 'other', weight = 1")
        cursor.execute("DELETE FROM zoo_animal_fans")
        cursor.execute("DELETE FROM zoo_feeding")
    load(database, [tmp_path / "before.json"])
    assert exported(database, tmp_path, "after") == before


def test_the_next_row_gets_a_key_behind_those_that_were_loaded(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    load(database, [fixture(tmp_path, {"model": "zoo.ticket", "pk": 900, "fields": {"number": 9001}})])
    model = matching_apps(database).get_model("zoo", "Ticket")
    assert model.objects.using(database.alias).create(number=9002).pk > 900


def test_an_object_without_a_key_is_a_new_row(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    keeper = {"model": "zoo.keeper", "fields": {"name": "new", "hired": "2026-01-02T03:04:05Z"}}
    ticket = {"model": "zoo.ticket", "pk": None, "fields": {"number": 9001}}
    assert load(database, [fixture(tmp_path, keeper, ticket)]).objects == {"zoo.Keeper": 1, "zoo.Ticket": 1}
    assert '"number": 9001' in fixture_of(database, tmp_path, "zoo.Ticket")
    assert '"name": "new"' in fixture_of(database, tmp_path, "zoo.Keeper")


def fixture_of(database: Database, folder: Path, label: str) -> str:
    export(database, [label], folder / "label.json")
    return (folder / "label.json").read_text()


def test_a_field_that_is_absent_gets_its_default(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    file = fixture(
        tmp_path, {"model": "zoo.animal", "pk": 77, "fields": {"name": "Ant", "enclosure": "north"}}
    )
    load(database, [file])
    ours = row(database, tmp_path, 77)
    call_command("loaddata", file, database=database.alias, verbosity=0)
    theirs = row(database, tmp_path, 77)
    ours.pop("seen"), theirs.pop("seen")  # the server's own default: the time
    assert ours == theirs


def row(database: Database, folder: Path, pk: int) -> dict[str, Any]:
    export(database, ["zoo.Animal"], folder / "animals.json")
    return next(it["fields"] for it in json.loads((folder / "animals.json").read_text()) if it["pk"] == pk)


def fixture(folder: Path, *objects: dict[str, Any], name: str = "one.json") -> Path:
    file = folder / name
    file.write_text(json.dumps(objects, default=str))
    return file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"model": "zoo.nobody", "pk": 1, "fields": {}}]', r"object 1 \(zoo.nobody 1\)"),
        ('[{"model": "zoo.keeper", "pk": 1, "fields": {"wings": 2}}]', "has no field 'wings'"),
        (
            '[{"model": "zoo.bird", "pk": 1, "fields": {}}, {"model": "zoo.bird", "pk": 1, '
            '"fields": {"wingspan": 1}},\n {"model": "zoo.bird", "pk": 2, "fields": {"wingspan": "wide"}}]',
            r"line 2: object 3 \(zoo.bird 2\), field 'wingspan'",
        ),
        ('[{"model": "zoo.animal", "pk": 99, "fields": {"name": "x", "enclosure": "moon"}}]', "moon"),
        (
            '[{"model": "zoo.animal", "pk": 98, "fields": {"name": "ok", "enclosure": "north"}},'
            '{"model": "zoo.animal", "pk": 99, "fields": {"name": null, "enclosure": "north"}}]',
            r"object 2 \(zoo.animal 99\)",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(
    zoo: Zoo, tmp_path: Path, text: str, said: str
) -> None:
    database = zoo()
    before = exported(database, tmp_path, "before")
    file = tmp_path / "broken.json"
    file.write_text(text)
    with pytest.raises(Refused, match=said):
        load(database, [tmp_path / "before.json", file])
    assert exported(database, tmp_path, "after") == before


def test_a_file_that_is_not_what_its_manifest_says_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    export(database, ["zoo.Ticket"], tmp_path / "tickets.json")
    with (tmp_path / "tickets.json").open("a") as stream:
        stream.write("\n")
    with pytest.raises(Refused, match="SHA-256"):
        load(database, [tmp_path / "tickets.json"])


def test_a_row_that_is_there_is_refused_where_only_new_ones_are_wanted(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    export(database, ["zoo.Ticket"], tmp_path / "tickets.json")
    with pytest.raises(Refused, match=r"zoo\.ticket 1\) is in the database already"):
        load(database, [tmp_path / "tickets.json"], insert_only=True)


def test_foreign_keys_may_point_forward_and_queries_do_not_grow_with_the_rows(
    zoo: Zoo, tmp_path: Path, captured_queries: Callable[[Database], Any]
) -> None:
    database = zoo()
    keys = [str(uuid.uuid4()) for _number in range(100)]
    keepers = [
        {
            "model": "zoo.keeper",
            "pk": key,
            "fields": {"name": key, "hired": "2026-01-02T03:04:05Z", "mentor": mentor},
        }
        for key, mentor in pairwise([*keys, None])
    ]
    with captured_queries(database) as few:
        load(database, [fixture(tmp_path, *keepers[-2:])])
    with captured_queries(database) as many:
        assert load(database, [fixture(tmp_path, *keepers[:-2])]).objects == {"zoo.Keeper": 98}
    assert len(many) == len(few)


def test_the_command_loads_and_says_what(
    zoo: Zoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = zoo()
    before = exported(database, tmp_path, "before")
    empty(database)
    call_command("runbook", "load", str(tmp_path / "before.json"), "--database", database.alias)
    assert "4 zoo.Keeper" in capsys.readouterr().out
    assert exported(database, tmp_path, "after") == before


def test_an_interrupted_load_leaves_nothing(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    full = exported(database, tmp_path, "full")
    empty(database)
    before = exported(database, tmp_path, "before")

    def interrupt(label: str, done: int) -> None:
        if label == "zoo.Bird":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(database, [tmp_path / "full.json"], progress=interrupt)
    assert exported(database, tmp_path, "after") == before
    load(database, [tmp_path / "full.json"])
    assert exported(database, tmp_path, "again") == full


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_a_row_that_another_unique_value_forbids_replaces_nothing(zoo: Zoo, tmp_path: Path) -> None:
    """ON DUPLICATE KEY UPDATE alone would change the row that has the value."""
    database = zoo()
    taken = {"model": "zoo.ticket", "pk": 900, "fields": {"number": 7}}
    with pytest.raises(Refused, match=r"object 1 \(zoo\.ticket 900\)"):
        load(database, [fixture(tmp_path, taken)])
    assert '"number": 7' in fixture_of(database, tmp_path, "zoo.Ticket")
    assert '"pk": 900' not in fixture_of(database, tmp_path, "zoo.Ticket")
