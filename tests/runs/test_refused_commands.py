"""What is refused before anything is touched: wrong names, places, files and words. Exit code 2."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from drill import connected, journals, ledger_tables, nothing_touched, runbook, write_runbook
from example_project import Project
from private_pooler import PgBouncer, private_pooler
from private_server import PrivateServer, free_port

SOUND = ("Backup()", "Migrate.all()", "Verify()")


def refused(project: Project, *words: str, **env: str) -> str:
    """What a refused command says; no database was touched and no run begun."""
    with nothing_touched(project):
        ended = runbook(project, *words, exit=2, **env)
    assert not journals(project)
    assert ended.stdout == ""
    return ended.stderr


def test_an_unknown_runbook_is_refused_with_the_near_names(on_sqlite: Project) -> None:
    words = refused(on_sqlite, "run", "sous_direction")
    assert "There is no runbook called 'sous_direction'." in words
    assert "Near it: sous_directions, core.sous_directions." in words


def test_an_unknown_runbook_where_there_is_none_names_the_command_that_writes_one(
    on_sqlite: Project,
) -> None:
    (on_sqlite.folder / "core/runbooks/sous_directions.py").unlink()
    assert "`manage.py makerunbook`" in refused(on_sqlite, "run", "sous_directions")


def test_an_unknown_alias_is_refused_with_the_aliases_there_are(on_sqlite: Project) -> None:
    words = refused(on_sqlite, "run", "--database", "replica")
    assert "There is no database 'replica' in DATABASES." in words
    assert "These are defined: default." in words


@pytest.mark.parametrize("at_0032", ["mariadb", "postgresql"], indirect=True)
def test_an_unreachable_server_and_a_wrong_password_are_refused_without_an_echo(at_0032: Project) -> None:
    url = urlsplit(at_0032.database_url)
    password = "mot de passe/très@secret"
    wrong = url._replace(netloc=f"{url.username}:{quote(password, safe='')}@{url.hostname}:{url.port}")
    dead = url._replace(netloc=f"{url.username}:{quote(password, safe='')}@{url.hostname}:{free_port()}")
    for place in (wrong, dead):
        said = refused(at_0032, "run", DATABASE_URL=place.geturl())
        assert "Database 'default' cannot be reached" in said
        assert "Check that the server runs, and the entry of DATABASES" in said
        assert password not in said
        assert quote(password, safe="") not in said
    assert not at_0032.runs.exists()


def test_a_database_file_that_cannot_be_opened_is_refused(on_sqlite: Project) -> None:
    url = f"sqlite:///{on_sqlite.folder}/nowhere/base.sqlite3"
    assert "cannot be reached: unable to open database file" in refused(
        on_sqlite, "run", "sous_directions", DATABASE_URL=url
    )


def test_a_file_where_the_run_directory_should_be_is_refused(on_sqlite: Project) -> None:
    place = on_sqlite.folder / "file"
    place.write_text("in the way")
    for directory in (place, place / "runs"):
        words = refused(on_sqlite, "run", RUNBOOK_DIR=str(directory))
        assert f"runbook.P101: The run directory {directory} cannot be written." in words
        assert 'set RUNBOOK["DIR"] to another folder' in words
    assert not ledger_tables(on_sqlite)


def test_a_read_only_run_directory_is_refused(on_sqlite: Project) -> None:
    on_sqlite.runs.mkdir(parents=True)
    with mounted(on_sqlite.runs, "-o", "ro", "-t", "tmpfs", "tmpfs"):
        words = refused(on_sqlite, "run")
    assert f"runbook.P101: The run directory {on_sqlite.runs} cannot be written." in words
    assert not ledger_tables(on_sqlite)


def test_a_disk_with_too_little_room_for_the_backup_is_refused(on_sqlite: Project) -> None:
    on_sqlite.runs.mkdir(parents=True)
    with mounted(on_sqlite.runs, "-o", "size=2m", "-t", "tmpfs", "tmpfs"):
        words = refused(on_sqlite, "run", "sous_directions")
    assert "runbook.P103: A backup of database 'default' needs about" in words
    assert "Free some space there" in words


@contextmanager
def mounted(folder: Path, *words: str) -> Iterator[None]:
    if os.geteuid() != 0 or subprocess.run(["mount", *words, folder], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("at_0032", ["mariadb", "postgresql"], indirect=True)
def test_a_missing_client_program_is_refused(at_0032: Project) -> None:
    program = {"mariadb": "mariadb-dump", "postgresql": "pg_dump"}[at_0032.kind]
    words = refused(at_0032, "run", PATH="/nonexistent")
    assert "runbook.P102: Client programs of" in words
    assert program in words


@pytest.mark.parametrize("at_0032", ["mariadb"], indirect=True)
def test_a_table_without_transactions_is_refused_where_the_plan_changes_it(at_0032: Project) -> None:
    with connected(at_0032) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE ancien_journal (ligne TEXT) ENGINE=MyISAM")
    checked = runbook(at_0032, "check").stdout
    assert "runbook.P108" in checked
    assert "ancien_journal (MyISAM)" in " ".join(checked.split())
    with connected(at_0032) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE core_nouveau (x INT) ENGINE=Aria")
        cursor.execute("ALTER TABLE django_migrations ENGINE=Aria")
    words = refused(at_0032, "run")
    assert (
        "runbook.P108: The plan changes tables of database 'default' whose engine takes no part in" in words
    )
    assert "django_migrations (Aria)" in words
    assert "core_nouveau" not in words
    assert "ALTER TABLE `django_migrations` ENGINE=InnoDB;" in words


@pytest.mark.parametrize("at_0032", ["postgresql"], indirect=True)
def test_a_run_and_its_resume_are_refused_through_a_pool_that_shares_sessions(
    at_0032: Project, start_pooler: Callable[..., PgBouncer], start_server: Callable[[str], PrivateServer]
) -> None:
    """The same pooler, whose mode is changed meanwhile."""
    url = through(start_pooler("transaction"), at_0032)
    words = refused(at_0032, "run", DATABASE_URL=url)
    assert "runbook.P110: A connection pooler in transaction or statement mode stands before" in words
    assert "through a pool in session mode" in words
    port = free_port()
    write_runbook(at_0032, "failing", "Backup()", 'Command(["false"])', "Migrate.all()")
    with private_pooler(start_server("postgresql"), "session", listen_port=port) as pooler:
        runbook(at_0032, "run", "failing", exit=1, DATABASE_URL=through(pooler, at_0032))
    write_runbook(at_0032, "failing", "Backup()", 'Command(["true"])', "Migrate.all()")
    with private_pooler(start_server("postgresql"), "transaction", listen_port=port) as pooler:
        said = runbook(at_0032, "resume", exit=2, DATABASE_URL=through(pooler, at_0032)).stderr
    assert "A connection pooler in transaction or statement mode stands before" in said
    with private_pooler(start_server("postgresql"), "session", listen_port=port) as pooler:
        runbook(at_0032, "resume", DATABASE_URL=through(pooler, at_0032))


def through(pooler: PgBouncer, project: Project) -> str:
    """The project's database URL by way of a pooler."""
    url = urlsplit(project.database_url)
    user, _at, _place = url.netloc.rpartition("@")
    return url._replace(netloc=f"{user}@{pooler.host}:{pooler.port}").geturl()


