"""A backup and its restore need the same memory for a large database as for a small one."""

from __future__ import annotations

from pathlib import Path

import pyrage
import pytest
from children import start_child
from situations import run

from django_runbook.databases import Database

MEBIBYTE = 1024**2
LARGE = 200 * MEBIBYTE
ALLOWED = 16 * MEBIBYTE
"""What buffers and SQLite's cache, not yet full with the small one, may make more."""

CODE = """
from datetime import UTC, datetime
from pathlib import Path
from django_runbook.backups import Terms, make_backup, restore_backup

database = get_database("default")
made = make_backup(
    database, Path("{folder}"), terms=Terms(recipients=("{key}",)), now=datetime.now(UTC)
)
restore_backup(made.path, database, identity=Path("{identity}"))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
ready(made.dump_bytes)
ready(int(status["VmHWM"].split()[0]) * 1024)
wait()
"""


def peak(database: Database, tmp_path: Path, size: int) -> tuple[int, int]:
    """Bytes of a dump, and of the memory that its backup and restore took at the most.

    As the kernel counts them since the program began; ru_maxrss knows also what this process had before.
    """
    run(
        database,
        "CREATE TABLE noise (x BLOB)",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
        f"{size // 10_000}) INSERT INTO noise SELECT randomblob(10000) FROM n",
    )
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(str(key))
    code = CODE.format(folder=tmp_path / f"backups-{size}", key=key.to_public(), identity=tmp_path / "key")
    with start_child(code, database) as child:
        assert child.process.stdout is not None
        assert child.process.stderr is not None
        found = [child.process.stdout.readline() for _line in range(2)]
        assert all(found), child.process.stderr.read()
        child.let_go()
    run(database, "DROP TABLE noise")
    return int(found[0]), int(found[1])


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_memory_that_a_backup_takes_does_not_grow_with_the_database(
    database: Database, tmp_path: Path
) -> None:
    small, in_memory = peak(database, tmp_path, MEBIBYTE)
    large, in_memory_of_large = peak(database, tmp_path, LARGE)
    assert small < 2 * MEBIBYTE
    assert large > LARGE
    assert in_memory_of_large - in_memory < ALLOWED, (in_memory, in_memory_of_large)
