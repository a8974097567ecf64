from __future__ import annotations

import json
import os
import stat
import subprocess
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from children import start_child
from zstandard import ZstdDecompressor

from django_runbook.backups import (
    Terms,
    find_backups,
    load_manifest,
    make_backup,
    manifest,
    required_space,
    restore_backup,
    space,
    streams,
    writing,
)
from django_runbook.databases import Database, TableContent
from django_runbook.exceptions import BackupFailed, Refused, RestoreFailed

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "var" / "backups"


@pytest.fixture(autouse=True)
def filled(database: Database) -> None:
    """A table with some rows."""
    run(database, "CREATE TABLE t (id INTEGER PRIMARY KEY, x VARCHAR(100))")
    run(database, "INSERT INTO t VALUES (1, 'Zoé 😀'), (2, NULL), (3, '')")


def run(database: Database, *statements: str) -> None:
    with database.connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_a_backup_is_restored_exactly(database: Database, folder: Path) -> None:
    made = make_backup(database, folder, terms=Terms(), now=NOW)
    run(database, "DELETE FROM t WHERE id > 1", "CREATE TABLE added (x INTEGER)")
    assert restore_backup(made.path, database) == made
    assert database.row_counts() == {"t": 3}
    assert database.ask("SELECT x FROM t WHERE id = 1") == [("Zoé 😀",)]


def test_the_manifest_says_what_was_backed_up(database: Database, folder: Path) -> None:
    applied = [("core", "0001_initial"), ("core", "0002_more")]
    made = make_backup(database, folder, run_id="20260131-1", applied=applied, terms=Terms(), now=NOW)
    assert load_manifest(made.path) == made
    dump = ZstdDecompressor().stream_reader(made.dump_path.read_bytes()).read()
    assert made.dump_bytes == len(dump) > 0
    assert made.bytes == made.dump_path.stat().st_size
    assert made.sha256 == sha256(made.dump_path.read_bytes()).hexdigest()
    assert made.rows == {"t": 3}
    assert made.applied == (("core", "0001_initial"), ("core", "0002_more"))
    assert made.run_id == "20260131-1"
    assert made.identity == database.identity
    assert made.server == database.server()
    assert made.created == NOW
    assert made.level == "checksummed"


def test_no_secret_is_in_the_manifest(database: Database, folder: Path) -> None:
    text = make_backup(database, folder, terms=Terms(), now=NOW).path.read_text()
    assert json.loads(text)["format"] == 2
    assert not any(secret in text for secret in database.secrets)


def test_files_are_0600_in_folders_of_0700(database: Database, folder: Path) -> None:
    before = os.umask(0)
    try:
        made = make_backup(database, folder, terms=Terms(), now=NOW)
    finally:
        os.umask(before)
    assert [mode_of(made.path), mode_of(made.dump_path)] == [0o600, 0o600]
    assert [mode_of(folder), mode_of(folder.parent)] == [0o700, 0o700]


