"""What can be wrong under a release: one thing at a time, with the check that must find it.

The name of each is a sentence. `fails` says where plain `migrate` fails of it, which the test sees; elsewhere
it does harm in another way, or Django lets it pass.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from patient import Patient

ALL = ("sqlite", "mariadb", "postgresql")
SERVERS = ("mariadb", "postgresql")
MIGRATION = "migrations/0035_durcissement.py"

Break = Callable[[Patient], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """One precondition that does not hold."""

    words: str
    id: str
    """Of the check that finds it."""
    harm: Break
    kinds: tuple[str, ...] = ALL
    fails: tuple[str, ...] = ()
    """Kinds of database on which plain `migrate` fails of it."""
    severity: str = "error"


def sql(*statements: str, **of_kind: str) -> Break:
    """Statements, and one more for a kind of database."""
    return lambda it: it.sql(*statements, *([of_kind[it.kind]] if it.kind in of_kind else []))


def edited(file: str, before: str, after: str) -> Break:
    def harm(it: Patient) -> None:
        path = it.core / file
        text = path.read_text()
        assert before in text, (file, before)
        path.write_text(text.replace(before, after, 1))

    return harm


def both(first: Break, second: Break) -> Break:
    def harm(it: Patient) -> None:
        first(it)
        second(it)

    return harm


def removed(file: str) -> Break:
    return lambda it: (it.core / file).unlink()


def renamed(file: str, name: str) -> Break:
    def harm(it: Patient) -> None:
        (it.core / file).rename(it.core / name)

    return harm


def copied(file: str, name: str, before: str = "", after: str = "") -> Break:
    def harm(it: Patient) -> None:
        shutil.copy(it.core / file, it.core / name)
        if before:
            edited(name, before, after)(it)

    return harm


def without_foreign_keys(*statements: str) -> Break:
    """Statements that the server would refuse otherwise."""
    switches = {
        "sqlite": ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON"),
        "mariadb": ("SET foreign_key_checks = 0", "SET foreign_key_checks = 1"),
        "postgresql": ("SET session_replication_role = replica", "SET session_replication_role = origin"),
    }
    return lambda it: it.sql(switches[it.kind][0], *statements, switches[it.kind][1])


def dropped_foreign_key(table: str, column: str) -> Break:
    def harm(it: Patient) -> None:
        it.ask.python(
            "cursor = connection.cursor()\n"
            f"found = connection.introspection.get_constraints(cursor, {table!r})\n"
            f"[name] = [n for n, c in found.items() if c['foreign_key'] and c['columns'] == [{column!r}]]\n"
            "with connection.schema_editor() as editor:\n"
            "    editor.execute(editor.sql_delete_fk % {\n"
            f"        'table': {table!r}, 'name': connection.ops.quote_name(name)}})\n"
        )

    return harm


def dropped_index(table: str, column: str) -> Break:
    """An index, or a unique constraint's, whose first column it is."""

    def harm(it: Patient) -> None:
        it.ask.python(
            "cursor = connection.cursor()\n"
            f"found = connection.introspection.get_constraints(cursor, {table!r})\n"
            "for name, about in found.items():\n"
            "    is_index = about['index'] or about['unique']\n"
            f"    if about['columns'] == [{column!r}] and is_index and not about['primary_key']:\n"
            "        quoted = connection.ops.quote_name(name)\n"
            "        if connection.vendor == 'mysql':\n"
            f"            cursor.execute(f'ALTER TABLE {table} DROP INDEX {{quoted}}')\n"
            "        elif about['unique'] and connection.vendor == 'postgresql':\n"
            f"            cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT {{quoted}}')\n"
            "        else:\n"
            "            cursor.execute(f'DROP INDEX {quoted}')\n"
        )

    return harm


def recorded(name: str) -> Break:
    return sql(
        f"INSERT INTO django_migrations (app, name, applied) VALUES ('core', '{name}', '2026-01-01 00:00:00')"
    )


def forgotten(name: str) -> Break:
    return sql(f"DELETE FROM django_migrations WHERE app = 'core' AND name = '{name}'")


def environment(**env: str) -> Break:
    """Variables that the commands find."""
    return lambda it: it.env.update(env)


def held(code: str) -> Break:
    """What another process has done, and goes on to hold."""
    return lambda it: it.hold(code)


def at_connect(statement: str) -> Break:
    """What the settings say to each new session of MySQL or MariaDB."""
    return lambda it: it.options.update(init_command=statement)


def interrupted_run(it: Patient) -> None:
    edited("runbooks/durcissement.py", "Verify()]", 'Command(["false"])]')(it)
    edited("runbooks/durcissement.py", "import Backup", "import Backup, Command")(it)
    assert it.command("runbook", "run", "--noinput").exit == 1
    edited("runbooks/durcissement.py", '["false"]', '["true"]')(it)


