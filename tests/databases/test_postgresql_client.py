from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest
from situations import canonical, dumped, fill, run

from django_runbook.databases import Database, get_database

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def test_connection_options_reach_the_programs(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service file and a password file, and nothing in the settings."""
    run(database, "CREATE TABLE t (x integer)")
    settings = database.connection.settings_dict
    password = settings["PASSWORD"].replace("\\", "\\\\").replace(":", "\\:")
    services, passwords = tmp_path / "services", tmp_path / "pgpass"
    services.write_text(
        f"[shop]\nhost={settings['HOST']}\nport={settings['PORT']}\ndbname={settings['NAME']}\n"
        f"user={settings['USER']}\n"
    )
    passwords.write_text(f"*:*:*:*:{password}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    database.connection.close()
    settings.update(
        {"NAME": "", "USER": "", "PASSWORD": "", "HOST": "", "PORT": ""},
        OPTIONS={"service": "shop", "passfile": str(passwords)},
    )
    assert b"CREATE TABLE public.t " in dumped(get_database(database.alias))


def test_an_assumed_role_owns_what_is_restored(database: Database) -> None:
    role = f"role_of_{database.name}"
    run(database, f"CREATE ROLE {role}", f"ALTER DATABASE {database.name} OWNER TO {role}")
    database.connection.close()
    database.connection.settings_dict["OPTIONS"] = {"assume_role": role}
    try:
        run(database, "CREATE TABLE t (x integer)")
        database.restore(io.BytesIO(dumped(database)))
        assert database.ask("SELECT tableowner FROM pg_tables WHERE tablename = 't'") == [(role,)]
    finally:
        database.connection.close()
        database.connection.settings_dict["OPTIONS"] = {}
        run(database, f"REASSIGN OWNED BY {role} TO runbook", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_restore_whose_process_dies_half_way_is_never_committed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)
    dump = dumped(database)
    run(database, "CREATE TABLE added (x integer)")
    before = canonical(database)
    argv, env = database.client("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-")  # type: ignore[attr-defined]
    script = b"".join(database.dumper.restore_script(io.BytesIO(dump)))  # type: ignore[attr-defined]
    assert script.endswith(b"\nCOMMIT;\n")
    cut = script[: -len(b"COMMIT;\n")]  # the pipe closes, as it does when the writer is killed
    subprocess.run(argv, env={**os.environ, **env}, input=cut, check=True, stdout=subprocess.DEVNULL)
    assert canonical(database) == before
