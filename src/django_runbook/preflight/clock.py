"""runbook.P117: the server's clock and this machine's agree."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity

TOLERATED = 5
"""Seconds."""


def check_clock(database: Database) -> Iterator[Finding]:
    """Runs are named and ordered by this machine's clock, rows and the server's log by the server's."""
    before = time.time()
    there = database.surroundings.clock()
    after = time.time()
    if there is None or before - TOLERATED <= there <= after + TOLERATED:
        return
    apart = there - (before + after) / 2
    yield Finding(
        id="runbook.P117",
        severity=Severity.WARNING,
        message=(
            _("The clock of the server of database '%(alias)s' is %(seconds)d s ahead of this machine's.")
            if apart > 0
            else _("The clock of the server of database '%(alias)s' is %(seconds)d s behind this machine's.")
        )
        % {"alias": database.alias, "seconds": abs(apart)},
        hint=_(
            "Set both by NTP (`timedatectl` shows whether that is on); the run's journal has this machine's."
        ),
    )


CHECK = Check(
    id="runbook.P117",
    title=gettext_lazy("the server's clock and this machine's agree"),
    look=check_clock,
)