LONG_EMAIL = f"{'a' * 120}@ediligence.example"

ROWS = (
    Breakage(
        words="an address is longer than the column will be",
        id="runbook.P406",
        harm=sql(f"UPDATE core_service SET email = '{LONG_EMAIL}' WHERE id = 7"),
        kinds=SERVERS,
        fails=SERVERS,
    ),
    Breakage(
        words="a description is longer than the text that becomes a varchar",
        id="runbook.P406",
        harm=sql(f"UPDATE core_service SET description = '{'é' * 301}' WHERE id = 7"),
        kinds=SERVERS,
        fails=("mariadb",),  # PostgreSQL cuts it off in silence
    ),
    Breakage(
        words="a number is larger than the smaller type holds",
        id="runbook.P407",
        harm=sql("UPDATE core_service SET effectif = 70000 WHERE id = 7"),
        kinds=SERVERS,
        fails=SERVERS,
    ),
    Breakage(
        words="a telephone number with blanks becomes a number",
        id="runbook.P408",
        harm=sql("UPDATE core_service SET telephone = '01 02 03' WHERE id = 7"),
        kinds=SERVERS,
        fails=SERVERS,
    ),
    Breakage(
        words="an empty telephone number becomes a number",
        id="runbook.P408",
        harm=sql("UPDATE core_service SET telephone = '' WHERE id = 7"),
        kinds=SERVERS,
        fails=SERVERS,
    ),
    Breakage(
        words="an agent has no service, and must have one",
        id="runbook.P402",
        harm=sql("UPDATE core_agent SET service_id = NULL WHERE id IN (3, 4)"),
        fails=ALL,
    ),
    Breakage(
        words="a row violates the coming check",
        id="runbook.P409",
        harm=sql("UPDATE core_service SET effectif = 501 WHERE id = 7"),
        fails=ALL,
    ),
    Breakage(
        words="two rows are the same under the coming unique constraint",
        id="runbook.P401",
        harm=sql(
            "UPDATE core_service SET email = 'deux@ediligence.example', cree_le = '2026-01-01 00:00:00',"
            " modifie_le = '2026-01-01 00:00:00' WHERE id IN (7, 8)"
        ),
        fails=ALL,
    ),
    Breakage(
        words="two rows have the same value in the column that becomes unique",
        id="runbook.P401",
        harm=sql("UPDATE core_direction SET sigle = 'DRH'"),
        fails=ALL,
    ),
    Breakage(
        words="two values differ in case only, under a collation that ignores it",
        id="runbook.P401",
        harm=sql(
            "UPDATE core_direction SET sigle = 'Drh' WHERE id = 1",
            "UPDATE core_direction SET sigle = 'DRH' WHERE id = 2",
        ),
        kinds=("mariadb",),
        fails=("mariadb",),
    ),
    Breakage(
        words="the row that a new foreign key points at by default is gone",
        id="runbook.P403",
        harm=sql(
            "UPDATE core_agent SET service_id = 2 WHERE service_id = 1",
            "DELETE FROM core_service WHERE id = 1",
        ),
        fails=ALL,
    ),
    Breakage(
        words="a row is an orphan already",
        id="runbook.P403",
        harm=without_foreign_keys("UPDATE core_agent SET service_id = 99999 WHERE id = 3"),
        kinds=("sqlite",),
        fails=("sqlite",),
    ),
    Breakage(
        words="a new column is NOT NULL and has no default",
        id="runbook.P404",
        harm=edited(
            MIGRATION, 'models.CharField("code", max_length=10, default="")', 'models.DateField("code")'
        ),
        fails=("sqlite", "postgresql"),
        kinds=("sqlite", "postgresql"),
    ),
    Breakage(
        words="a new unique column gets the same default in each row",
        id="runbook.P401",
        harm=edited(
            MIGRATION,
            'models.CharField("code", max_length=10, default="")',
            'models.CharField("code", max_length=10, default="x", unique=True)',
        ),
        fails=ALL,
    ),
    Breakage(
        words="the keys of a table are used up",
        id="runbook.P411",
        harm=sql(
            mariadb="ALTER TABLE core_agent AUTO_INCREMENT = 9223372036854775800",
            postgresql="SELECT setval(pg_get_serial_sequence('core_agent', 'id'), 9223372036854775800)",
        ),
        kinds=SERVERS,
        severity="warning",
    ),
)

