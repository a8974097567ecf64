"""A scratch database: empty, like another one, on the same server, and gone at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from django.db import connections
from django.utils.translation import gettext as _

from django_runbook.conf import scratch_alias
from django_runbook.databases import get_database
from django_runbook.databases.base import IS_SCRATCH, Database
from django_runbook.databases.watchdog import watched
from django_runbook.exceptions import Refused

SCRATCH_ALIAS = "django_runbook_scratch"
ORIGINAL_ALIAS = "django_runbook_original"


def refused_scratch_of(database: Database) -> str:
    """Why no scratch database of this one can be made, in words; empty if one can."""
    return host_of(database).refuses_scratch()


def host_of(database: Database) -> Database:
    """The database on whose server the scratch databases of this one are made: itself, or what settings say.

    Raise Refused if they name one of another kind.
    """
    alias = scratch_alias()
    if not alias or alias == database.alias:
        return database
    host = get_database(alias)
    if host.server().product != database.server().product:
        raise Refused(
            _("Database '%(alias)s' is served by %(ours)s, and the one that PROVE_ON names by %(theirs)s.")
            % {"theirs": host.server().product, "alias": database.alias, "ours": database.server().product},
            _("Name a database on a server of the same kind."),
        )
    return host


@contextmanager
def scratch_of(database: Database) -> Iterator[Database]:
    """Create a scratch database, reach it under an alias of its own, and drop it, also after a kill.

    Raise Refused, with nothing created, if this user may not.
    """
    with _created(host_of(database), database) as settings, _at(SCRATCH_ALIAS, settings):
        yield get_database(SCRATCH_ALIAS)


@contextmanager
def in_place_of(database: Database) -> Iterator[Database]:
    """As `scratch_of`, but reached under the database's own alias, so that the project's code works on it.

    The database itself is reached under ORIGINAL_ALIAS meanwhile.
    """
    alias = database.alias
    with _at(ORIGINAL_ALIAS, connections.settings[alias]):
        original = get_database(ORIGINAL_ALIAS)
        host = host_of(original)
        with _created(host, original) as settings, _at(alias, settings):
            try:
                yield get_database(alias)
            finally:
                host.connection.close()  # it may have idled for longer than a server allows


@contextmanager
def _created(host: Database, database: Database) -> Iterator[dict[str, Any]]:
    """The settings that reach a new scratch database."""
    name = host.scratch_name(uuid4().hex[:12])
    with watched(host, name):
        settings = {**host.create_scratch(name, database), IS_SCRATCH: True}
        try:
            yield settings
        finally:
            host.drop_scratch(name)


@contextmanager
def _at(alias: str, settings: dict[str, Any]) -> Iterator[None]:
    """Within the block, let an alias lead there; a connection that it led to before is put aside."""
    before = connections.settings.get(alias)
    aside = connections[alias] if before is not None else None
    connections.settings[alias] = settings
    connections[alias] = connections.create_connection(alias)
    try:
        yield
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]
        if before is not None and aside is not None:
            connections.settings[alias] = before
            connections[alias] = aside
