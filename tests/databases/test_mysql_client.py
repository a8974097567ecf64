from __future__ import annotations

import io
from pathlib import Path

import pytest
from situations import canonical, dumped, fill, run

from django_runbook.databases import Database, get_database
from django_runbook.exceptions import RestoreFailed

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)


def test_the_other_servers_programs_are_a_fallback(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)
    before = canonical(database)
    (tmp_path / "bin").mkdir()
    for name in ("mysqldump", "mysql"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert database.missing_programs() == []
    database.restore(io.BytesIO(dumped(database)))
    assert canonical(database) == before


def test_connection_options_reach_the_programs(database: Database, tmp_path: Path) -> None:
    """As in Django's manual: everything in an option file, and a `database` in it."""
    run(database, "CREATE TABLE t (x INTEGER)")
    settings = database.connection.settings_dict
    password = settings["PASSWORD"].replace("\\", "\\\\").replace('"', '\\"')
    file = tmp_path / "my.cnf"
    file.write_text(
        f"[client]\ndatabase = {settings['NAME']}\nuser = {settings['USER']}\nhost = {settings['HOST']}\n"
        f'port = {settings["PORT"]}\npassword = "{password}"\n'
    )
    database.connection.close()
    settings.update(
        {"NAME": "", "USER": "", "PASSWORD": "", "HOST": "", "PORT": ""},
        OPTIONS={"read_default_file": str(file)},
    )
    assert b"CREATE TABLE `t`" in dumped(get_database(database.alias))


def test_a_restore_runs_no_client_command_that_is_hidden_in_the_dump(
    database: Database, tmp_path: Path
) -> None:
    run(database, "CREATE TABLE t (x INTEGER)")
    dump = dumped(database)
    trap = tmp_path / "trap"
    with pytest.raises(RestoreFailed):
        database.restore(io.BytesIO(f"\\! touch {trap}\n".encode() + dump))
    assert not trap.exists()
