"""The same values for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django_runbook.plan import Plan
from django_runbook.preflight import Finding
from django_runbook.report.build import Report


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Keys: runbook, covers, steps (key, title, reason, fingerprint and the step's nature)."""
    return {
        "runbook": plan.runbook,
        "covers": list(plan.covers),
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
            }
            for planned in plan.steps
        ],
    }


def findings_to_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Keys of each: id, severity, message, hint."""
    return [dataclasses.asdict(finding) for finding in findings]


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
