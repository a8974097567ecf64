"""What Celery's workers find here: `celery -A PROJECT worker` registers it by autodiscovery."""

from __future__ import annotations

import time

from celery import shared_task

from django_runbook.backfills.crews import TAKE_PART
from django_runbook.backfills.part import Dismissed, new_owner, taking_part
from django_runbook.databases import get_database

STINT = 60.0
"""Seconds after which a worker leaves, to be called anew: so that it can be restarted, and do other tasks."""


@shared_task(name=TAKE_PART, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def take_part(alias: str, run_id: str, number: int) -> None:
    """Work on a backfill's rows for a while; safe however often it is delivered."""
    began = time.monotonic()

    def leave_in_time() -> None:
        if time.monotonic() - began >= STINT:
            raise Dismissed("")

    with taking_part(get_database(alias), run_id, number, new_owner(), safe_point=leave_in_time) as part:
        part.work_on_round()
