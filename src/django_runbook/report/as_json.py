"""The same values for programs."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django_runbook.plan import Plan
from django_runbook.preflight import Examination, Finding
from django_runbook.rehearsals import Certificate
from django_runbook.report.build import Report


def plan_to_json(plan: Plan, certificate: Certificate | None = None) -> dict[str, Any]:
    """Keys: runbook, covers, on_failure, rehearsal, steps (key, title, reason, fingerprint and more)."""
    predicted = certificate.predicted if certificate else {}
    return {
        "runbook": plan.runbook,
        "covers": list(plan.covers),
        "on_failure": plan.on_failure.value,
        "rehearsal": certificate.id if certificate else None,
        "steps": [
            {
                "key": planned.key,
                "title": planned.title,
                "reason": planned.reason,
                "crash_meaning": planned.crash_meaning,
                "crash_details": dict(planned.crash_details),
                "fingerprint": planned.fingerprint,
                "repeatable": planned.step.repeatable,
                "reversible": planned.step.reversible,
                "changes_schema": planned.step.changes_schema,
                "changes_data": planned.step.changes_data,
                "acts_outside": planned.step.acts_outside,
                "predicted_seconds": predicted.get(planned.key),
            }
            for planned in plan.steps
        ],
    }


def examination_to_json(examination: Examination) -> list[dict[str, Any]]:
    """Keys of each finding: id, severity, message, hint, subject, examples, suppressed.

    The last is the runbook's reason why a finding does not matter, or empty.
    """
    return [
        *(_finding(it, "") for it in examination.findings),
        *(_finding(it.finding, it.reason) for it in examination.suppressed),
    ]


def findings_to_facts(examination: Examination) -> dict[str, Any]:
    """What the first line of a journal says of the check: the findings that the run went on with.

    Without the rows that are the cause: a journal is kept, and they may be of persons.
    """
    kept = ("id", "severity", "subject", "message", "suppressed")
    return {
        "findings": [{key: it[key] for key in kept} for it in examination_to_json(examination)],
    }


def predictions_to_facts(certificate: Certificate | None) -> dict[str, Any]:
    """What the first line of a journal says of the rehearsal that predicts how long the steps take."""
    if certificate is None:
        return {}
    return {"rehearsal": certificate.id, "predicted": certificate.predicted}


def _finding(finding: Finding, reason: str) -> dict[str, Any]:
    return {**dataclasses.asdict(finding), "suppressed": reason}


def report_to_json(report: Report) -> dict[str, Any]:
    """The fields of Report; times in ISO 8601, durations in seconds."""
    return dataclasses.asdict(report)


def dumps(value: Any) -> str:
    """Indented JSON; accents as they are."""
    return json.dumps(value, default=_plain, ensure_ascii=False, indent=2) + "\n"


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Path():
            return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(type(value).__name__)