GRAPH = (  # no database has a part in most of it; tests/preflight/graph has the others
    Breakage(
        words="a parent was not copied to the server",
        id="runbook.P202",
        harm=removed("migrations/0033_sous_direction.py"),
        kinds=("sqlite",),
        fails=("sqlite",),
    ),
    Breakage(
        words="an applied parent is not on disk",
        id="runbook.P202",
        harm=removed("migrations/0031_service_telephone.py"),
        kinds=("sqlite",),
        fails=("sqlite",),
    ),
    Breakage(
        words="a parent was renumbered",
        id="runbook.P202",
        harm=renamed("migrations/0033_sous_direction.py", "migrations/0036_sous_direction.py"),
        kinds=("sqlite",),
        fails=("sqlite",),
    ),
    Breakage(
        words="there are two last migrations",
        id="runbook.P204",
        harm=copied("migrations/0034_agent_sous_direction.py", "migrations/0034_autre.py"),
        kinds=("sqlite",),
        fails=("sqlite",),
    ),
    Breakage(
        words="migrations depend on each other in a circle",
        id="runbook.P203",
        harm=edited("migrations/0033_sous_direction.py", '"0032_alter_service_sigle"', '"0035_durcissement"'),
        kinds=("sqlite",),
        fails=("sqlite",),
    ),
    Breakage(
        words="the database is ahead of the code",
        id="runbook.P206",
        harm=recorded("0036_plus_tard"),
    ),
    Breakage(
        words="an applied migration has a parent that is not applied",
        id="runbook.P207",
        harm=forgotten("0031_service_telephone"),
        kinds=("sqlite",),
        fails=("sqlite",),
    ),
    Breakage(
        words="two migrations have the same number",
        id="runbook.P205",
        harm=copied(
            "migrations/0032_alter_service_sigle.py",
            "migrations/0034_encore.py",
            "0031_service_telephone",
            "0035_durcissement",
        ),
        severity="warning",
    ),
    Breakage(
        words="a migration file has a syntax error",
        id="runbook.P201",
        harm=edited(MIGRATION, "operations = [", "operations = [("),
        kinds=("sqlite",),
        fails=("sqlite",),
    ),
    Breakage(
        words="a migration file has no Migration",
        id="runbook.P201",
        harm=edited(MIGRATION, "class Migration(", "class Migrations("),
        kinds=("sqlite",),
        fails=("sqlite",),
    ),
    Breakage(
        words="a migration imports what is not installed",
        id="runbook.P201",
        harm=edited(MIGRATION, "from django.db import", "import nowhere_to_be_found\nfrom django.db import"),
        kinds=("sqlite",),
        fails=("sqlite",),
    ),
)

SCHEMA = (
    Breakage(
        words="a foreign key is silently missing",
        id="runbook.P301",
        harm=dropped_foreign_key("core_agent", "service_id"),
        kinds=SERVERS,
    ),
    Breakage(
        words="a unique constraint is missing",
        id="runbook.P301",
        harm=dropped_index("core_direction", "nom"),
        kinds=SERVERS,
    ),
    Breakage(
        words="a column is missing",
        id="runbook.P301",
        harm=sql("ALTER TABLE core_service DROP COLUMN telephone"),
        fails=SERVERS,
    ),
    Breakage(
        words="a column that the plan does not touch is missing",
        id="runbook.P301",
        harm=sql("ALTER TABLE core_service DROP COLUMN sigle"),
    ),
    Breakage(
        words="a column has another type",
        id="runbook.P301",
        harm=sql(
            mariadb="ALTER TABLE core_service MODIFY effectif varchar(40) NOT NULL",
            postgresql="ALTER TABLE core_service DROP CONSTRAINT core_service_effectif_check,"
            " ALTER effectif TYPE varchar(40)",
        ),
        kinds=SERVERS,
        severity="warning",
    ),
    Breakage(
        words="a table is missing",
        id="runbook.P301",
        harm=without_foreign_keys("DROP TABLE core_agent"),
        fails=ALL,
    ),
    Breakage(
        words="a column accepts NULL",
        id="runbook.P301",
        harm=sql(
            mariadb="ALTER TABLE core_service MODIFY nom varchar(200) NULL",
            postgresql="ALTER TABLE core_service ALTER nom DROP NOT NULL",
        ),
        kinds=SERVERS,
        severity="warning",
    ),
    Breakage(
        words="another program added a column that must be filled",
        id="runbook.P304",
        harm=sql(
            "ALTER TABLE core_agent ADD badge varchar(10) NOT NULL DEFAULT ''",
            postgresql="ALTER TABLE core_agent ALTER badge DROP DEFAULT",
            mariadb="ALTER TABLE core_agent ALTER badge DROP DEFAULT",
        ),
        kinds=SERVERS,
        severity="warning",
    ),
    Breakage(
        words="the coming table is there already",
        id="runbook.P302",
        harm=sql("CREATE TABLE core_sousdirection (id BIGINT PRIMARY KEY)"),
        fails=ALL,
    ),
    Breakage(
        words="the coming column is there already",
        id="runbook.P302",
        harm=sql("ALTER TABLE core_service ADD sous_direction_id BIGINT NULL"),
        fails=SERVERS,
    ),
    Breakage(
        words="the name of a coming index is taken",
        id="runbook.P302",
        harm=sql("CREATE INDEX agent_role ON core_agent (role)"),
        kinds=SERVERS,
        fails=SERVERS,
    ),
    Breakage(
        words="a column has another character set than its table",
        id="runbook.P305",
        harm=sql(
            "ALTER TABLE core_service MODIFY nom varchar(200) CHARACTER SET latin1 NOT NULL",
        ),
        kinds=("mariadb",),
        severity="warning",
    ),
)

