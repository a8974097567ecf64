"""A worker in a process of its own: `python -m django_runbook.backfills.child ALIAS RUN BACKFILL OWNER`.

It leaves behind its present batch when its standard input ends: because the run wants it to, or is dead.
"""

from __future__ import annotations

import sys
from select import select

import django

IDLE = 0.1
"""Seconds between two looks for something to do."""


def main(alias: str, run_id: str, number: str, owner: str) -> None:
    django.setup()
    from django_runbook.backfills.part import Dismissed, taking_part
    from django_runbook.databases import get_database

    def leave_if_asked(wait: float = 0.0) -> None:
        if select([sys.stdin], [], [], wait)[0]:
            raise Dismissed("")

    with taking_part(get_database(alias), run_id, int(number), owner, safe_point=leave_if_asked) as part:
        while True:
            part.work_on_round()
            leave_if_asked(IDLE)


if __name__ == "__main__":
    main(*sys.argv[1:])
