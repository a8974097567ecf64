"""Which kind of SQL a database speaks."""

from __future__ import annotations

from django.db import connections


def dialect_of(alias: str) -> str:
    """ "mysql" (MariaDB too), "postgresql" or "sqlite", as Django calls them."""
    return str(connections[alias].vendor)
