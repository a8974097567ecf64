"""A right that is missing is found before the step that would fail for the lack of it."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.contrib.postgres.operations import CreateExtension
from django.db import DatabaseError, migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from library import APP, INITIAL, add, alter, runbook, start
from looking import found_by
from places import pointed_at
from restricted import connected_as, mariadb_user, postgresql_user

from django_runbook.databases import Database
from django_runbook.databases.mysql_grants import is_allowed, read_grants
from django_runbook.exceptions import BackupFailed
from django_runbook.ledger import TABLES, Ledger
from django_runbook.plan import Plan, make_plan
from django_runbook.preflight import Finding, Severity
from django_runbook.steps import Backup, Migrate, Step

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)

BOOK = migrations.CreateModel("Book", [("id", models.BigAutoField(primary_key=True))])
REVIEW = migrations.CreateModel(
    "Review",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("author", models.ForeignKey("library.author", models.CASCADE)),
    ],
)
WORK = ["SELECT", "INSERT", "UPDATE", "DELETE"]
NOBODY = 65534
PLANS: dict[str, tuple[Operation, str]] = {
    "a new table": (migrations.CreateModel("Shelf", BOOK.fields), "CREATE"),
    "a new column": (add("age", models.IntegerField(null=True)), "ALTER"),
    "a wider column": (alter("name", models.CharField(max_length=200)), "ALTER"),
    "an index": (migrations.AddIndex("author", models.Index(fields=["name"], name="by_name")), "INDEX"),
    "an indexed column": (add("age", models.IntegerField(null=True, db_index=True)), "INDEX"),
    "a foreign key": (
        add("book", models.ForeignKey("library.book", models.CASCADE, null=True)),
        "REFERENCES",
    ),
    "a table with a foreign key": (REVIEW, "REFERENCES"),
    "a table between": (
        migrations.AddField("author", "books", models.ManyToManyField("library.book")),
        "REFERENCES",
    ),
    "a renamed table": (migrations.RenameModel("Book", "Volume"), "DROP"),
    "a dropped table": (migrations.DeleteModel("Book"), "DROP"),
    "a dropped column": (migrations.RemoveField("author", "name"), "ALTER"),
}
"""An operation, and the last of the rights that it needs on MariaDB."""
ALL = [*WORK, "CREATE", "ALTER", "INDEX", "REFERENCES", "DROP"]


def plan(operation: Operation, *before: Step) -> Plan:
    """Authors and books are there."""
    first = (INITIAL[0], [*INITIAL[1], BOOK])
    place = start(first, ("0002_coming", [operation]), applied=[INITIAL[0]])
    return make_plan(runbook(Backup(), *before, Migrate.all()), place)


def prepare(database: Database) -> None:
    """Make the tables that the plan finds, and those of every run."""
    history = start((INITIAL[0], [*INITIAL[1], BOOK])).history
    with database.connection.schema_editor() as editor:
        history.migration((APP, INITIAL[0])).apply(history.state(()), editor)
    MigrationRecorder(database.connection).ensure_schema()
    Ledger(database.connection).ensure()


def work_for(database: Database, user: str) -> None:
    """Let a user of MariaDB write what every run writes: without a right to a table it is not seen."""
    for table in ("django_migrations", *(it._meta.db_table for it in TABLES)):
        database.ask_nothing(f"GRANT {', '.join(WORK)} ON `{database.name}`.`{table}` TO {user}@'%'")


def migrate(plan: Plan, database: Database) -> None:
    step = plan.steps[1]
    with database.connection.schema_editor() as editor:
        step.place.history.migration((APP, "0002_coming")).apply(step.place.state.clone(), editor)


def found(plan: Plan, database: Database) -> list[Finding]:
    """Of the plan's own needs; what the backup needs is tested apart."""
    return [it for it in errors(plan, database) if it.message.startswith("The plan")]


def errors(plan: Plan, database: Database) -> list[Finding]:
    return [it for it in found_by("runbook.P112", database, plan) if it.severity is Severity.ERROR]


@on_mariadb
@pytest.mark.parametrize(("operation", "right"), PLANS.values(), ids=PLANS)
def test_without_a_right_the_operation_is_refused_and_really_fails(
    database: Database, operation: Operation, right: str
) -> None:
    prepare(database)
    coming = plan(operation)
    others = [it for it in ALL if it != right and not (right == "REFERENCES" and it in WORK)]
    with mariadb_user(database, ", ".join(others)) as user:
        work_for(database, user)
        with connected_as(database, user):
            assert {
                it.message.split(" the right ")[1].split(" on ")[0] for it in found(coming, database)
            } == {right}
            with pytest.raises(DatabaseError, match=f"{right}.* command denied"):
                migrate(coming, database)


