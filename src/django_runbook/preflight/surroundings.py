"""What a database tells about its surroundings, as findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django_runbook.databases.surroundings import Trouble
from django_runbook.preflight.base import Finding, Severity


def told(id: str, troubles: Iterable[Trouble]) -> Iterator[Finding]:
    """One finding for each."""
    for it in troubles:
        yield Finding(
            id=id,
            severity=Severity.ERROR if it.is_error else Severity.WARNING,
            message=it.message,
            hint=it.hint,
            subject=it.subject,
            examples=it.examples,
        )
