"""Take a backup: dump, prove, and only then give it its name."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from django.utils.translation import gettext as _

from django_runbook.backups.choosing import AnyDumper, dumper_named
from django_runbook.backups.encryption import Keys, keys_for
from django_runbook.backups.manifest import Level, Manifest, manifest_of, to_json
from django_runbook.backups.progress import Report, Stage, report_nothing
from django_runbook.backups.proof import prove
from django_runbook.backups.restoring import refuse_cut_off_restore
from django_runbook.backups.space import refuse_too_little_space
from django_runbook.backups.streams import Dumped, Order, dumped
from django_runbook.backups.terms import Terms
from django_runbook.backups.unfinished import Unfinished, make_file, make_private_folder, partial_of
from django_runbook.databases import Database
from django_runbook.exceptions import BackupFailed
from django_runbook.files import remove, sync_folder

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def make_backup(
    database: Database,
    folder: Path,
    *,
    terms: Terms,
    run_id: str = "",
    applied: Sequence[tuple[str, str]] = (),
    now: datetime,
    report: Report = report_nothing,
) -> Manifest:
    """Dump a database into `folder`, which is made if need be, and return the manifest.

    Raise Refused before anything is written if there is too little space or a transaction open, and
    BackupFailed if the dump fails or its proof does. Whatever is raised, no part of a file is left behind.
    """
    refuse_cut_off_restore(database)
    refuse_too_little_space(database, folder)
    dumper = dumper_named(terms.dumper, database) if terms.dumper else database.dumper
    proven = terms.level is Level.PROVEN
    keys = keys_for(terms.recipients, dumper, proven=proven)
    order = Order(dumper=dumper, checksums=proven, jobs=terms.jobs, recipients=keys.recipients, report=report)
    with told_as_backup_failure(folder):
        make_private_folder(folder)
        began = time.monotonic()
        schema = database.schema() if proven else ""
        report(Stage.DUMPING, 0)
        with dumped(order, folder, dump_stem(database, now)) as dump:
            manifest = replace(
                manifest_for(dump, dumper, database, terms, now),
                schema=sha256(schema.encode()).hexdigest() if proven else "",
                applied=tuple(applied),
                run_id=run_id,
                dump_seconds=time.monotonic() - began,
            )
            if proven:
                report(Stage.PROVING, 0)
                manifest = proved(manifest, dump.unfinished.partial, database, keys, terms.jobs)
            publish(dump.unfinished, manifest)
    return manifest


def manifest_for(
    dump: Dumped, dumper: AnyDumper, database: Database, terms: Terms, now: datetime
) -> Manifest:
    """What is known of a dump by itself."""
    return Manifest(
        path=manifest_of(dump.unfinished.path),
        file=dump.unfinished.path.name,
        files=dump.files,
        dumper=dumper.name,
        dumper_reason=terms.dumper_reason,
        created=now.astimezone(UTC),
        alias=database.alias,
        identity=database.identity,
        server=database.server(),
        dump_bytes=dump.bytes,
        tables=dump.tables,
        level_reason=terms.level_reason,
        recipients=terms.recipients,
        grants=tuple(database.grants()) if terms.grants else (),
    )


def proved(manifest: Manifest, path: Path, database: Database, keys: Keys, jobs: int) -> Manifest:
    """The manifest with what a proof has shown: proven only if the rows of every table were compared.

    Raise BackupFailed if it is not what the database was.
    """
    seconds = prove(manifest, path, database, jobs=jobs, identities=keys.identities)
    unknown = sorted(set(database.dumped_tables()) - set(manifest.tables))
    if not unknown:
        return replace(manifest, level=Level.PROVEN, restore_seconds=seconds)
    reason = _(
        "it was restored, but these tables were written to during the dump, and not compared: %(tables)s"
    )
    return replace(manifest, level_reason=reason % {"tables": ", ".join(unknown)}, restore_seconds=seconds)


def publish(dump: Unfinished, manifest: Manifest) -> None:
    """Give dump and manifest their names, or neither.

    The manifest is on the disk under its partial name before the dump has its own: wherever this is cut off,
    there is no manifest without a dump, and a dump without a manifest has that beside it by which `sweep`
    finds it.
    """
    partial = partial_of(manifest.path)
    try:
        with os.fdopen(make_file(partial), "wb") as file:
            file.write(to_json(manifest).encode())
            file.flush()
            os.fsync(file.fileno())
            dump.publish()
            partial.rename(manifest.path)
            sync_folder(manifest.path.parent)
    except BaseException:
        for path in (manifest.path, dump.path, partial):
            remove(path)
        raise


def dump_stem(database: Database, now: datetime) -> str:
    """The database's name, without what a file name had better not have, and the second in UTC."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(database.name).name).strip("_.") or "database"
    return f"{name}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"


@contextmanager
def told_as_backup_failure(folder: Path) -> Iterator[None]:
    """Turn what the operating system says about the backup's files into BackupFailed."""
    try:
        yield
    except OSError as exc:
        message = (
            _("The disk of %(folder)s became full during the backup.")
            if exc.errno in DISK_FULL
            else _("The backup in %(folder)s could not be written: %(error)s.")
        )
        raise BackupFailed(
            message % {"folder": folder, "error": exc.strerror or exc},
            _("The database was not changed. Free some space there, or choose another folder."),
        ) from exc