@on_mariadb
@pytest.mark.parametrize("operation", [operation for operation, _right in PLANS.values()], ids=PLANS)
def test_with_the_hints_the_operation_really_works(database: Database, operation: Operation) -> None:
    prepare(database)
    coming = plan(operation)
    with mariadb_user(database) as user:
        work_for(database, user)
        with connected_as(database, user):
            hints = [it.hint for it in found(coming, database)]
        for hint in hints:
            database.ask_nothing(hint.rstrip(";"))
        with connected_as(database, user):
            assert found(coming, database) == []
            migrate(coming, database)


@on_mariadb
def test_a_missing_right_is_named_with_its_table_and_its_grant(database: Database) -> None:
    prepare(database)
    rights = ", ".join(it for it in ALL if it != "ALTER")
    with mariadb_user(database, rights) as user, connected_as(database, user):
        [finding] = found(plan(add("age", models.IntegerField(null=True))), database)
    assert finding == Finding(
        id="runbook.P112",
        severity=Severity.ERROR,
        message=f"The plan needs the right ALTER on {database.name}.library_author, which the user does not "
        "have.",
        hint=f"GRANT ALTER ON `{database.name}`.`library_author` TO `{user}`@`%`;",
        subject="library_author",
    )


@on_mariadb
@pytest.mark.parametrize("how", ["role", "everything", "whole database", "table"])
def test_rights_come_from_a_role_a_pattern_or_a_table(database: Database, how: str) -> None:
    prepare(database)
    coming = plan(add("age", models.IntegerField(null=True)))
    rest = ", ".join(it for it in ALL if it != "ALTER")
    with mariadb_user(database, *([] if how == "whole database" else [rest])) as user:
        role = f"r{user}"
        database.ask_nothing(f"CREATE ROLE {role}")
        statements = {
            "role": [
                f"GRANT ALTER ON `{database.name}`.* TO {role}",
                f"GRANT {role} TO {user}@'%'",
                f"SET DEFAULT ROLE {role} FOR {user}@'%'",
            ],
            "everything": [f"GRANT ALL PRIVILEGES ON *.* TO {user}@'%'"],
            "whole database": [f"GRANT ALL PRIVILEGES ON `test\\_%`.* TO {user}@'%'"],
            "table": [f"GRANT ALTER ON `{database.name}`.`library_author` TO {user}@'%'"],
        }[how]
        try:
            for statement in statements:
                database.ask_nothing(statement)
            with connected_as(database, user):
                assert found(coming, database) == []
                migrate(coming, database)
        finally:
            database.ask_nothing(f"DROP ROLE {role}")


@on_mariadb
def test_only_the_most_exact_pattern_of_a_database_counts(database: Database) -> None:
    prepare(database)
    coming = plan(add("age", models.IntegerField(null=True)))
    rest = ", ".join(it for it in ALL if it != "ALTER")
    everything = "ALL PRIVILEGES ON `test\\_%`.*"
    with mariadb_user(database, rest, everything) as user, connected_as(database, user):
        assert len(found(coming, database)) == 1
        with pytest.raises(DatabaseError, match="ALTER command denied"):
            migrate(coming, database)


DUMP = ["SELECT", "SHOW VIEW", "EVENT"]


@on_mariadb
@pytest.mark.parametrize("right", DUMP)
def test_without_a_right_the_dump_is_refused_and_really_fails(database: Database, right: str) -> None:
    database.ask_nothing("CREATE TABLE t (x INT)")
    database.ask_nothing("CREATE VIEW v AS SELECT x FROM t")
    coming = make_plan(runbook(Backup()), start())
    with (
        mariadb_user(
            database, ", ".join(it for it in [*DUMP, "TRIGGER", "EXECUTE", "INSERT"] if it != right)
        ) as user,
        connected_as(database, user),
    ):
        place = f"{database.name}.t, {database.name}.v" if right == "SELECT" else database.name
        assert [it.message for it in errors(coming, database) if "backup" in it.message] == [
            f"The backup needs the right {right} on {place}, which the user does not have."
        ]
        with pytest.raises((BackupFailed, DatabaseError)):
            database.dump(io.BytesIO())


