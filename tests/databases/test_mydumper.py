from __future__ import annotations

import gzip
import shutil
import stat
from pathlib import Path

import pytest
from places import report_missing
from situations import alter, canonical, fill, run

from django_runbook.databases import Database
from django_runbook.databases.dumpers import FolderDumper
from django_runbook.databases.mydumper import Mydumper
from django_runbook.exceptions import BackupFailed, RestoreFailed

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)

UNFIT = [
    ("CREATE TABLE `odd.name` (id integer)", "cannot bring back tables with such names: odd.name"),
    ("CREATE TABLE ids (id uuid)", "the types UUID, INET4 and INET6 empty: ids"),
    ("CREATE TABLE hidden (id integer, it integer INVISIBLE)", "leaves out invisible columns: hidden"),
    ("CREATE TABLE past (id integer) WITH SYSTEM VERSIONING", "tables with system versioning: past"),
]
"""A table, and how it is told."""
OF_EVERY_TYPE = """
CREATE TABLE every (
    id integer PRIMARY KEY, twice integer AS (id * 2) VIRTUAL, thrice integer AS (id * 3) STORED,
    small tinyint, huge bigint unsigned, exact decimal(30, 10), double_ double, bits bit(9), truth boolean,
    chars char(5), latin varchar(9) CHARACTER SET latin1, wide varchar(9) CHARACTER SET ucs2,
    wider text CHARACTER SET utf16, japanese varchar(9) CHARACTER SET sjis, one enum('é', 'b'),
    some set('a', 'ü') CHARACTER SET latin1, bytes varbinary(20), filled binary(4), large longblob,
    day date, instant datetime(6), stamp timestamp(6) NULL, duration time(3), year_ year, place point,
    shape geometry, tree json
)
"""
ROWS_OF_EVERY_TYPE = [
    "INSERT INTO every (id, small, huge, exact, double_, bits, truth, chars, latin, wide, wider, japanese,"
    " one, some, bytes, filled, large, day, instant, stamp, duration, year_, place, shape, tree) VALUES"
    " (-3, -128, 18446744073709551615, 12345678901234567890.0123456789, 0.1e0 + 0.2e0, b'101010101', TRUE,"
    " 'a', 'éé', 'héß', '😀x', '日本', 'é', 'a,ü', X'5C5C273B0A00', X'0001', X'00270A3B0A5C00FF22',"
    " '2026-01-31', '2026-01-31 12:00:00.000001', '2026-01-31 12:00:00.1', '-12:00:00.5', 2026,"
    " POINT(1.1, -2), ST_GeomFromText('LINESTRING(0 0,1 1)', 4326), '{\"a\": \"😀\"}')",
    "INSERT INTO every (id) VALUES (-2)",
    "INSERT INTO every (id, chars, wide, bytes) VALUES (-1, '', '', '')",
    "SET sql_mode = ''",
    "INSERT INTO every (id, day, instant) VALUES (0, '0000-00-00', '2026-02-00')",
    "SET sql_mode = DEFAULT",
]


@pytest.fixture
def mydumper(request: pytest.FixtureRequest, database: Database) -> FolderDumper:
    [dumper] = database.folder_dumpers
    if not shutil.which("mydumper"):
        report_missing(request.config, "mydumper", dumper.unfit())
    if dumper.unfit():
        pytest.skip(dumper.unfit())
    return dumper


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "dump"
    folder.mkdir(mode=0o700)
    return folder


def test_everything_is_brought_back(database: Database, mydumper: FolderDumper, folder: Path) -> None:
    fill(database)
    [odd] = [name for name in database.dumped_tables() if name.startswith("Odd")]
    run(database, f"DROP TABLE {database.quote(odd)}", "ALTER TABLE counted DROP COLUMN u", OF_EVERY_TYPE)
    run(database, *ROWS_OF_EVERY_TYPE)
    versioned = database.definition("versioned")
    run(database, "DROP TABLE versioned")
    before = canonical(database)
    assert mydumper.unfit() == ""
    content = mydumper.dump(folder, jobs=2, checksums=True)
    assert content == database.content(checksums=True)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    run(database, versioned)
    alter(database)
    run(database, "DELETE FROM every")
    mydumper.restore(folder, jobs=2)
    assert canonical(database) == before
    assert database.content(checksums=True) == content


@pytest.mark.parametrize(("table", "words"), UNFIT)
def test_what_it_cannot_bring_back_is_told(
    database: Database, mydumper: FolderDumper, table: str, words: str
) -> None:
    run(database, table)
    assert words in mydumper.unfit()


def test_a_table_that_is_altered_meanwhile_makes_no_backup(
    database: Database, mydumper: FolderDumper, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(database, "CREATE TABLE parent (id integer)")
    dump_rows = Mydumper._dump_rows

    def late(dumper: Mydumper, *arguments) -> None:
        dump_rows(dumper, *arguments)
        run(database, "ALTER TABLE parent ADD COLUMN more integer")

    monkeypatch.setattr(Mydumper, "_dump_rows", late)
    with pytest.raises(BackupFailed, match="altered or dropped meanwhile"):
        mydumper.dump(folder, jobs=2, checksums=False)


def test_rows_that_cannot_be_loaded_fail_the_restore(
    database: Database, mydumper: FolderDumper, folder: Path
) -> None:
    run(database, "CREATE TABLE parent (id integer PRIMARY KEY)", "INSERT INTO parent VALUES (1), (2)")
    mydumper.dump(folder, jobs=2, checksums=False)
    [rows] = folder.glob("*.parent.sql.gz")
    rows.write_bytes(gzip.compress(gzip.decompress(rows.read_bytes()).replace(b"2", b"1")))
    with pytest.raises(RestoreFailed, match=r"Error restoring .*parent"):
        mydumper.restore(folder, jobs=2)
    (folder / "metadata").unlink()
    with pytest.raises(RestoreFailed, match="cut off") as failed:
        mydumper.restore(folder, jobs=2)
    assert failed.value.hint == "The database is as it was before the restore."