BROKEN = {
    "ImportError": (
        "from core.backfills import Gone\n",
        "Runbook core.broken does not import: ImportError: cannot import name 'Gone'",
        "(core/runbooks/broken.py, line 1)",
    ),
    "SyntaxError": (
        "steps = [\n    Backup()\n    Migrate()\n]\n",
        "Runbook core.broken does not import: SyntaxError: ",
        "(core/runbooks/broken.py, line 2)",
    ),
    "no class": ("", "broken.py must have one Runbook class", "Write one class in each file"),
}


@pytest.mark.parametrize(("text", "what", "where"), BROKEN.values(), ids=BROKEN)
def test_a_broken_runbook_is_refused_with_its_line_and_hides_no_other(
    on_sqlite: Project, text: str, what: str, where: str
) -> None:
    (on_sqlite.folder / "core/runbooks/broken.py").write_text(text)
    for words in (["run", "broken"], ["run"]):
        said = refused(on_sqlite, *words)
        assert what in said
        assert where in said
    listed = runbook(on_sqlite, "list").stdout
    assert "broken" in listed
    assert "core.sous_directions" in listed
    runbook(on_sqlite, "plan", "sous_directions")


def test_two_runbooks_of_one_name_must_be_told_apart(on_sqlite: Project) -> None:
    (on_sqlite.folder / "annuaire").mkdir()
    (on_sqlite.folder / "annuaire/__init__.py").touch()
    write_runbook(on_sqlite, "sous_directions", *SOUND, folder="annuaire/runbooks")
    settings = on_sqlite.folder / "ediligence/settings.py"
    settings.write_text(f'{settings.read_text()}\nINSTALLED_APPS = [*INSTALLED_APPS, "annuaire"]\n')
    words = refused(on_sqlite, "run", "sous_directions")
    assert "More than one runbook is called 'sous_directions'." in words
    assert "Say which: annuaire.sous_directions, core.sous_directions." in words
    runbook(on_sqlite, "run", "annuaire.sous_directions")


