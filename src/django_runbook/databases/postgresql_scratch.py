"""Scratch databases on PostgreSQL: who may make them, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from django_runbook.exceptions import Refused

if TYPE_CHECKING:
    from django_runbook.databases.base import Database
    from django_runbook.databases.postgresql import PostgreSQLDatabase

USER = "SELECT rolname, rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
UNTRUSTED = (
    "SELECT e.extname FROM pg_extension AS e JOIN pg_available_extension_versions AS v"
    " ON v.name = e.extname AND v.version = e.extversion WHERE v.superuser AND NOT v.trusted ORDER BY 1"
)
"""Extensions of this database that only a superuser can create in another one."""
OTHERS = (
    "SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_class AS c"
    " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"
    " AND NOT pg_has_role(c.relowner, 'MEMBER') AND NOT EXISTS (SELECT FROM pg_depend AS d"
    " WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"
)
"""Owners of tables and the like to whom a dump that this user loads could not give them."""
LOCALE = (
    "SELECT pg_encoding_to_char(encoding), datcollate, datctype{more} FROM pg_database"
    " WHERE datname = current_database()"
)
PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def refused_scratch(database: PostgreSQLDatabase) -> str:
    """Why this user could not load a dump of the database into a scratch database; empty if it could."""
    return next(_reasons(database), "")


def _reasons(database: PostgreSQLDatabase) -> Iterator[str]:
    [(user, is_superuser, may_create)] = database.ask(USER)
    if is_superuser:
        return
    if not may_create:
        yield _("the user may create no database: %(statement)s") % {
            "statement": f"ALTER ROLE {database.quote(user)} CREATEDB;"
        }
    extensions = ", ".join(name for (name,) in database.ask(UNTRUSTED))
    if extensions:
        yield _("only a superuser can create these extensions in another database: %(extensions)s") % {
            "extensions": extensions
        }
    others = [database.quote(name) for (name,) in database.ask(OTHERS)]
    if others:
        yield _("some objects belong to %(owners)s, to whom the user cannot give them: %(statement)s") % {
            "owners": ", ".join(others),
            "statement": f"GRANT {', '.join(others)} TO {database.quote(user)};",
        }


def create_scratch(database: PostgreSQLDatabase, name: str, like: Database) -> dict[str, Any]:
    """An empty database with the encoding and locale of `like`; the settings that reach it.

    Raise Refused, with nothing created, if this user may not.
    """
    if against := refused_scratch(database):
        raise Refused(
            _("No scratch database can be made for database '%(alias)s': %(why)s")
            % {"alias": database.alias, "why": against},
            _("Nothing was created."),
        )
    database.ask_nothing(f"CREATE DATABASE {database.quote(name)} TEMPLATE template0 {_locale(like)}")
    return {**database.connection.settings_dict, "NAME": name}


def _locale(database: Database) -> str:
    """Providers came with PostgreSQL 15, the rules of ICU with 16, one column for both names with 17."""
    major = database.server().version[0]
    column = ", datlocprovider, " + ("datlocale" if major >= 17 else "daticulocale") if major >= 15 else ""
    rules = ", daticurules" if major >= 16 else ""
    [(encoding, collate, ctype, *more)] = database.ask(LOCALE.format(more=column + rules))
    words = f"ENCODING '{encoding}' LC_COLLATE '{collate}' LC_CTYPE '{ctype}'"
    if not more:
        return words
    provider = PROVIDERS[more[0]]
    words += f" LOCALE_PROVIDER {provider}"
    if provider != "libc":
        words += f" {provider.upper()}_LOCALE '{more[1]}'"
    escaped = str(more[2]).replace("'", "''") if len(more) > 2 and more[2] else ""
    return f"{words} ICU_RULES '{escaped}'" if escaped else words