SURROUNDINGS = (
    Breakage(
        words="the models have changes without a migration",
        id="runbook.P106",
        harm=edited(
            MIGRATION,
            '        migrations.AddIndex("agent", models.Index(fields=["role"], name="agent_role")),\n',
            "",
        ),
    ),
    Breakage(
        words="the run directory cannot be written",
        id="runbook.P101",
        harm=lambda it: it.project.runs.parent.mkdir(exist_ok=True) or it.project.runs.write_text("a file"),
    ),
    Breakage(
        words="the client programs are not installed",
        id="runbook.P102",
        harm=environment(PATH="/nowhere"),
        kinds=SERVERS,
    ),
    Breakage(
        words="another run holds the lock",
        id="runbook.P104",
        harm=held(
            "from django_runbook.databases import get_database\n"
            "lock = get_database('default').lock()\n"
            "lock.__enter__()\n"
        ),
    ),
    Breakage(
        words="an earlier run is not finished",
        id="runbook.P105",
        harm=interrupted_run,
    ),
    Breakage(
        words="a table has an engine without transactions",
        id="runbook.P108",
        harm=sql(
            "SET foreign_key_checks = 0",
            "CREATE TABLE autre (id INT) ENGINE=MyISAM",
            "ALTER TABLE django_session ENGINE=MyISAM",
        ),
        kinds=("mariadb",),
        severity="warning",
    ),
    Breakage(
        words="a table that the plan changes has an engine without transactions",
        id="runbook.P108",
        harm=sql(
            "ALTER TABLE django_migrations ENGINE=MyISAM",
        ),
        kinds=("mariadb",),
    ),
    Breakage(
        words="new tables get an engine without transactions",
        id="runbook.P109",
        harm=at_connect("SET default_storage_engine = MyISAM"),
        kinds=("mariadb",),
    ),
    Breakage(
        words="a prepared transaction holds its locks for good",
        id="runbook.P114",
        harm=sql(
            "XA START 'oublie'",
            "UPDATE core_service SET actif = actif",
            "XA END 'oublie'",
            "XA PREPARE 'oublie'",
        ),
        kinds=("mariadb",),
        severity="warning",
    ),
    Breakage(
        words="the database is read-only",
        id="runbook.P115",
        harm=environment(PGOPTIONS="-c default_transaction_read_only=on"),
        kinds=("postgresql",),
    ),
    Breakage(
        words="the health page of the service does not answer",
        id="runbook.P118",
        harm=both(
            edited("runbooks/durcissement.py", "import Backup", "import Backup, Restart"),
            edited("runbooks/durcissement.py", "Verify()]", 'Verify(), Restart("gunicorn")]'),
        ),
        severity="warning",
    ),
    Breakage(
        words="the session does not refuse what does not fit",
        id="runbook.P120",
        harm=at_connect("SET sql_mode = ''"),
        kinds=("mariadb",),
    ),
    Breakage(
        words="the session does not check foreign keys",
        id="runbook.P120",
        harm=at_connect("SET foreign_key_checks = 0"),
        kinds=("mariadb",),
    ),
    Breakage(
        words="a time limit of the role would end each long statement",
        id="runbook.P121",
        harm=environment(PGOPTIONS="-c statement_timeout=5000"),
        kinds=("postgresql",),
        severity="warning",
    ),
)

HURTING = (
    Breakage(
        words="the old code that still runs needs a column that is dropped",
        id="runbook.P503",
        harm=edited(
            MIGRATION, "operations = [", 'operations = [\n        migrations.RemoveField("service", "actif"),'
        ),
        severity="warning",
    ),
)

BREAKAGES = (*ROWS, *GRAPH, *SCHEMA, *SURROUNDINGS, *HURTING)
