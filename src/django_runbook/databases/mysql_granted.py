"""The rights that users have on one database of MySQL or MariaDB, as statements that give them again.

They lie outside of the database, so no dump of it has them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.db import DatabaseError
from django.utils.translation import gettext as _

from django_runbook.exceptions import Refused

if TYPE_CHECKING:
    from django_runbook.databases.mysql import MySQLDatabase

ALL_USERS = "SELECT 1 FROM mysql.db LIMIT 1"
"""Who may read this sees in information_schema the rights of all users, and else only those of its own."""
ON_DATABASE = (
    "SELECT GRANTEE, TABLE_SCHEMA, '', PRIVILEGE_TYPE, '', IS_GRANTABLE"
    " FROM information_schema.SCHEMA_PRIVILEGES"
    " WHERE DATABASE() LIKE TABLE_SCHEMA"
)
ON_TABLES = (
    "SELECT GRANTEE, TABLE_SCHEMA, TABLE_NAME, PRIVILEGE_TYPE, '', IS_GRANTABLE"
    " FROM information_schema.TABLE_PRIVILEGES"
    " WHERE TABLE_SCHEMA = DATABASE()"
)
ON_COLUMNS = (
    "SELECT GRANTEE, TABLE_SCHEMA, TABLE_NAME, PRIVILEGE_TYPE, COLUMN_NAME, IS_GRANTABLE"
    " FROM information_schema.COLUMN_PRIVILEGES WHERE TABLE_SCHEMA = DATABASE()"
)
ON_ROUTINES = (
    "SELECT CONCAT(QUOTE(User), '@', QUOTE(Host)), CONCAT(Routine_type, ' ', Routine_name), Proc_priv"
    " FROM mysql.procs_priv WHERE Db = DATABASE()"
)


def granted(database: MySQLDatabase) -> list[str]:
    """A GRANT for each user and object, in a fixed order; the users themselves are not created by them.

    Raise Refused if this user may not see the rights of others.
    """
    try:
        database.ask(ALL_USERS)
        return sorted([*_on_database_and_tables(database), *_on_routines(database)])
    except DatabaseError as error:
        raise Refused(
            _("The rights of other users on database '%(alias)s' cannot be read: %(error)s")
            % {"alias": database.alias, "error": error},
            _("GRANT SELECT ON `mysql`.* TO this user, or leave RUNBOOK['BACKUP']['GRANTS'] out."),
        ) from error


def _on_database_and_tables(database: MySQLDatabase) -> Iterator[str]:
    """The name of a database in a right on all of it is a pattern, which stays as it is."""
    found: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for query in (ON_DATABASE, ON_TABLES, ON_COLUMNS):
        for user, schema, table, right, column, grantable in database.ask(query):
            words = f"{right} ({database.quote(column)})" if column else str(right)
            found[str(user), str(schema), str(table), str(grantable)].append(words)
    for (user, schema, table, grantable), rights in found.items():
        place = f"{database.quote(schema)}.{database.quote(table) if table else '*'}"
        option = " WITH GRANT OPTION" if grantable == "YES" else ""
        yield f"GRANT {', '.join(sorted(rights))} ON {place} TO {user}{option};"


def _on_routines(database: MySQLDatabase) -> Iterator[str]:
    for user, routine, rights in database.ask(ON_ROUTINES):
        kind, _space, name = str(routine).partition(" ")
        given = [right.upper() for right in str(rights).split(",") if right != "Grant"]
        option = " WITH GRANT OPTION" if "Grant" in str(rights).split(",") else ""
        place = f"{kind} {database.quote(database.name)}.{database.quote(name)}"
        yield f"GRANT {', '.join(given) or 'USAGE'} ON {place} TO {user}{option};"
