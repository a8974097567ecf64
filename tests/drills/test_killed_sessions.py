"""Wagtail's whole history, by processes whose session the server's administrator ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from drills import Drill, Reference
from sampling import some_cases_in_ci
from witnesses import WITNESSES

REACH = {"mariadb": 800, "postgresql": 300}
"""Moments that each process has at most until its session is killed."""
KILL = {"mariadb": "KILL CONNECTION %s", "postgresql": "SELECT pg_terminate_backend(%s)"}


@pytest.mark.parametrize("kind", some_cases_in_ci(list(REACH)))
def test_a_history_whose_sessions_are_killed_ends_as_if_they_had_not_been(
    make_drill: Callable[[str], Drill], reference: Callable[[str], Reference], kind: str
):
    """Each process ends with an error that says what to do, without having opened another session."""
    wanted, drill = reference(kind), make_drill(kind)
    witness = WITNESSES[kind](drill.database)

    def kill_session() -> None:
        drill.database.ask_nothing(KILL[kind], [drill.cuts[-1].stop["session"]])

    while drill.disturb(REACH[kind], kill_session):
        pass
    drill.finish()
    print(drill)  # noqa: T201 - for pytest -rP
    wanted.assert_same(drill, witness.effects())
    assert len(drill.cuts) >= 5
