"""The file of an export and its manifest: there whole, or not at all."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import django
import pytest
import zstandard

from django_runbook.databases import Database
from django_runbook.exceptions import Refused, RunbookError
from django_runbook.fixtures import Manifest, export, load_manifest, manifest_path
from django_runbook.schema import applied_migrations

Zoo = Callable[..., Database]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_export_leaves_nothing(zoo: Zoo, tmp_path: Path, error: type[BaseException]) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()

    def interrupt(label: str, done: int) -> None:
        assert [path.suffix for path in folder.iterdir()] == [".partial", ".partial"]
        raise error

    with pytest.raises(error):
        export(zoo(), ["zoo"], folder / "zoo.json", progress=interrupt)
    assert list(folder.iterdir()) == []


def test_an_interrupted_export_leaves_the_one_before_as_it_was(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    folder = tmp_path / "exports"
    folder.mkdir()
    export(database, ["zoo.Ticket"], folder / "zoo.json")
    before = {path: path.read_bytes() for path in folder.iterdir()}

    def interrupt(label: str, done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(database, ["zoo"], folder / "zoo.json", progress=interrupt)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_failure_between_file_and_manifest_leaves_neither(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.name.endswith(".manifest.json"):
            assert (folder / "zoo.json").exists()
            raise OSError("no space")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OSError, match="no space"):
        export(zoo(), ["zoo"], folder / "zoo.json")
    assert list(folder.iterdir()) == []


def test_a_table_that_cannot_be_read_leaves_nothing_and_is_named(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    with database.connection.cursor() as cursor:
        cursor.execute("DROP TABLE zoo_ticket")
    folder = tmp_path / "exports"
    folder.mkdir()
    with pytest.raises(RunbookError) as caught:
        export(database, ["zoo"], folder / "zoo.json")
    assert caught.value.message == (
        f"zoo.Ticket could not be read from database '{database.alias}': {caught.value.__cause__}"
    )
    assert caught.value.hint == (
        "Run `manage.py runbook check` to see where the schema is not what its migrations say."
    )
    assert caught.value.exit_code == 1
    assert list(folder.iterdir()) == []


def test_file_and_manifest_are_private_to_their_owner(zoo: Zoo, tmp_path: Path) -> None:
    result = export(zoo(), ["zoo.Ticket"], tmp_path / "tickets.json")
    assert [oct(path.stat().st_mode)[-3:] for path in (result.path, result.manifest)] == ["600", "600"]


def test_the_manifest_says_what_the_file_is(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo("0003")
    started = dt.datetime.now(dt.UTC)
    result = export(database, ["zoo.Sign", "zoo.Keeper"], tmp_path / "two.json")
    content = (tmp_path / "two.json").read_bytes()
    manifest = load_manifest(tmp_path / "two.json")
    assert started <= manifest.created <= dt.datetime.now(dt.UTC)
    assert manifest == Manifest(
        file="two.json",
        format="json",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        objects={"zoo.Sign": 1, "zoo.Keeper": 4},
        migrations=tuple(sorted(applied_migrations(database.connection))),
        unknown_migrations=(),
        database=database.identity,
        django=django.get_version(),
        created=manifest.created,
    )
    assert ("zoo", "0003_measures") in manifest.migrations
    assert result.manifest == manifest_path(result.path) == tmp_path / "two.json.manifest.json"
    assert (result.sha256, result.bytes) == (manifest.sha256, manifest.bytes)
    assert (dict(result.objects), result.migrations) == (manifest.objects, len(manifest.migrations))


def test_an_applied_migration_that_is_not_on_disk_is_in_result_and_manifest(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    with database.connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) "
            "VALUES ('zoo', '0005_tomorrow', '2030-01-01 00:00:00')"
        )
    result = export(database, ["zoo"], tmp_path / "zoo.json")
    assert result.unknown_migrations == (("zoo", "0005_tomorrow"),)
    assert load_manifest(result.path).unknown_migrations == (("zoo", "0005_tomorrow"),)


def test_a_compressed_export_holds_the_same_text(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    for name in ("zoo.jsonl", "zoo.jsonl.gz", "zoo.jsonl.zst"):
        export(database, ["zoo"], tmp_path / name, format="jsonl")
    plain = (tmp_path / "zoo.jsonl").read_bytes()
    assert plain.count(b"\n") > 20
    assert gzip.decompress((tmp_path / "zoo.jsonl.gz").read_bytes()) == plain
    packed = (
        zstandard.ZstdDecompressor().decompressobj().decompress((tmp_path / "zoo.jsonl.zst").read_bytes())
    )
    assert packed == plain


@pytest.mark.parametrize("name", ["zoo.json.gz", "zoo.json.zst"])
def test_the_same_rows_give_the_same_compressed_file(zoo: Zoo, tmp_path: Path, name: str) -> None:
    database = zoo()
    (tmp_path / "other").mkdir()
    assert (
        export(database, ["zoo"], tmp_path / name).sha256
        == export(database, ["zoo"], tmp_path / "other" / f"other.{name}").sha256
    )


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["zoo.jsonl", "zoo.txt", "zoo.json.xz"])
def test_a_name_that_loaddata_would_misread_is_refused(zoo: Zoo, tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused) as caught:
        export(zoo(filled=False), ["zoo"], tmp_path / name)
    assert str(caught.value) == (
        f"The name '{name}' does not tell its format, which loaddata reads from it.\n"
        "End the name with one of: .json, .json.gz, .json.zst."
    )


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_folder_that_does_not_exist_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        export(zoo(filled=False), ["zoo"], tmp_path / "none" / "zoo.json")
    assert str(caught.value) == (
        f"The folder {tmp_path / 'none'} does not exist.\nCreate it, or name another file."
    )


def test_a_fixture_without_a_manifest_is_refused(tmp_path: Path) -> None:
    fixture = tmp_path / "zoo.json"
    with pytest.raises(Refused) as caught:
        load_manifest(fixture)
    assert str(caught.value) == (
        f"The fixture {fixture} has no manifest: {fixture}.manifest.json is missing.\n"
        "Copy the manifest beside it, or load the fixture with `manage.py loaddata`."
    )


def test_a_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    fixture = tmp_path / "zoo.json"
    manifest_path(fixture).write_text(json.dumps({"created": "2024-01-01T00:00:00+00:00"}))
    with pytest.raises(Refused) as caught:
        load_manifest(fixture)
    assert str(caught.value) == (
        f"The manifest {fixture}.manifest.json cannot be read: 'migrations'.\n"
        "Export the fixture again, or load it with `manage.py loaddata`."
    )
