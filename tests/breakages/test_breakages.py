"""Whatever is broken under a release is found before step one, and by no run."""

from __future__ import annotations

import json
from functools import cache

import pytest
from breakages import ALL, BREAKAGES, Breakage
from patient import Patient
from sampling import some_cases_in_ci

LEAST = 40
"""Different breakages, of which each is found."""


Known = dict[str, set[tuple[str, str]]]


def found(patient: Patient) -> Known:
    """Severities and messages by id of check."""
    answer = patient.command("runbook", "check", "--format", "json")
    assert answer.exit in (0, 2), answer
    known: Known = {}
    for it in json.loads(answer.stdout):
        known.setdefault(it["id"], set()).add((it["severity"], it["message"]))
    assert ("error" in severities(known)) == (answer.exit == 2)
    return known


def severities(known: Known) -> set[str]:
    return {severity for messages in known.values() for severity, _message in messages}


@pytest.mark.parametrize("patient", ALL, indirect=True)
def test_the_sound_release_has_no_error_and_runs(patient: Patient) -> None:
    assert severities(found(patient)) <= {"warning"}
    ended = patient.command("runbook", "run", "--noinput")
    assert ended.exit == 0, ended


@cache
def of_the_sound(patient: Patient) -> Known:
    return found(patient)


@pytest.mark.parametrize(
    ("patient", "breakage"),
    some_cases_in_ci(
        [pytest.param(kind, it, id=f"{kind}-{it.words}") for it in BREAKAGES for kind in it.kinds],
        one_in=5,
    ),
    indirect=["patient"],
)
def test_a_breakage_is_found_before_step_one(patient: Patient, breakage: Breakage) -> None:
    if breakage.severity == "error":
        refused(patient, breakage)
    else:
        sound = of_the_sound(patient).get(breakage.id, set())
        breakage.harm(patient)
        new = found(patient).get(breakage.id, set()) - sound
        assert breakage.severity in {severity for severity, _message in new}
    if patient.kind in breakage.fails:
        assert patient.command("migrate", "--noinput", "-v", "0").exit


def refused(patient: Patient, breakage: Breakage) -> None:
    """Assert that a run is refused for this very reason, with nothing touched."""
    breakage.harm(patient)
    before = patient.content()
    ended = patient.command("runbook", "run", "--noinput")
    assert ended.exit == 2, ended
    assert f"{breakage.id}: " in ended.stderr, ended
    assert patient.content() == before


def test_there_are_as_many_breakages_as_promised() -> None:
    assert len({it.words for it in BREAKAGES}) == len(BREAKAGES) >= LEAST
    assert {kind for it in BREAKAGES for kind in it.kinds} == set(ALL)
