from __future__ import annotations

import io

import pytest
from children import start_child
from django.db import transaction
from situations import alter, canonical, dumped, fill, run

from django_runbook.databases import Database
from django_runbook.exceptions import Refused, RestoreFailed

SERVERS = pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)


def test_a_restore_brings_back_every_object_and_removes_what_came_since(database: Database) -> None:
    fill(database)
    before, dump = canonical(database), dumped(database)
    alter(database)
    assert canonical(database) != before
    database.restore(io.BytesIO(dump))
    assert canonical(database) == before


def test_a_restore_into_an_empty_database_gives_the_same_database(database: Database) -> None:
    empty = dumped(database)
    fill(database)
    before, dump = canonical(database), dumped(database)
    database.restore(io.BytesIO(empty))
    assert database.row_counts() == {}
    database.restore(io.BytesIO(dump))
    assert canonical(database) == before


def test_a_restore_keeps_the_session_and_its_lock(database: Database) -> None:
    fill(database)
    dump = dumped(database)
    with database.lock():
        session, holder = database.connection.connection, database.lock_holder()
        alter(database)
        database.restore(io.BytesIO(dump))
        assert database.connection.connection is session
        assert database.lock_holder() == holder
        assert database.ask("SELECT name FROM parent WHERE id = 1") == [("Zoé 😀 𝔘",)]


def test_the_rows_that_a_dump_reports_are_the_rows_there(database: Database) -> None:
    fill(database)
    content = database.dump(io.BytesIO())
    assert content == database.content(checksums=False)
    assert content["child"].rows == 3


def test_a_trigger_works_after_the_restore(database: Database) -> None:
    fill(database)
    dump = dumped(database)
    alter(database)
    database.restore(io.BytesIO(dump))
    run(database, "INSERT INTO child (id, parent_id) VALUES (99, 1)")
    assert database.ask("SELECT what FROM log") == [("child;99",)]


def test_the_next_value_of_a_counter_survives_a_restore(database: Database) -> None:
    fill(database)
    dump = dumped(database)
    alter(database)
    database.restore(io.BytesIO(dump))
    column = "amount" if database.connection.vendor == "postgresql" else "name"
    run(database, f"INSERT INTO counted ({column}) VALUES (1)")
    assert database.ask("SELECT MAX(id) FROM counted") == [(42,)]


def test_a_dump_within_a_transaction_is_refused(database: Database) -> None:
    with transaction.atomic(using=database.alias), pytest.raises(Refused, match="A transaction is open"):
        database.dump(io.BytesIO())


def test_a_restore_within_a_transaction_is_refused(database: Database) -> None:
    dump = dumped(database)
    with transaction.atomic(using=database.alias), pytest.raises(Refused, match="A transaction is open"):
        database.restore(io.BytesIO(dump))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_a_dump_that_is_cut_off_leaves_the_database_as_it_was(database: Database) -> None:
    fill(database)
    dump = dumped(database)
    alter(database)
    before = canonical(database)
    with pytest.raises(RestoreFailed, match="The database is as it was before the restore"):
        database.restore(io.BytesIO(dump[: len(dump) * 2 // 3]))
    assert canonical(database) == before


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_dump_with_an_error_at_its_end_leaves_the_database_as_it_was(database: Database) -> None:
    fill(database)
    dump = dumped(database)
    alter(database)
    before = canonical(database)
    with pytest.raises(RestoreFailed, match='relation "nowhere" does not exist'):
        database.restore(io.BytesIO(dump + b"\nSELECT * FROM nowhere;\n"))
    assert canonical(database) == before


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_mysql_restore_that_fails_half_way_says_so_and_can_be_repeated(database: Database) -> None:
    fill(database)
    before, dump = canonical(database), dumped(database)
    with pytest.raises(RestoreFailed, match="The database is incomplete now") as caught:
        database.restore(io.BytesIO(dump.replace(b"CREATE TABLE `parent`", b"CREATE TABEL `parent`")))
    assert "mariadb ended with exit code 1: ERROR" in caught.value.message
    assert database.cut_off_restore()
    database.restore(io.BytesIO(dump))
    assert not database.cut_off_restore()
    assert canonical(database) == before


@SERVERS
def test_a_restore_that_another_session_blocks_gives_up_and_changes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_runbook.databases.mysqldump.LOCK_WAIT_SECONDS", 1)
    monkeypatch.setattr("django_runbook.databases.pg_dump.LOCK_TIMEOUT", "500ms")
    fill(database)
    before, dump = canonical(database), dumped(database)
    other = database.connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT * FROM parent")
        with pytest.raises(RestoreFailed, match="The database is as it was before the restore"):
            database.restore(io.BytesIO(dump))
    finally:
        other.close()
    assert canonical(database) == before
    assert not database.cut_off_restore()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_an_owner_who_is_no_superuser_restores_beside_an_extension_of_another(database: Database) -> None:
    role = f"owner_of_{database.name}"
    run(
        database,
        "CREATE EXTENSION hstore",
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret'",
        f"ALTER DATABASE {database.name} OWNER TO {role}",
    )
    settings = database.connection.settings_dict
    admin = settings["USER"], settings["PASSWORD"]
    database.connection.close()
    settings["USER"], settings["PASSWORD"] = role, "secret"
    try:
        run(database, "CREATE TABLE t (tags hstore)", "INSERT INTO t VALUES ('a=>1')")
        dump = dumped(database)
        run(database, "DROP TABLE t", "CREATE TABLE u (x integer)")
        database.restore(io.BytesIO(dump))
        assert database.row_counts() == {"t": 1}
    finally:
        database.connection.close()
        settings["USER"], settings["PASSWORD"] = admin
        run(database, f"REASSIGN OWNED BY {role} TO {admin[0]}", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_pymysql_dumps_and_restores_as_well(database: Database) -> None:
    fill(database)
    before = canonical(database)
    with start_child(
        """
        import io
        target = io.BytesIO()
        with get_database("mariadb").lock():
            get_database("mariadb").dump(target)
            get_database("mariadb").restore(io.BytesIO(target.getvalue()))
            ready(type(get_database("mariadb").connection.connection).__module__)
        """,
        database,
        before_setup="import pymysql; pymysql.install_as_MySQLdb()",
    ) as child:
        child.wait_until_ready("pymysql.connections")
    assert canonical(database) == before
