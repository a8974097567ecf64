"""What a restore would lose: the rows there are now against those of the backup."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db import DatabaseError
from django.utils.translation import gettext as _

from django_runbook.backfill_ledger import TABLE_PREFIX
from django_runbook.backups.manifest import Manifest
from django_runbook.databases import Content, Database, TableContent
from django_runbook.exceptions import RunbookError, TimeLimitReached


def losses(manifest: Manifest, database: Database, limit: timedelta) -> list[str]:
    """What of the database's rows is not in the backup, a sentence for each table.

    Empty if nothing is. Counted for no longer than `limit`; that it could not be counted, or whether rows
    have other values, is said. This package's own tables, which are to go back, are left out.
    """
    try:
        return list(_differing(manifest, _content(manifest, database, limit)))
    except (RunbookError, DatabaseError) as error:
        if isinstance(error, TimeLimitReached) or database.is_time_limit(error):
            return [_("not counted: that takes longer than %(limit)d s") % {"limit": limit.total_seconds()}]
        return [_("not counted: %(error)s") % {"error": getattr(error, "message", error)}]


def _content(manifest: Manifest, database: Database, limit: timedelta) -> Content:
    summed = any(content.checksum for content in manifest.tables.values())
    with database.reading(limit):
        database.ask("SELECT 1")  # the limit holds from the first statement on
        return database.content(checksums=summed)


def _differing(manifest: Manifest, content: Content) -> Iterator[str]:
    for table, now in sorted(content.items()):
        if table.rpartition(".")[2].startswith(TABLE_PREFIX):
            continue
        then = manifest.tables.get(table)
        facts = {"table": table, "rows": now.rows}
        if then is None:
            yield _("%(table)s: %(rows)d rows; the backup's manifest does not know the table") % facts
        elif words := _since(then, now):
            yield f"{table}: {words}"


def _since(then: TableContent, now: TableContent) -> str:
    more = now.rows - then.rows
    if more > 0:
        return _("%(rows)d rows more than in the backup") % {"rows": more}
    if more < 0:
        return _("%(rows)d rows fewer than in the backup, which come back") % {"rows": -more}
    if then.checksum and then != now:
        return _("other values in some of its %(rows)d rows") % {"rows": now.rows}
    return ""
