"""Where a run's backfills stand, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils.translation import gettext as _
from rich.console import Group, RenderableType
from rich.text import Text

from django_runbook.backfills.standing import BackfillStanding


def backfills_to_text(standings: Sequence[BackfillStanding]) -> RenderableType:
    """How far each is, what it waits for, and the rows that were set aside."""
    if not standings:
        return Text(_("This run has begun no backfill."))
    return Group(*(Text(line, overflow="fold") for standing in standings for line in _lines(standing)))


def _lines(standing: BackfillStanding) -> Iterator[str]:
    percent = 100 * standing.seen // standing.expected if standing.expected else 100
    yield _("%(step)s: %(seen)d of about %(expected)d rows (%(percent)d %%), %(rows)d changed") % {
        "step": standing.step,
        "seen": standing.seen,
        "expected": standing.expected,
        "percent": percent,
        "rows": standing.rows,
    }
    if standing.done:
        yield "  " + _("done")
    elif standing.halted:
        yield "  " + _("halted: %(reason)s") % {"reason": standing.halted}
    elif standing.workers:
        yield "  " + _("at work: %(workers)d, in batches of %(size)d") % {
            "workers": standing.workers,
            "size": standing.batch_size,
        }
    for row in standing.quarantined:
        yield "  " + _("set aside: %(key)s: %(error)s") % {"key": row.key, "error": row.error}
