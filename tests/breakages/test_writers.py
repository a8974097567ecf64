"""Who writes while the check looks is not held up, and the check changes nothing."""

from __future__ import annotations

import pytest
from breakages import ALL
from patient import Patient

WRITING = """
import threading
from django.core.management import call_command
from django.db import connection, connections

ended = threading.Event()
counts = [0]


def write():
    cursor = connection.cursor()
    cursor.execute({timeout!r})
    while not ended.is_set():
        cursor.execute("UPDATE core_service SET effectif = effectif WHERE id = 7")
        cursor.execute("UPDATE core_agent SET role = role WHERE id = 3")
        counts[0] += 1
    connections.close_all()


writer = threading.Thread(target=write)
writer.start()
try:
    call_command("runbook", "check", verbosity=0)
finally:
    ended.set()
    writer.join()
assert counts[0] > 100, counts
"""
TIMEOUTS = {
    "sqlite": "PRAGMA busy_timeout = 200",
    "mariadb": "SET SESSION innodb_lock_wait_timeout = 1, SESSION lock_wait_timeout = 1",
    "postgresql": "SET lock_timeout = '200ms'",
}
"""After so long a writer that waits for a lock fails."""


@pytest.mark.parametrize("patient", ALL, indirect=True)
def test_a_writer_never_waits_for_a_lock_of_the_check(patient: Patient) -> None:
    printed = patient.ask.python(
        "import traceback, threading\n"
        "failed = []\n"
        "threading.excepthook = lambda it: failed.append(it.exc_value)\n"
        + WRITING.format(timeout=TIMEOUTS[patient.kind])
        + "assert not failed, failed\n"
    )
    assert "error" not in printed.lower()


@pytest.mark.parametrize("patient", ALL, indirect=True)
def test_a_check_changes_nothing(patient: Patient) -> None:
    before = patient.content()
    patient.command("runbook", "check")
    assert patient.content() == before
    assert not patient.project.runs.exists()
