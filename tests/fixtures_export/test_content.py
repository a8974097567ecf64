"""What an export holds: what dumpdata would write if the models matched the database."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from zoo.filling import matching_apps, migrate

from django_runbook.databases import Database
from django_runbook.fixtures import export

Zoo = Callable[..., Database]
LINKS = {"fans", "friends", "rivals", "artists"}


def test_an_up_to_date_database_gives_what_dumpdata_gives(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    export(database, [], tmp_path / "all.json")
    expected = json.loads(dumpdata(database))
    assert len(expected) > 20
    assert by_key(load(tmp_path / "all.json")) == by_key(expected)


@pytest.mark.parametrize("model", ["Keeper", "Enclosure", "Duty", "Feeding", "Ticket", "Old"])
@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_a_model_without_links_gives_the_bytes_of_dumpdata(
    zoo: Zoo, tmp_path: Path, model: str, format: Any
) -> None:
    database = zoo()
    export(database, [f"zoo.{model}"], tmp_path / f"one.{format}", format=format)
    expected = dumpdata(database, f"zoo.{model}", format=format)
    assert (tmp_path / f"one.{format}").read_text() == expected


def test_fields_stand_in_the_order_of_the_installed_model(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    export(database, ["zoo.Animal"], tmp_path / "animals.json")
    expected = json.loads(dumpdata(database, "zoo.Animal"))
    written = load(tmp_path / "animals.json")
    assert [list(item["fields"]) for item in written] == [list(item["fields"]) for item in expected]


@pytest.mark.parametrize("migration", ["0001", "0002", "0003"])
def test_an_export_works_where_dumpdata_fails_because_models_are_ahead(
    zoo: Zoo, tmp_path: Path, migration: str
) -> None:
    database = zoo(migration)
    with pytest.raises(CommandError, match="Unable to serialize database"):
        dumpdata(database, "zoo")
    export(database, ["zoo"], tmp_path / "zoo.json")
    animals = [item["fields"] for item in load(tmp_path / "zoo.json") if item["model"] == "zoo.animal"]
    expected = {"0001": None, "0002": "size", "0003": "length"}[migration]
    assert ([sorted(animals[0].keys() & {"size", "length", "website", "legs"})] if animals else None) == (
        [sorted(["legs", expected])] if expected else None
    )


def test_what_was_exported_before_a_migration_equals_what_is_exported_after_it(
    zoo: Zoo, tmp_path: Path
) -> None:
    database = zoo("0002")
    export(database, ["zoo"], tmp_path / "before.json")
    migrate(database)
    export(database, ["zoo"], tmp_path / "after.json")
    before = by_key([item for item in load(tmp_path / "before.json") if item["model"] != "zoo.sign"])
    for item in before.values():
        if "size" in item:
            item["length"] = item.pop("size")
            item["website"] = ""
            del item["legs"]
    after = by_key(load(tmp_path / "after.json"))
    for item in after.values():
        item.pop("doubled", None)
    assert before == after


def test_a_model_that_a_pending_migration_deletes_is_exported(zoo: Zoo, tmp_path: Path) -> None:
    export(zoo("0003"), ["zoo.Sign"], tmp_path / "signs.jsonl", format="jsonl")
    assert (tmp_path / "signs.jsonl").read_text() == (
        '{"model": "zoo.sign","pk": 1,"fields": {"text": "Do not feed"}}\n'
    )


def test_an_app_without_migrations_keeps_its_relations_while_their_targets_are_behind(
    zoo: Zoo, tmp_path: Path
) -> None:
    export(zoo("0002"), ["nomig"], tmp_path / "nomig.json")
    [poster, prints] = load(tmp_path / "nomig.json")
    assert poster["fields"]["title"] == "Roar"
    assert poster["fields"]["animal"] == 1
    assert len(poster["fields"]["artists"]) == 2
    assert prints["fields"] == {"poster": poster["pk"], "copies": 100}


def test_rows_that_a_manager_hides_are_exported(zoo: Zoo, tmp_path: Path) -> None:
    export(zoo(), ["zoo.Enclosure"], tmp_path / "enclosures.json")
    assert sorted(item["pk"] for item in load(tmp_path / "enclosures.json")) == ["South", "côté-est", "north"]


def test_an_excluded_model_and_an_excluded_app_are_left_out(zoo: Zoo, tmp_path: Path) -> None:
    result = export(
        zoo(), ["zoo", "nomig"], tmp_path / "some.json", exclude=["nomig", "zoo.Animal", "zoo.Bird"]
    )
    assert set(result.objects) == {
        *("zoo.Keeper", "zoo.Enclosure", "zoo.Duty", "zoo.Feeding", "zoo.Old", "zoo.Ticket"),
    }


def test_targets_of_relations_come_before_what_points_at_them(zoo: Zoo, tmp_path: Path) -> None:
    result = export(zoo(), [], tmp_path / "all.json")
    order = list(result.objects)
    for target, source in [
        ("zoo.Keeper", "zoo.Duty"),
        ("zoo.Enclosure", "zoo.Duty"),
        ("zoo.Keeper", "zoo.Animal"),
        ("zoo.Animal", "zoo.Bird"),
        ("zoo.Keeper", "nomig.Poster"),
        ("nomig.Poster", "nomig.Print"),
        ("contenttypes.ContentType", "auth.Permission"),
    ]:
        assert order.index(target) < order.index(source)


@pytest.mark.parametrize("name", ["zoo.json", "zoo.json.gz"])
def test_loaddata_gives_back_what_was_exported_to_the_byte(zoo: Zoo, tmp_path: Path, name: str) -> None:
    database = zoo()
    exported = export(database, ["zoo", "nomig"], tmp_path / name)
    for table in [
        *("nomig_poster_artists", "nomig_print", "nomig_poster", "zoo_bird_rivals", "zoo_animal_friends"),
        *("zoo_animal_fans", "zoo_bird", "zoo_animal", "zoo_feeding", "zoo_duty", "zoo_enclosure"),
        *("zoo_keeper", "zoo_ticket", "zoo_old"),
    ]:
        with database.connection.cursor() as cursor:
            if table == "zoo_keeper":
                cursor.execute("UPDATE zoo_keeper SET mentor_id = NULL")
            cursor.execute(f"DELETE FROM {table}")
    call_command("loaddata", tmp_path / name, database=database.alias, verbosity=0)
    again = export(database, ["zoo", "nomig"], tmp_path / f"again.{name}")
    assert again.sha256 == exported.sha256
    assert sum(again.objects.values()) > 20


def test_a_table_of_many_pieces_gives_what_dumpdata_gives(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_runbook.fixtures.rows.PIECE", 2)
    database = zoo()
    result = export(database, ["zoo"], tmp_path / "zoo.json")
    assert result.objects["zoo.Feeding"] == 3
    assert by_key(load(tmp_path / "zoo.json")) == by_key(json.loads(dumpdata(database, "zoo")))


def test_reading_by_ranges_of_the_key_gives_what_a_cursor_gives(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = zoo()
    files = []
    for streams in (True, False):
        monkeypatch.setattr(type(database), "streams_rows", streams)
        monkeypatch.setattr("django_runbook.fixtures.rows.PIECE", 2000 if streams else 1)
        files.append(export(database, [], tmp_path / f"{streams}.json").sha256)
    assert files[0] == files[1]


def test_progress_is_told_by_model(zoo: Zoo, tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    export(
        zoo(),
        ["zoo.Keeper", "zoo.Ticket"],
        tmp_path / "two.json",
        progress=lambda label, done: told.append((label, done)),
    )
    assert told == [("zoo.Keeper", 4), ("zoo.Ticket", 1)]


def test_queries_do_not_grow_with_the_rows(
    zoo: Zoo, tmp_path: Path, captured_queries: Callable[[Database], Any]
) -> None:
    database = zoo()
    with captured_queries(database) as few:
        export(database, ["zoo.Animal"], tmp_path / "few.json")
    animal = matching_apps(database).get_model("zoo", "Animal")
    animal.objects.using(database.alias).bulk_create(
        animal(name=f"Ant {number}", enclosure_id="north") for number in range(12)
    )
    with captured_queries(database) as many:
        result = export(database, ["zoo.Animal"], tmp_path / "many.json")
    assert result.objects["zoo.Animal"] == 17
    assert len(many) == len(few)


def dumpdata(database: Database, *labels: str, format: str = "json") -> str:
    out = StringIO()
    call_command(
        "dumpdata", *labels, database=database.alias, format=format, use_base_manager=True, stdout=out
    )
    return out.getvalue()


def load(path: Path) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = json.loads(path.read_text())
    return objects


def by_key(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Objects by model and primary key; the order of many-to-many values means nothing."""
    found = {
        f"{item['model']} {item['pk']}": {
            name: sorted(value) if name in LINKS else value for name, value in item["fields"].items()
        }
        for item in objects
    }
    assert len(found) == len(objects)
    return found
