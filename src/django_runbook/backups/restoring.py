"""Bring a backup back, and look whether it is all there."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from hashlib import file_digest
from pathlib import Path

from django.utils.translation import gettext as _

from django_runbook.backups.choosing import dumper_that_restores
from django_runbook.backups.comparing import differences
from django_runbook.backups.encryption import identities_for
from django_runbook.backups.manifest import DumpFile, Manifest, files_in, load_manifest
from django_runbook.backups.streams import load_dump
from django_runbook.conf import backup_jobs
from django_runbook.databases import Database
from django_runbook.exceptions import Refused, RestoreFailed

LEAVING = timedelta(seconds=2)
"""How long others have to leave: a server lists the session of a client that is gone for a moment."""
POLL_EVERY = timedelta(milliseconds=50)


def restore_backup(
    manifest_path: Path,
    database: Database,
    *,
    into_other: bool = False,
    identity: Path | None = None,
    begin: Callable[[], None] = lambda: None,
) -> Manifest:
    """Bring a database back to a backup's state, and compare it with the manifest.

    Raise Refused, before anything is touched, if the backup is damaged or of another kind of server, or of a
    database with another name, unless `into_other` or there is nothing in this one, or if it is encrypted and
    no key in the file `identity` opens it. Then `begin` is called, before the first change. Raise
    RestoreFailed if the state is not the backup's.
    """
    manifest = load_manifest(manifest_path)
    refuse_other_server(manifest, database)
    if not into_other and database.dumped_tables():
        refuse_other_database(manifest, database)
    dumper = dumper_that_restores(manifest, database)
    refuse_damaged(manifest)
    identities = identities_for(manifest, identity)
    begin()
    load_dump(dumper, manifest.dump_path, jobs=backup_jobs(), identities=identities)
    refuse_differences(manifest, database)
    return manifest


def refuse_cut_off_restore(database: Database) -> None:
    """Raise Refused if an earlier restore did not come to its end, and left the database incomplete."""
    began = database.cut_off_restore()
    if began:
        raise Refused(
            _("Database '%(alias)s' is incomplete: a restore that began at %(began)s UTC was cut off.")
            % {"alias": database.alias, "began": began},
            _("Repeat it: `manage.py runbook restore FILE`."),
        )


def refuse_connected(database: Database) -> None:
    """Raise Refused while others are connected: what they write during a restore is lost or in its way."""
    until = time.monotonic() + LEAVING.total_seconds()
    while (others := database.surroundings.connected()) and time.monotonic() < until:
        time.sleep(POLL_EVERY.total_seconds())
    if others:
        raise Refused(
            _("Others are connected to database '%(alias)s':\n%(others)s")
            % {"alias": database.alias, "others": "\n".join(f"- {other}" for other in others)},
            _("Stop them, as with `systemctl stop gunicorn`, or say --while-connected if you mean it."),
        )


def refuse_other_server(manifest: Manifest, database: Database) -> None:
    product = database.server().product
    if manifest.server.product != product:
        raise Refused(
            _("The backup %(path)s was made by %(made_by)s; database '%(alias)s' is served by %(product)s.")
            % {
                "path": manifest.path,
                "made_by": manifest.server.product,
                "alias": database.alias,
                "product": product,
            },
            _("Choose a backup of this database."),
        )


def refuse_other_database(manifest: Manifest, database: Database) -> None:
    if manifest.identity.get("name") != database.name:
        raise Refused(
            _("The backup %(path)s is of database '%(theirs)s', and this is '%(ours)s'.")
            % {"path": manifest.path, "theirs": manifest.identity.get("name"), "ours": database.name},
            _("Choose a backup of this database, or restore it into an empty one."),
        )


def refuse_damaged(manifest: Manifest) -> None:
    """Raise Refused unless each file has the size and the SHA-256 that the manifest states."""
    try:
        whole = _names(manifest) == {file.name for file in manifest.files} and all(
            _is_whole(manifest.path.parent / file.name, file) for file in manifest.files
        )
    except OSError as exc:
        raise Refused(
            _("The backup %(path)s cannot be read: %(error)s.")
            % {"path": manifest.dump_path, "error": exc.strerror},
            _("Put it beside its manifest, or choose another backup."),
        ) from exc
    if not whole:
        raise Refused(
            _("The backup %(path)s is damaged: it is not the file that its manifest describes.")
            % {"path": manifest.dump_path},
            _("Choose another backup. The database was not touched."),
        )


def _names(manifest: Manifest) -> set[str]:
    """What there is of a dump: a file in its folder that is not the dump's would be restored with it."""
    return {str(path.relative_to(manifest.path.parent)) for path in files_in(manifest.dump_path)}


def _is_whole(path: Path, described: DumpFile) -> bool:
    with path.open("rb") as file:
        return (
            path.stat().st_size == described.bytes
            and file_digest(file, "sha256").hexdigest() == described.sha256
        )


def refuse_differences(manifest: Manifest, database: Database) -> None:
    """Raise RestoreFailed, naming the tables, if the database is not what the manifest says."""
    found = differences(manifest, database)
    if found:
        raise RestoreFailed(
            _("After the restore of %(path)s the database is not as its manifest says: %(differences)s.")
            % {"path": manifest.path, "differences": "; ".join(found)},
            _("Stop whatever writes to the database, then restore again."),
        )
