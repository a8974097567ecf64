"""A database against the manifest of a backup."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from django.utils.translation import gettext as _

from django_runbook.backups.manifest import Manifest
from django_runbook.databases import Database


def differences(manifest: Manifest, database: Database) -> list[str]:
    """What is otherwise in the database than in the backup, in words; what the manifest knows is compared."""
    checksums = any(content.checksum for content in manifest.tables.values())
    with database.snapshot():
        now = database.content(checksums=checksums)
    found = [*_rows(manifest, {table: content.rows for table, content in now.items()})]
    found += [
        _("%(table)s: other rows") % {"table": table}
        for table, content in manifest.tables.items()
        if content.checksum and table in now and now[table].rows == content.rows and now[table] != content
    ]
    if manifest.schema and sha256(database.schema().encode()).hexdigest() != manifest.schema:
        found.append(_("another schema"))
    return found


def _rows(manifest: Manifest, found: dict[str, int]) -> Iterator[str]:
    for table, expected in manifest.rows.items():
        if found.get(table) != expected:
            yield _("%(table)s: %(expected)d expected, %(found)s found") % {
                "table": table,
                "expected": expected,
                "found": found.get(table, _("no table")),
            }
