"""What a rehearsal has shown, bound to the plan and to the schema that it started from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from django_runbook.backfill_ledger import TABLE_PREFIX
from django_runbook.conf import run_directory
from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.files import new_files
from django_runbook.plan import Plan
from django_runbook.steps.base import sha256_of

FORMAT = 1
CERTIFICATE_FILE = "certificate.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMeasure:
    """One step of a rehearsal."""

    key: str
    title: str
    seconds: float
    rows: int | None = None
    """That it moved; None if it is not of that kind."""
    locks: tuple[str, ...] = ()
    """What it kept others from, in the server's words; what lasted less than some 50 ms may be missing."""
    rebuilt: tuple[str, ...] = ()
    """Tables whose files were written anew."""
    peak_bytes: int = 0
    """The most that the database took meanwhile; 0 if this server or user cannot tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a rehearsal has shown."""

    id: str
    created: datetime
    runbook: str
    identity: dict[str, str]
    """Of the database that was copied."""
    server: str
    plan: str
    """SHA-256 of the plan: each step's key and fingerprint."""
    schema: str
    """SHA-256 of the schema that it started from."""
    backup: str
    """Path of the manifest that was restored."""
    restore_seconds: float
    steps: tuple[StepMeasure, ...]
    left_out: tuple[str, ...]
    """Titles of the steps that act outside of the database, or that the copy has no use for."""
    bytes_before: int = 0
    error: str = ""
    """Why it failed; empty if every step succeeded."""

    @property
    def passed(self) -> bool:
        return not self.error

    @property
    def predicted(self) -> dict[str, float]:
        """Seconds by step key."""
        return {step.key: step.seconds for step in self.steps}


def plan_hash(plan: Plan) -> str:
    return sha256_of(*((step.key, step.fingerprint) for step in plan.steps))


def schema_hash(database: Database) -> str:
    """Of all tables but this package's own, without the order of columns and the like."""
    definitions = database.all_definitions()
    return sha256_of(
        *(
            (name, database.shape(definition))
            for name, definition in sorted(definitions.items())
            if not name.rpartition(".")[2].startswith(TABLE_PREFIX)
        )
    )


def rehearsal_directory() -> Path:
    """Folder of the rehearsals' folders."""
    return run_directory() / "rehearsals"


def save_certificate(certificate: Certificate, folder: Path) -> None:
    text = json.dumps({"format": FORMAT, **asdict(certificate)}, default=str, ensure_ascii=False, indent=1)
    with new_files(folder / CERTIFICATE_FILE) as (file,):
        file.write(f"{text}\n".encode())


def load_certificates(database: Database) -> list[Certificate]:
    """Of this database, newest first; what cannot be read is left out."""
    found = [it for it in _readable() if it.identity == database.identity]
    return sorted(found, key=lambda certificate: certificate.created, reverse=True)


def _readable() -> Iterator[Certificate]:
    for path in rehearsal_directory().glob(f"*/{CERTIFICATE_FILE}"):
        try:
            yield _load(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _load(written: dict[str, Any]) -> Certificate:
    if written.pop("format") != FORMAT:
        raise ValueError(FORMAT)
    steps = tuple(
        StepMeasure(**{**step, "locks": tuple(step["locks"]), "rebuilt": tuple(step["rebuilt"])})
        for step in written["steps"]
    )
    return Certificate(
        **{
            **written,
            "created": datetime.fromisoformat(written["created"]).astimezone(UTC),
            "steps": steps,
            "left_out": tuple(written["left_out"]),
        }
    )


def find_certificate(plan: Plan, database: Database) -> Certificate | None:
    """The latest of this very plan on this very schema, if that rehearsal passed."""
    found = [it for it in load_certificates(database) if it.plan == plan_hash(plan)]
    latest = next((it for it in found if it.schema == schema_hash(database)), None) if found else None
    return latest if latest and latest.passed else None


def refuse_unrehearsed(plan: Plan, database: Database) -> None:
    """Raise Refused unless the latest rehearsal of this plan, from this schema, passed."""
    if find_certificate(plan, database):
        return
    raise Refused(
        _("The plan is not to run without a rehearsal, and %(why)s.") % {"why": _why(plan, database)},
        _("Rehearse it: `manage.py runbook rehearse %(name)s`.") % {"name": _name(plan)},
    )


def _name(plan: Plan) -> str:
    return plan.runbook if plan.runbook in plan.covers else ""


def _why(plan: Plan, database: Database) -> str:
    of_database = load_certificates(database)
    of_plan = [it for it in of_database if it.plan == plan_hash(plan)]
    if not of_database:
        return _("none was held on this database")
    if not of_plan:
        return _("the plan has changed since the last one")
    of_schema = [it for it in of_plan if it.schema == schema_hash(database)]
    if not of_schema:
        return _("the schema has changed since the last one")
    return _("the last one failed: %(error)s") % {"error": of_schema[0].error}
