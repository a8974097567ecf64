"""The databases that runs work on, one implementation per server."""

from __future__ import annotations

from django.db import connections
from django.utils.translation import gettext as _

from django_runbook.databases.base import ELSEWHERE, Database, Orphan, Server
from django_runbook.databases.dumpers import Content, TableContent
from django_runbook.databases.mysql import MySQLDatabase
from django_runbook.databases.postgresql import PostgreSQLDatabase
from django_runbook.databases.sqlite import SQLiteDatabase
from django_runbook.exceptions import Refused

__all__ = [
    "ELSEWHERE",
    "Content",
    "Database",
    "MySQLDatabase",
    "Orphan",
    "PostgreSQLDatabase",
    "SQLiteDatabase",
    "Server",
    "TableContent",
    "get_database",
]

VENDORS: dict[str, type[Database]] = {
    "mysql": MySQLDatabase,
    "postgresql": PostgreSQLDatabase,
    "sqlite": SQLiteDatabase,
}
"""By `connection.vendor`; MariaDB's is "mysql"."""


def get_database(alias: str) -> Database:
    """Find the database behind an alias of DATABASES. Raise Refused if there is none or no support."""
    if alias not in connections.settings:
        raise Refused(
            _("There is no database '%(alias)s' in DATABASES.") % {"alias": alias},
            _("These are defined: %(aliases)s.") % {"aliases": ", ".join(connections.settings)},
        )
    vendor = connections[alias].vendor
    if vendor not in VENDORS:
        raise Refused(
            _("Database '%(alias)s' is served by %(vendor)s, which runbooks do not support.")
            % {"alias": alias, "vendor": vendor},
            _("Supported are: %(vendors)s.") % {"vendors": ", ".join(VENDORS)},
        )
    return VENDORS[vendor](alias)
