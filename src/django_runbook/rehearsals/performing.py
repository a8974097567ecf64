"""Hold a rehearsal: restore a backup into a scratch database, and run the plan there with the same engine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from django.db import Error as AnyDatabaseError
from django.db import connections
from django.utils.translation import gettext as _

from django_runbook.backups import Manifest, find_backups, make_backup, restore_backup, terms_for
from django_runbook.conf import backup_directory
from django_runbook.databases import Database, get_database
from django_runbook.databases.scratch import ORIGINAL_ALIAS, in_place_of
from django_runbook.engine import execute, open_run
from django_runbook.exceptions import Interrupted, Refused, RunbookError
from django_runbook.interrupts import Interrupts
from django_runbook.journal import JOURNAL_FILE, Entry, Journal
from django_runbook.plan import Plan, PlannedStep
from django_runbook.rehearsals.certificates import (
    Certificate,
    StepMeasure,
    plan_hash,
    rehearsal_directory,
    save_certificate,
    schema_hash,
)
from django_runbook.rehearsals.measuring import Measures, measuring
from django_runbook.schema.states import applied_migrations
from django_runbook.steps import Backup


def backup_to_rehearse(database: Database) -> Manifest:
    """The newest proven backup of the database's present migrations; a new one if there is none."""
    applied = sorted(applied_migrations(database.connection))
    for manifest in find_backups(backup_directory()):
        if manifest.identity == database.identity and sorted(manifest.applied) == applied and manifest.schema:
            return manifest
    return make_backup(
        database, backup_directory(), terms=terms_for(database), applied=applied, now=datetime.now(UTC)
    )


def steps_left_out(plan: Plan) -> list[PlannedStep]:
    """Those that act outside of the database; and backups, which are measured when they are taken."""
    return [it for it in plan.steps if it.step.acts_outside or isinstance(it.step, Backup)]


def rehearse(
    plan: Plan,
    database: Database,
    manifest: Manifest,
    *,
    announce: Callable[[Entry], None],
    interrupts: Interrupts,
    identity: Path | None = None,
) -> Certificate:
    """Run the plan on a restored copy, under the database's own alias; the database itself is only read.

    The copy is dropped at the end, also after a kill. Raise Refused if this user may create no scratch
    database, or if the backup is of another schema than the database has now.
    """
    certificate = Certificate(
        id="",
        created=datetime.now(UTC),
        runbook=plan.runbook,
        identity=database.identity,
        server=str(database.server()),
        plan=plan_hash(plan),
        schema=schema_hash(database),
        backup=str(manifest.path),
        restore_seconds=0.0,
        steps=_known_of_backups(plan, manifest),
        left_out=tuple(it.title for it in steps_left_out(plan)),
    )
    rehearsal_directory().mkdir(mode=0o700, parents=True, exist_ok=True)
    with in_place_of(database) as copy, _others_read_only(copy.alias):
        seconds = _restored(manifest, copy, certificate, identity)
        certificate = replace(certificate, restore_seconds=seconds)
        return _perform(plan, copy, certificate, announce, interrupts)


def _known_of_backups(plan: Plan, manifest: Manifest) -> tuple[StepMeasure, ...]:
    seconds = manifest.dump_seconds + (manifest.restore_seconds or 0.0)
    return tuple(
        StepMeasure(key=it.key, title=it.title, seconds=seconds)
        for it in plan.steps
        if isinstance(it.step, Backup)
    )


def _restored(manifest: Manifest, copy: Database, certificate: Certificate, identity: Path | None) -> float:
    """Restore and compare. Raise Refused if the backup is not of the schema that the database has now."""
    began = time.monotonic()
    restore_backup(manifest.path, copy, identity=identity)
    seconds = time.monotonic() - began
    if schema_hash(copy) != certificate.schema:
        raise Refused(
            _("The schema has changed since backup %(path)s.") % {"path": manifest.path},
            _("Take another one with `manage.py runbook backup`, then rehearse again."),
        )
    return seconds


def _perform(
    plan: Plan,
    copy: Database,
    certificate: Certificate,
    announce: Callable[[Entry], None],
    interrupts: Interrupts,
) -> Certificate:
    left_out = {it.key for it in steps_left_out(plan)}
    kept = replace(plan, steps=tuple(it for it in plan.steps if it.key not in left_out))
    if not kept.steps:
        raise Refused(_("No step of the plan can be rehearsed: all act outside of the database."))
    gauge = copy.gauge()
    before = gauge.disk(copy)
    with (
        measuring(copy, announce) as measures,
        open_run(kept, copy, measures, directory=rehearsal_directory()) as journal,
    ):
        error = _error_of(kept, journal, copy, interrupts)
    return _certified(replace(certificate, bytes_before=before, error=error), measures, journal)


def _error_of(plan: Plan, journal: Journal, copy: Database, interrupts: Interrupts) -> str:
    try:
        execute(plan, journal, copy, interrupts)
    except Interrupted:
        raise
    except RunbookError as error:
        return error.message
    return ""


def _certified(certificate: Certificate, measures: Measures, journal: Journal) -> Certificate:
    """Keep the journal and the certificate; what else the steps have written holds rows of the database."""
    certificate = replace(certificate, id=journal.folder.name, steps=(*certificate.steps, *measures.steps))
    for path in journal.folder.iterdir():
        if path.name != JOURNAL_FILE:
            _remove(path)
    save_certificate(certificate, journal.folder)
    return certificate


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def _others_read_only(alias: str) -> Iterator[None]:
    """Let the project's code read its other databases, and write to none of them."""
    with ExitStack() as stack:
        for other in connections.settings:
            if other not in (alias, ORIGINAL_ALIAS):
                try:
                    database = get_database(other)
                    database.connection.ensure_connection()
                except (AnyDatabaseError, RunbookError):
                    continue  # what cannot be reached cannot be written to
                stack.enter_context(database.read_only())
        yield
