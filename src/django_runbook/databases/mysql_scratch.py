"""Scratch databases on MySQL and MariaDB: who may make them, and how."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django.utils.translation import gettext as _

from django_runbook.databases.mysql_grants import EVERYTHING, Grant, is_allowed
from django_runbook.databases.mysql_rights import current_user, granted

if TYPE_CHECKING:
    from django_runbook.databases.base import Database
    from django_runbook.databases.mysql import MySQLDatabase

DROP_WAIT = timedelta(seconds=30)
"""For the locks of sessions that have just been killed."""
TABLES = (
    "ALTER",
    "CREATE",
    "DELETE",
    "DROP",
    "INDEX",
    "INSERT",
    "LOCK TABLES",
    "REFERENCES",
    "SELECT",
    "UPDATE",
)
"""What loading a dump of tables asks for, and the steps of a rehearsal."""
OBJECTS = {
    "SELECT COUNT(*) FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()": (
        "CREATE VIEW",
        "SHOW VIEW",
    ),
    "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()": ("TRIGGER",),
    "SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()": (
        "CREATE ROUTINE",
        "ALTER ROUTINE",
        "EXECUTE",
    ),
    "SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()": ("EVENT",),
    "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
    " AND TABLE_TYPE = 'SYSTEM VERSIONED'": ("DELETE HISTORY",),
}
"""What loading the rest asks for, if there is any."""
DEFINERS = (
    "SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()"
    " UNION SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()"
    " UNION SELECT DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()"
    " UNION SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()"
)
OTHERS_NAME = ("SET USER", "SET_USER_ID", "SET_ANY_DEFINER", "SUPER")
"""Any of them lets a user create what another one defines: MariaDB's name, MySQL's two, and the old one."""


def refused_scratch(database: MySQLDatabase) -> str:
    """Why this user could not load a dump of the database into a scratch database; empty if it could."""
    for refusal in database.surroundings.refusals():
        return refusal.message
    grants = granted(database)
    name = database.scratch_name("0")
    missing = [right for right in _needed(database) if not is_allowed(grants, right, name)]
    if missing:
        return _("the user lacks %(rights)s on databases that are called so: %(statement)s") % {
            "rights": ", ".join(missing),
            "statement": f"GRANT {', '.join(missing)} ON {_pattern(database)}.* TO {current_user(database)};",
        }
    return _refused_definers(database, grants)


def _needed(database: MySQLDatabase) -> Iterator[str]:
    yield from TABLES
    for query, rights in OBJECTS.items():
        if database.ask(query)[0][0]:
            yield from rights


def _refused_definers(database: MySQLDatabase, grants: list[Grant]) -> str:
    [(user,)] = database.ask("SELECT CURRENT_USER()")
    others = sorted({str(definer) for (definer,) in database.ask(DEFINERS)} - {str(user)})
    if not others or any(is_allowed(grants, right, EVERYTHING) for right in OTHERS_NAME):
        return ""
    return _(
        "views, triggers, routines or events are defined by %(definers)s, and the user may not create them "
        "under that name: %(statement)s"
    ) % {
        "definers": ", ".join(others),
        "statement": f"GRANT {_name_of_it(database)} ON *.* TO {current_user(database)};",
    }


def _name_of_it(database: MySQLDatabase) -> str:
    mariadb, mysql, newer_mysql, _super = OTHERS_NAME
    if database.is_mariadb:
        return mariadb
    return newer_mysql if database.server().version >= (8, 2) else mysql


def _pattern(database: MySQLDatabase) -> str:
    """The names of all scratch databases of this one, as GRANT has it."""
    name = database.scratch_name("")
    for special in ("\\", "_", "%"):
        name = name.replace(special, f"\\{special}")
    return database.quote(name + "%")


def create_scratch(database: MySQLDatabase, name: str, like: Database) -> dict[str, Any]:
    """An empty database with the character set and collation of `like`; the settings that reach it."""
    charset, collation = cast("MySQLDatabase", like).charset_and_collation()
    database.ask_nothing(
        f"CREATE DATABASE {database.quote(name)} CHARACTER SET {charset} COLLATE {collation}"
    )
    settings = database.connection.settings_dict
    options = {key: value for key, value in settings["OPTIONS"].items() if key not in {"database", "db"}}
    return {**settings, "NAME": name, "OPTIONS": options}