def test_a_file_is_0600_from_its_first_byte(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    put = streams.DumpWriter.put

    def watched(writer: streams.DumpWriter, compressed: bytes) -> None:
        modes.extend(mode_of(path) for path in folder.iterdir() if path.is_file())
        put(writer, compressed)

    monkeypatch.setattr(streams.DumpWriter, "put", watched)
    before = os.umask(0)
    try:
        make_backup(database, folder, terms=Terms(), now=NOW)
    finally:
        os.umask(before)
    assert set(modes) == {0o600}


def test_the_name_holds_the_database_and_the_second_in_utc(database: Database, folder: Path) -> None:
    paris = NOW.astimezone(timezone(timedelta(hours=1)))
    made = make_backup(database, folder, terms=Terms(), now=paris)
    name = Path(database.name).name
    assert made.file == f"{name}-20260131T120000Z{database.dumper.suffix}.zst"
    assert made.path.name == f"{made.file}.manifest.json"


def test_two_backups_of_one_second_have_two_names(database: Database, folder: Path) -> None:
    first, second = (
        make_backup(database, folder, terms=Terms(), now=NOW),
        make_backup(database, folder, terms=Terms(), now=NOW),
    )
    assert first.file != second.file
    assert restore_backup(first.path, database).file == first.file
    assert len(list(folder.iterdir())) == 4


def test_backups_are_found_newest_first_and_damaged_manifests_left_out(
    database: Database, folder: Path
) -> None:
    made = [make_backup(database, folder, terms=Terms(), now=NOW + timedelta(days=day)) for day in (1, 3, 2)]
    (folder / "x.manifest.json").write_text("{")
    assert find_backups(folder) == [made[1], made[2], made[0]]
    assert find_backups(folder / "nowhere") == []


@pytest.mark.parametrize("where", [0, 0.5, 1])
def test_one_flipped_bit_is_noticed_before_anything_is_touched(
    database: Database, folder: Path, where: float
) -> None:
    made = make_backup(database, folder, terms=Terms(), now=NOW)
    content = bytearray(made.dump_path.read_bytes())
    content[int(where * (len(content) - 1))] ^= 1
    made.dump_path.write_bytes(content)
    run(database, "CREATE TABLE since (x INTEGER)")
    with pytest.raises(Refused) as caught:
        restore_backup(made.path, database)
    assert str(caught.value) == (
        f"The backup {made.dump_path} is damaged: it is not the file that its manifest describes.\n"
        "Choose another backup. The database was not touched."
    )
    assert "since" in database.row_counts()


def test_a_dump_without_its_last_bytes_is_noticed(database: Database, folder: Path) -> None:
    made = make_backup(database, folder, terms=Terms(), now=NOW)
    os.truncate(made.dump_path, made.bytes - 1)
    with pytest.raises(Refused, match="is damaged"):
        restore_backup(made.path, database)


@SQLITE
def test_a_missing_dump_is_told(database: Database, folder: Path) -> None:
    made = make_backup(database, folder, terms=Terms(), now=NOW)
    made.dump_path.unlink()
    with pytest.raises(Refused, match=r"cannot be read: No such file or directory\."):
        restore_backup(made.path, database)


@SQLITE
@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 2}'])
def test_a_damaged_manifest_is_refused(database: Database, tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.manifest.json"
    path.write_text(text)
    with pytest.raises(Refused, match=r"The manifest .* cannot be read"):
        restore_backup(path, database)


def test_a_backup_of_another_database_is_refused_unless_that_is_wanted(
    database: Database, folder: Path
) -> None:
    made = make_backup(database, folder, terms=Terms(), now=NOW)
    elsewhere = replace(made, identity={**made.identity, "name": "shop"})
    made.path.write_text(manifest.to_json(elsewhere))
    with pytest.raises(Refused) as caught:
        restore_backup(made.path, database)
    assert caught.value.message == (
        f"The backup {made.path} is of database 'shop', and this is '{database.name}'."
    )
    run(database, "DELETE FROM t")
    restore_backup(made.path, database, into_other=True)
    assert database.row_counts() == {"t": 3}


def test_a_backup_of_another_product_is_refused_even_if_another_database_is_wanted(
    database: Database, folder: Path
) -> None:
    made = make_backup(database, folder, terms=Terms(), now=NOW)
    other = replace(made, server=replace(made.server, product="Oracle"))
    made.path.write_text(manifest.to_json(other))
    with pytest.raises(Refused, match="was made by Oracle"):
        restore_backup(made.path, database, into_other=True)


def test_a_restore_that_ends_in_other_rows_has_failed(database: Database, folder: Path) -> None:
    made = make_backup(database, folder, terms=Terms(), now=NOW)
    made.path.write_text(
        manifest.to_json(replace(made, tables={"t": TableContent(rows=4), "gone": TableContent(rows=1)}))
    )
    with pytest.raises(RestoreFailed, match=r"t: 4 expected, 3 found; gone: 1 expected, no table found\."):
        restore_backup(made.path, database)


def test_too_little_space_is_refused_before_anything_is_written(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: usage(0, 0, 1024**2))
    with pytest.raises(Refused, match=r"needs about \d+ MiB in .*; 1 MiB are free\."):
        make_backup(database, folder, terms=Terms(), now=NOW)
    assert not folder.exists()


def test_the_space_asked_for_is_more_than_the_backup_takes(database: Database, folder: Path) -> None:
    assert required_space(database) > make_backup(database, folder, terms=Terms(), now=NOW).bytes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one mebibyte. Where mounting is not allowed there is no such disk to test with."""
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], capture_output=True, check=False
    )
    if mounted.returncode:
        report = pytest.fail if os.environ.get("CI") else pytest.skip
        report(f"a small disk cannot be mounted: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


def test_a_disk_that_becomes_full_leaves_no_file_and_the_database_as_it_was(
    database: Database, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "refuse_too_little_space", lambda *args: None)
    run(database, "CREATE TABLE noise (x VARCHAR(64))")
    fill_with_noise(database)
    before = database.row_counts()
    with pytest.raises(BackupFailed) as caught:
        make_backup(database, small_disk, terms=Terms(), now=NOW)
    assert str(caught.value) == (
        f"The disk of {small_disk} became full during the backup.\n"
        "The database was not changed. Free some space there, or choose another folder."
    )
    assert list(small_disk.iterdir()) == []
    assert database.row_counts() == before


def fill_with_noise(database: Database) -> None:
    """Several mebibytes that do not compress."""
    with database.connection.cursor() as cursor:
        for _chunk in range(20):
            values = ", ".join(f"('{os.urandom(32).hex()}')" for _row in range(5000))
            cursor.execute(f"INSERT INTO noise VALUES {values}")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("moment", ["put", "finish"])
def test_an_interrupted_backup_leaves_no_file(
    database: Database,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    moment: str,
) -> None:
    def interrupted(*args: Any) -> None:
        raise error

    monkeypatch.setattr(streams.DumpWriter, moment, interrupted)
    with pytest.raises(error):
        make_backup(database, folder, terms=Terms(), now=NOW)
    assert list(folder.iterdir()) == []


@SQLITE
def test_a_backup_interrupted_at_its_manifest_leaves_no_file(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "to_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_backup(database, folder, terms=Terms(), now=NOW)
    assert list(folder.iterdir()) == []


def test_a_backup_killed_half_way_leaves_nothing_that_looks_whole(database: Database, folder: Path) -> None:
    with start_child(
        f"""
        from datetime import datetime, UTC
        from pathlib import Path
        from django_runbook import backups
        from django_runbook.backups import streams
        def half_way(writer):
            writer.target.file.flush()
            ready()
            wait()
        streams.DumpWriter.finish = half_way
        made = get_database("{database.alias}"), Path("{folder}")
        backups.make_backup(*made, terms=backups.Terms(), now=datetime.now(UTC))
        """,
        database,
    ) as child:
        child.wait_until_ready()
        child.kill()
    assert [path.name for path in folder.iterdir() if not path.name.endswith(".partial")] == []
    assert any(folder.iterdir())
    assert find_backups(folder) == []
    made = make_backup(database, folder, terms=Terms(), now=NOW)
    assert find_backups(folder) == [made]


@SQLITE
def test_a_killed_backups_remains_do_not_hinder_the_next_one_of_the_same_second(
    database: Database, folder: Path
) -> None:
    first = make_backup(database, folder, terms=Terms(), now=NOW)
    first.path.unlink()
    first.dump_path.rename(f"{first.dump_path}.partial")
    second = make_backup(database, folder, terms=Terms(), now=NOW)
    assert second.file == "db.sqlite3-20260131T120000Z-2.sqlite3.zst"
    assert find_backups(folder) == [second]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