def test_a_runbook_without_steps_or_with_something_else_is_refused(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "empty")
    assert "Runbook Written in core/runbooks/empty.py has no steps." in refused(on_sqlite, "run", "empty")
    write_runbook(on_sqlite, "empty", "Backup")
    assert "something in `steps` that is not a step" in refused(on_sqlite, "run", "empty")


def test_models_ahead_of_their_migrations_are_refused(on_sqlite: Project) -> None:
    models = on_sqlite.folder / "core/models.py"
    models.write_text(models.read_text().replace('"sigle", max_length=20', '"sigle", max_length=21'))
    words = refused(on_sqlite, "run", "sous_directions")
    assert "runbook.P106: The models of 'core' have changes without a migration" in words
    assert "`manage.py makemigrations core`" in words


def test_a_graph_with_a_missing_migration_is_refused(on_sqlite: Project) -> None:
    (on_sqlite.folder / "core/migrations/0033_sous_direction.py").unlink()
    assert "runbook.P202: Migration core.0033_sous_direction is not on disk" in refused(
        on_sqlite, "run", "sous_directions"
    )
    words = refused(on_sqlite, "plan", "sous_directions")
    assert "The migration files do not form a graph" in words
    assert "`manage.py runbook check` names each cause, and how to mend it." in words


WRONG_USAGE = [
    ["frobnicate"],
    [],
    ["run", "one", "two"],
    ["run", "--format", "yaml"],
    ["resume", "--assume-done", "--run-again"],
    ["export"],
]


def test_wrong_usage_is_refused(on_sqlite: Project) -> None:
    with nothing_touched(on_sqlite):
        for words in WRONG_USAGE:
            said = runbook(on_sqlite, *words, exit=2).stderr
            assert "usage:" in said or "Say what to export" in said


def test_where_there_is_no_run_the_command_that_begins_one_is_named(on_sqlite: Project) -> None:
    for word in ("resume", "undo", "status", "report"):
        assert "`manage.py runbook run` begins one" in refused(on_sqlite, word)
    assert "but 0, have an id that begins with '2020'." in refused(on_sqlite, "resume", "2020")


def test_a_restore_without_a_backup_is_refused(on_sqlite: Project) -> None:
    words = refused(on_sqlite, "restore", "--noinput")
    assert f"There is no backup in {on_sqlite.runs / 'backups'}." in words
    assert "The manifest" in refused(on_sqlite, "restore", "nowhere.sql.zst", "--noinput")


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_done(on_sqlite: Project) -> None:
    for words in (["run"], ["list"], ["report"], ["export", "core.Service"]):
        said = refused(on_sqlite, *words, "-o", "nowhere/file.json")
        assert "nowhere/file.json cannot be written: No such file or directory." in said
    assert not ledger_tables(on_sqlite)


def test_an_export_where_no_folder_can_be_made_is_refused(on_sqlite: Project) -> None:
    (on_sqlite.folder / "file").write_text("in the way")
    words = refused(on_sqlite, "export", "core.Service", RUNBOOK_DIR=str(on_sqlite.folder / "file"))
    assert "cannot be written: Not a directory." in words or "cannot be written: File exists." in words


def test_an_export_makes_folders_and_files_for_their_owner_only(on_sqlite: Project) -> None:
    runbook(on_sqlite, "export", "core.Service")
    modes = {path: path.stat().st_mode & 0o777 for path in [on_sqlite.runs, *on_sqlite.runs.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
