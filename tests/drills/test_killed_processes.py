"""Wagtail's whole history, by processes that are killed with SIGKILL again and again.

What is drawn comes from RUNBOOK_DRILL_SEED, by default always the same; where a death falls between two
moments is up to the machine. RUNBOOK_DRILL_KILLS=500 makes at least so many kills in one history on MariaDB,
and a fifth of them on the others, where a migration that is one transaction begins anew after each.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import pytest
from drills import Drill, Reference
from witnesses import MariaDBWitness, PostgreSQLWitness

KILLS = int(os.environ.get("RUNBOOK_DRILL_KILLS", "20" if os.environ.get("CI") else "200"))
MOMENTS = {"mariadb": 4400, "postgresql": 1100, "sqlite": 1900}
"""About as many has the history, fewer where work is lost: measures how far each process should come."""
SHARE = {"mariadb": 1.0, "postgresql": 0.2, "sqlite": 0.2}
"""Of KILLS."""

MakeDrill = Callable[[str], Drill]
KnowReference = Callable[[str], Reference]


def test_a_history_killed_hundreds_of_times_on_mariadb_ends_as_if_it_had_not(
    make_drill: MakeDrill, reference: KnowReference
):
    """And no schema statement takes effect twice, or is left out.

    By the binary log, each succeeded as often as in an undisturbed run by plain `migrate`; more often only if
    it changes nothing. By the general log, what arrived and did not succeed is at most one statement for each
    kill, and no process sent anything by another session than its own.
    """
    wanted, drill = reference("mariadb"), make_drill("mariadb")
    witness = MariaDBWitness(drill.database)
    kill_to_the_end(drill, "mariadb")
    effects, sent = witness.effects(), witness.sent()
    wanted.assert_same(drill, effects)
    assert effects <= sent
    assert (sent - effects).total() <= len(drill.cuts)
    assert len(witness.sessions()) <= len(drill.cuts) + 1
    assert len(drill.cuts) >= KILLS


def test_a_history_killed_again_and_again_on_postgresql_ends_as_if_it_had_not(
    make_drill: MakeDrill, reference: KnowReference
):
    """And each schema statement was kept exactly as often as in an undisturbed run by plain `migrate`."""
    wanted, drill = reference("postgresql"), make_drill("postgresql")
    witness = PostgreSQLWitness(drill.database)
    kill_to_the_end(drill, "postgresql")
    wanted.assert_same(drill, witness.effects())
    assert len(drill.cuts) >= KILLS * SHARE["postgresql"]


def test_a_history_killed_again_and_again_on_sqlite_ends_as_if_it_had_not(
    make_drill: MakeDrill, reference: KnowReference
):
    """There is no witness: SQLite writes nothing down. A second effect would be seen in schema and rows."""
    wanted, drill = reference("sqlite"), make_drill("sqlite")
    kill_to_the_end(drill, "sqlite")
    assert drill.outcome == wanted.outcome, str(drill)
    assert len(drill.cuts) >= KILLS * SHARE["sqlite"]


def kill_to_the_end(drill: Drill, kind: str) -> None:
    """Every kill of the drill was one: the process's status says SIGKILL, or it is not counted."""
    reach = max(2, int(2.2 * MOMENTS[kind] / (KILLS * SHARE[kind])) - 15)
    drill.kill_to_the_end(reach)
    drill.finish()
    print(drill, Counter(cut.way for cut in drill.cuts), drill.in_flight)  # noqa: T201 - for pytest -rP


@pytest.mark.parametrize("without", ["seeing changes", "seeing that nothing changed"])
def test_without_the_mechanism_a_killed_history_does_not_come_to_its_end(make_drill: MakeDrill, without: str):
    """A statement that took effect is sent again, or one that did not is left out."""
    drill = make_drill("mariadb")
    with pytest.raises(AssertionError, match=r"\((1005|1050|1054|1060|1061|1091|1146|1364),"):
        drill.kill_to_the_end(reach=20, without=without)
    assert drill.cuts
