"""What the check before step one makes of its findings: order, time, suppressions, refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import Error as AnyDatabaseError
from django.db import migrations, models
from library import INITIAL, add, runbook, start

from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.plan import Plan, make_plan
from django_runbook.preflight import (
    CHECKS,
    OPERATION_CHECKS,
    PLAN_CHECKS,
    SITUATION_CHECKS,
    Check,
    Examination,
    Finding,
    Severity,
    examination,
    refuse_findings,
)
from django_runbook.preflight import examine as examine_all
from django_runbook.preflight.coming import Coming
from django_runbook.steps import Backup, Migrate

LONG, SHORT = timedelta(minutes=1), timedelta(milliseconds=200)
ADDS = ("0002_more", [add("age", models.IntegerField(null=True)), add("town", models.TextField(null=True))])

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def plan(**suppressed: str) -> Plan:
    made = make_plan(runbook(Backup(), Migrate.all()), start(INITIAL, ADDS, applied=[INITIAL[0]]))
    return replace(made, suppressed={f"runbook.{key}": reason for key, reason in suppressed.items()})


def finding(id: str, severity: Severity = Severity.ERROR, subject: str = "") -> Finding:
    return Finding(id=id, severity=severity, message=f"{id} fires.", hint="Mend it.", subject=subject)


def check(number: str, look: Callable[..., Iterator[Finding]], **more: bool) -> Check:
    return Check(id=f"runbook.{number}", title=f"{number} holds", look=look, **more)


def finds(number: str, severity: Severity = Severity.ERROR, subject: str = "", **more: bool) -> Check:
    return check(number, lambda *world: iter([finding(f"runbook.{number}", severity, subject)]), **more)


def examine(
    database: Database,
    plan: Plan | None,
    *,
    situation: tuple[Check, ...] = (),
    for_plan: tuple[Check, ...] = (),
    for_operations: tuple[Check, ...] = (),
    limit: timedelta = LONG,
) -> Examination:
    return examination.examine(
        database,
        lambda: plan,
        limit,
        situation=situation,
        for_plan=for_plan,
        for_operations=for_operations,
    )


@on_sqlite
def test_the_worst_stands_first_and_each_operation_is_looked_at(database: Database) -> None:
    seen: list[str] = []

    def look(it: Coming, database: Database) -> Iterator[Finding]:
        seen.append(f"{it.migration}: {it.words}")
        yield finding("runbook.P3", Severity.ERROR, it.migration)

    found = examine(
        database,
        plan(),
        situation=(finds("P1", Severity.WARNING),),
        for_plan=(finds("P2", Severity.WARNING),),
        for_operations=(check("P3", look),),
    )
    assert [it.id for it in found.findings] == ["runbook.P3", "runbook.P3", "runbook.P1", "runbook.P2"]
    assert seen == [
        "library.0002_more: Add field age to author",
        "library.0002_more: Add field town to author",
    ]


@on_sqlite
def test_no_plan_is_made_where_a_finding_bars_it(database: Database) -> None:
    def load() -> Plan:
        raise AssertionError

    barring = (finds("P1", bars_plan=True),)
    found = examination.examine(
        database, load, LONG, situation=barring, for_plan=(finds("P2"),), for_operations=()
    )
    assert [it.id for it in found.findings] == ["runbook.P1"]
    assert found.plan is None
    warned = examine(database, plan(), situation=(finds("P1", Severity.WARNING, bars_plan=True),))
    assert warned.plan


@on_sqlite
def test_a_refused_plan_is_told_beside_the_findings_so_far(database: Database) -> None:
    def load() -> Plan:
        raise Refused("There is no such runbook.")

    found = examination.examine(
        database,
        load,
        LONG,
        situation=(finds("P1", Severity.WARNING),),
        for_plan=(finds("P2"),),
        for_operations=(),
    )
    assert [it.id for it in found.findings] == ["runbook.P1"]
    with pytest.raises(Refused, match=r"There is no such runbook\."):
        refuse_findings(found)


def test_what_the_time_limit_cut_off_is_named_and_what_was_found_before_stays(database: Database) -> None:
    def look(it: Coming, database: Database) -> Iterator[Finding]:
        yield finding("runbook.P3", Severity.WARNING)
        while True:
            database.ask("SELECT 1")

    found = examine(database, plan(), for_operations=(check("P3", look),), limit=SHORT)
    unchecked, *rest = found.findings
    assert [it.id for it in rest] == ["runbook.P3", "runbook.P3"]
    assert unchecked == Finding(
        id="runbook.P3",
        severity=Severity.UNCHECKED,
        message="Not checked: P3 holds. Time was up.",
        hint="Give it more time with `manage.py runbook check --time-limit SECONDS`, or the user of the "
        "database the right that is missing; if it is neither, the log has the traceback.",
        examples=(
            "library.0002_more: Add field age to author",
            "library.0002_more: Add field town to author",
        ),
    )
    refuse_findings(found)
    with pytest.raises(Refused, match="P3 holds"):
        refuse_findings(found, Severity.UNCHECKED)


def test_what_the_server_refuses_to_tell_is_not_checked(database: Database) -> None:
    def look(database: Database) -> Iterator[Finding]:
        database.ask("SELECT secret FROM nowhere")
        yield finding("runbook.P1")

    found = examine(database, None, situation=(check("P1", look), finds("P2", Severity.WARNING)))
    assert [(it.id, it.severity) for it in found.findings] == [
        ("runbook.P1", Severity.UNCHECKED),
        ("runbook.P2", Severity.WARNING),
    ]
    assert "nowhere" in found.findings[0].message


@on_sqlite
def test_a_check_that_has_a_defect_is_not_made_and_the_others_are(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def look(database: Database) -> Iterator[Finding]:
        yield finding(str(1 // 0))

    found = examine(database, None, situation=(check("P1", look), finds("P2", Severity.WARNING)))
    assert [(it.id, it.severity) for it in found.findings] == [
        ("runbook.P1", Severity.UNCHECKED),
        ("runbook.P2", Severity.WARNING),
    ]
    assert "ZeroDivisionError" in found.findings[0].message
    assert "runbook.P1 failed" in caplog.text


@on_sqlite
def test_a_record_that_cannot_be_read_is_a_refusal(database: Database) -> None:
    def load() -> Plan:
        database.ask("SELECT * FROM nowhere")
        raise AssertionError

    found = examination.examine(database, load, LONG, situation=(), for_plan=(), for_operations=())
    with pytest.raises(Refused, match="What is applied on database 'default' cannot be read: no such table"):
        refuse_findings(found)


def test_no_check_can_change_anything(database: Database) -> None:
    database.ask_nothing("CREATE TABLE t (id INTEGER)")

    def look(database: Database) -> Iterator[Finding]:
        database.ask_nothing("DROP TABLE t")
        yield finding("runbook.P1")

    found = examine(database, None, situation=(check("P1", look),))
    assert [it.severity for it in found.findings] == [Severity.UNCHECKED]
    assert database.ask("SELECT COUNT(*) FROM t") == [(0,)]
    with pytest.raises(AnyDatabaseError):
        database.ask_nothing("CREATE TABLE t (id INTEGER)")


@on_sqlite
def test_a_suppressed_finding_stands_aside_with_its_reason(database: Database) -> None:
    checks = (finds("P1", subject="library_author"), finds("P2", subject="library_book"))
    found = examine(database, replace(plan(P1="Known."), covers=()), for_plan=checks)
    assert [it.id for it in found.findings] == ["runbook.P2"]
    assert [(it.finding.id, it.reason) for it in found.suppressed] == [("runbook.P1", "Known.")]
    narrow = replace(
        plan(), suppressed={"runbook.P1:library_book": "No.", "runbook.P2:library_book": "Small."}
    )
    found = examine(database, narrow, for_plan=checks)
    assert [it.id for it in found.findings] == ["runbook.P1"]
    assert [it.reason for it in found.suppressed] == ["Small."]


@on_sqlite
@pytest.mark.parametrize(
    ("key", "reason", "message"),
    [
        (
            "runbook.P999",
            "Because.",
            "`suppressed` names 'runbook.P999', and there is no such check.\n"
            'Write an id, as in "runbook.P501", or an id and what it is about, as in '
            '"runbook.P501:core_service".',
        ),
        (
            "runbook.P104",
            "Because.",
            "runbook.P104 cannot be suppressed: no run is safe unless nobody else runs a runbook on this "
            "database.\nTake it out of `suppressed`.",
        ),
        (
            "runbook.P106",
            " ",
            "`suppressed` gives no reason for runbook.P106.\n"
            "Say why it does not matter; the run's journal and report will show it.",
        ),
    ],
)
def test_a_suppression_that_says_nothing_is_refused(
    database: Database, key: str, reason: str, message: str
) -> None:
    wrong = replace(plan(), suppressed={key: reason})
    with pytest.raises(Refused) as refused:
        refuse_findings(examine_all(database, lambda: wrong, LONG))
    assert str(refused.value) == message


def test_each_check_has_an_id_of_its_own_and_a_title() -> None:
    listed = [*SITUATION_CHECKS, *PLAN_CHECKS, *OPERATION_CHECKS]
    assert len({it.id for it in listed}) == len(listed) == len(CHECKS)
    assert all(str(it.title) for it in listed)


def test_an_operation_of_a_new_table_is_not_here() -> None:
    written = (
        INITIAL,
        ("0002", [migrations.CreateModel("Book", [("id", models.BigAutoField(primary_key=True))])]),
    )
    made = make_plan(runbook(Backup(), Migrate.all()), start(*written, applied=[INITIAL[0]]))
    [it] = examination.coming(made, "default")
    assert not it.is_here(("library", "book"))
    assert it.is_here(("library", "author"))