@on_mariadb
def test_a_routine_whose_text_is_hidden_is_an_error_and_the_dump_fails(database: Database) -> None:
    database.ask_nothing("CREATE PROCEDURE answer() SELECT 42")
    coming = make_plan(runbook(Backup()), start())
    with mariadb_user(database, "ALL PRIVILEGES") as user:
        with connected_as(database, user):
            [finding] = [it for it in errors(coming, database) if "routines" in it.message]
            assert finding.message == (
                "The backup fails at routines whose text this user may not see: answer."
            )
            with pytest.raises(BackupFailed, match=r"insuffici?ent privileges"):
                database.dump(io.BytesIO())
        database.ask_nothing(finding.hint.rstrip(";"))
        with connected_as(database, user):
            assert errors(coming, database) == []
            dump = io.BytesIO()
            database.dump(dump)
            assert b"PROCEDURE `answer`" in dump.getvalue()


@on_mariadb
def test_what_the_dump_leaves_out_without_a_word_is_a_warning(database: Database) -> None:
    database.ask_nothing("CREATE TABLE t (x INT)")
    database.ask_nothing("CREATE TRIGGER tg BEFORE INSERT ON t FOR EACH ROW SET NEW.x = 1")
    database.ask_nothing("CREATE PROCEDURE answer() SELECT 42")
    coming = make_plan(runbook(Backup()), start())
    with mariadb_user(database, "SELECT, EVENT") as user, connected_as(database, user):
        warnings = [
            it for it in found_by("runbook.P112", database, coming) if it.severity is Severity.WARNING
        ]
        dump = io.BytesIO()
        database.dump(dump)
        assert b"tg" not in dump.getvalue()
        assert b"answer" not in dump.getvalue()
        assert [it.message for it in warnings] == [
            "If the database has triggers, the backup leaves them out: the user does not have the right "
            f"TRIGGER on {database.name}.",
            "If the database has routines of other users, the backup leaves them out: this user may not see "
            "them.",
            "This user could not restore the backup: it does not have ALTER, CREATE, DROP, INSERT, LOCK "
            f"TABLES, REFERENCES on the whole database {database.name}.",
        ]


@on_postgresql
@pytest.mark.parametrize(
    "operation", [operation for operation, right in PLANS.values() if right not in ("CREATE", "REFERENCES")]
)
def test_a_table_of_another_owner_is_refused_and_really_cannot_be_changed(
    database: Database, operation: Operation
) -> None:
    prepare(database)
    coming = plan(operation)
    with postgresql_user(
        database,
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}",
        "GRANT CREATE ON SCHEMA public TO {user}",
    ) as user:
        with connected_as(database, user):
            changed = [it for it in found(coming, database) if "only their owner" in it.message]
            with pytest.raises(DatabaseError, match="must be owner of"):
                migrate(coming, database)
        assert changed
        for finding in changed:
            database.ask_nothing(finding.hint.rstrip(";"))
        with connected_as(database, user):
            assert found(coming, database) == []
            migrate(coming, database)


@on_postgresql
def test_the_owner_is_named(database: Database) -> None:
    prepare(database)
    owner = database.connection.settings_dict["USER"]
    grant = "GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}"
    with postgresql_user(database, grant) as user, connected_as(database, user):
        [finding] = found(plan(add("age", models.IntegerField(null=True))), database)
    assert finding == Finding(
        id="runbook.P112",
        severity=Severity.ERROR,
        message=f'The plan changes tables of "{owner}", which only their owner may do, and "{user}" is not: '
        "library_author.",
        hint=f'ALTER TABLE "library_author" OWNER TO "{user}";',
        subject="library_author",
    )


@on_postgresql
@pytest.mark.parametrize(
    ("operation", "grant", "message"),
    [
        (
            PLANS["a new table"][0],
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}",
            'User "{user}" may not create tables in schema public.',
        ),
        (
            REVIEW,
            "GRANT CREATE ON SCHEMA public TO {user};"
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}",
            'The plan needs the right REFERENCES on library_author, which "{user}" does not have.',
        ),
    ],
)
def test_what_a_new_table_needs(database: Database, operation: Operation, grant: str, message: str) -> None:
    prepare(database)
    database.ask_nothing("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    coming = plan(operation)
    with postgresql_user(database, grant) as user:
        with connected_as(database, user):
            [finding] = [it for it in errors(coming, database) if "backup" not in it.message]
            assert finding.message == message.format(user=user)
            with pytest.raises(DatabaseError, match="permission denied"):
                migrate(coming, database)
        database.ask_nothing(finding.hint.rstrip(";"))
        with connected_as(database, user):
            migrate(coming, database)


@on_postgresql
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE TABLE secret (x INT)", 'The backup must read everything, and "{user}" may not read secret.'),
        (
            "CREATE SEQUENCE secret",
            'The backup must read everything, and "{user}" may not read secret.',
        ),
        (
            "CREATE TABLE secret (x INT); ALTER TABLE secret ENABLE ROW LEVEL SECURITY;"
            "GRANT SELECT ON secret TO {user}",
            'Row security hides rows of secret from "{user}": pg_dump refuses to go on.',
        ),
    ],
)
def test_what_the_dump_may_not_read_is_refused_and_it_really_fails(
    database: Database, statement: str, message: str
) -> None:
    coming = make_plan(runbook(Backup()), start())
    with postgresql_user(database, statement, "GRANT CREATE ON SCHEMA public TO {user}") as user:
        with connected_as(database, user):
            [finding] = errors(coming, database)
            assert finding.message == message.format(user=user)
            with pytest.raises(BackupFailed):
                database.dump(io.BytesIO())
        mend = finding.hint.removeprefix("As a superuser: ").rstrip(";")
        database.ask_nothing(mend)
        with connected_as(database, user):
            assert errors(coming, database) == []
            database.dump(io.BytesIO())


@on_postgresql
@pytest.mark.parametrize(
    ("name", "grant", "message", "severity"),
    [
        ("citext", "", "The plan creates extension 'citext', and \"{user}\" may not.", Severity.ERROR),
        ("citext", "GRANT CREATE ON DATABASE {database} TO {user}", "", None),
        ("no_such", "", "The plan creates extension 'no_such', which is not installed on the server.", None),
    ],
)
def test_an_extension_needs_the_server_and_a_right(
    database: Database, name: str, grant: str, message: str, severity: Severity | None
) -> None:
    prepare(database)
    coming = plan(CreateExtension(name))
    everything = "GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}"
    grants = [everything, *([grant.replace("{database}", database.name)] if grant else [])]
    with postgresql_user(database, *grants) as user, connected_as(database, user):
        assert [it.message for it in found(coming, database)] == (
            [message.format(user=user)] if message else []
        )
        if message:
            with pytest.raises(DatabaseError):
                migrate(coming, database)
        else:
            migrate(coming, database)


GRANTS = [
    "GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*419256D0B4CBC2A2A3EDF9A1983C9FB400938026'",
    "GRANT SELECT, SHOW VIEW ON `ediligence\\_%`.* TO `app`@`%`",
    "GRANT SELECT (`id`, `name`), INSERT ON `shop`.`or``der` TO `app`@`%`",
    "GRANT ALL PRIVILEGES ON `all`.* TO `app`@`%` WITH GRANT OPTION",
    "GRANT EXECUTE ON PROCEDURE `shop`.`pr` TO `app`@`%`",
    "GRANT `role` TO `app`@`%`",
    "GRANT PROXY ON ''@'' TO 'root'@'localhost'",
]


@pytest.mark.parametrize(
    ("right", "schema", "table", "allowed"),
    [
        ("SELECT", "ediligence_prod", "*", True),
        ("SHOW VIEW", "ediligence_prod", "t", True),
        ("INSERT", "ediligence_prod", "t", False),
        ("SELECT", "ediligenceXprod", "t", False),
        ("SELECT", "shop", "or`der", False),
        ("INSERT", "shop", "or`der", True),
        ("INSERT", "shop", "*", False),
        ("EVENT", "all", "*", True),
        ("EXECUTE", "shop", "pr", False),
    ],
)
def test_what_show_grants_allows(right: str, schema: str, table: str, allowed: bool) -> None:
    assert is_allowed(read_grants(GRANTS), right, schema, table) is allowed


def test_a_folder_in_which_sqlite_can_keep_no_journal_is_refused() -> None:
    """In a folder of its own, because those of a test are its user's alone."""
    with tempfile.TemporaryDirectory() as folder, pointed_at("default", {"NAME": f"{folder}/db"}) as database:
        prepare(database)
        database.connection.close()
        Path(folder, "db").chmod(0o666)
        with read_only(Path(folder)):
            [finding] = found_by("runbook.P112", database, plan(add("age", models.IntegerField(null=True))))
            with pytest.raises(DatabaseError, match="readonly database"):
                database.ask_nothing("CREATE TABLE t (x INT)")
            database.connection.close()
    assert finding == Finding(
        id="runbook.P112",
        severity=Severity.ERROR,
        message=f"This user may not write to folder {folder}, in which SQLite keeps its journal while it "
        "changes db.",
        hint="Run as the user that owns the database's file.",
        subject=folder,
    )


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write to a folder away; root needs none, so it is nobody for the block."""
    was_root = os.geteuid() == 0
    folder.chmod(0o555)
    if was_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)
        folder.chmod(0o755)
