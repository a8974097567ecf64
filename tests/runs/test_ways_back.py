"""Out of an unfinished run: resume, undo, restore; and what is refused on the way."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest
from drill import (
    ADDED,
    SERVICES,
    Drill,
    all_moved,
    connected,
    content,
    entries,
    journal,
    journals,
    nothing_touched,
    numbers,
    runbook,
    state,
    status,
    write_runbook,
)
from example_project import Project

from django_runbook.journal import Event, RunStatus, read_journal, replay

StartDrill = Callable[[Project], Drill]
FAILING = (
    "Backup()",
    'Migrate("core", "0033")',
    'Migrate("core", "0034")',
    "Backfill(MoveServicesToSousDirections)",
    'Command(["false"])',
)
MENDED = (*FAILING[:-1], 'Command(["true"])')


def failed_run(project: Project, *steps: str) -> None:
    """A run that failed at the last of these steps."""
    write_runbook(project, "sous_directions", *(steps or FAILING))
    runbook(project, "run", "sous_directions", exit=1)
    assert status(project) is RunStatus.FAILED


def finish_anew(project: Project) -> None:
    """The mended runbook completes as a new run."""
    write_runbook(project, "sous_directions", *MENDED)
    runbook(project, "run", "sous_directions")
    assert len(journals(project)) == 2
    assert status(project) is RunStatus.FINISHED
    assert all_moved(project)


def test_after_a_backfill_undo_is_refused_and_restore_brings_back_the_state_before(
    at_0032: Project,
) -> None:
    before = content(at_0032)
    failed_run(at_0032)
    assert content(at_0032) != before
    with nothing_touched(at_0032):
        words = runbook(at_0032, "undo", exit=2).stderr
        refused = runbook(at_0032, "restore", exit=2).stderr
    assert "- 'Backfill(MoveServicesToSousDirections)' moved 100 rows" in words
    assert "- this would be lost: the rows of table core_sousdirection; the values of" in words
    assert f"`manage.py runbook restore {state(at_0032).backup}`" in words
    assert "Say --noinput if you mean it." in refused
    runbook(at_0032, "restore", "--noinput")
    assert content(at_0032) == before
    assert status(at_0032) is RunStatus.RESTORED
    assert "closed" in runbook(at_0032, "resume", state(at_0032).run_id, exit=2).stderr
    finish_anew(at_0032)


def test_an_undo_closes_a_run_that_changed_nothing(on_sqlite: Project) -> None:
    before = content(on_sqlite)
    failed_run(on_sqlite, "Backup()", 'Command(["false"])')
    runbook(on_sqlite, "undo")
    assert status(on_sqlite) is RunStatus.UNDONE
    assert content(on_sqlite) == before
    assert "There is no unfinished run" in runbook(on_sqlite, "resume", exit=2).stderr
    finish_anew(on_sqlite)


def test_a_database_restored_by_hand_is_seen_and_its_run_closed_by_undo(at_0032: Project) -> None:
    failed_run(at_0032)
    at_0032.at_0032(services=SERVICES)
    with nothing_touched(at_0032):
        words = runbook(at_0032, "resume", exit=2).stderr
    assert "The database was replaced or restored since run" in words
    assert f"`manage.py runbook undo {state(at_0032).run_id}`" in words
    runbook(at_0032, "undo")
    assert status(at_0032) is RunStatus.UNDONE
    finish_anew(at_0032)


def test_a_killed_run_blocks_another_and_status_tells_the_ways_out(
    on_sqlite: Project, start_drill: StartDrill
) -> None:
    drill = start_drill(on_sqlite)
    before = numbers(on_sqlite)
    drill.kill_at("backfill", "run", "drill")
    run = state(on_sqlite).run_id
    with nothing_touched(on_sqlite):
        for words in (["run", "drill"], ["run"]):
            refused = drill.runbook(*words, exit=2).stderr
            assert f"Run {run} on this database is not finished" in refused
            assert "`manage.py runbook resume`" in refused
        told = drill.runbook("status").stdout
        assert f"manage.py runbook resume {run}" in told
        assert f"manage.py runbook restore {state(on_sqlite).backup}" in told
        ways = json.loads(drill.runbook("status", "--format", "json").stdout)["ways_back"]
        assert {way["way"]: way["open"] for way in ways} == {"resume": True, "undo": True, "restore": True}
        listed = json.loads(drill.runbook("list", "--format", "json").stdout)
        assert [(it["stand"], it["run"]) for it in listed] == [("unfinished", run)]
    drill.runbook("resume", run[:12])
    assert numbers(on_sqlite) == {pk: number + ADDED for pk, number in before.items()}


ONCE = 'import os\n\nCOMMAND = "echo once >> done; [ -e killed ] || { touch killed; kill -9 $PPID; }"\n'


@pytest.mark.parametrize(("word", "times"), [("--assume-done", 1), ("--run-again", 2)])
def test_a_command_killed_on_its_way_runs_again_only_on_the_operators_word(
    on_sqlite: Project, word: str, times: int
) -> None:
    steps = ("Backup()", 'Command(["sh", "-c", COMMAND])', "Migrate.all()")
    write_runbook(on_sqlite, "once", *steps, code=ONCE)
    runbook(on_sqlite, "run", "once", exit=-signal.SIGKILL)
    done = on_sqlite.folder / "done"
    with nothing_touched(on_sqlite):
        words = runbook(on_sqlite, "resume", exit=2).stderr
    assert "started and never reported an outcome" in words
    assert "`manage.py runbook resume --assume-done`" in words
    assert "`manage.py runbook resume --run-again`" in words
    assert done.read_text().splitlines() == ["once"]
    runbook(on_sqlite, "resume", word)
    assert done.read_text().splitlines() == ["once"] * times
    assert status(on_sqlite) is RunStatus.FINISHED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_not_repeatable_does_not_run_again_because_it_was_interrupted(
    on_sqlite: Project, start_drill: StartDrill, number: signal.Signals
) -> None:
    drill = start_drill(on_sqlite)
    path = on_sqlite.folder / "core/runbooks/drill.py"
    path.write_text(path.read_text().replace(", repeatable=True", ""))
    ended = drill.stop_at("command", number, "run", "drill")
    assert ended.returncode == 130
    assert "manage.py runbook resume" in ended.stderr
    words = drill.runbook("resume", exit=2).stderr
    assert "--assume-done" in words
    drill.runbook("resume", "--assume-done")
    assert status(on_sqlite) is RunStatus.FINISHED


def test_a_second_run_is_refused_and_does_not_disturb_the_first(
    at_0032: Project, start_drill: StartDrill
) -> None:
    drill = start_drill(at_0032)
    before = numbers(at_0032)
    first = drill.pause_at("verify", "run", "drill")
    lines = journal(at_0032).read_bytes()
    run = state(at_0032).run_id
    refused = drill.runbook("run", "drill", exit=2).stderr
    holder = f"process {first.process.pid}" if at_0032.kind == "sqlite" else "session "
    assert f"Another run works on database 'default': {holder}" in refused
    for words in (["resume"], ["restore", "--noinput"]):
        refused = drill.runbook(*words, exit=2).stderr
        assert f"Run {run} is being worked on by another process." in refused, words
    assert run in drill.runbook("status").stdout
    assert journal(at_0032).read_bytes() == lines
    (drill.pauses / "release").touch()
    ended = first.end()
    assert ended.returncode == 0, ended.stderr
    assert len(journals(at_0032)) == 1
    assert status(at_0032) is RunStatus.FINISHED
    assert numbers(at_0032) == {pk: number + ADDED for pk, number in before.items()}


def test_a_finished_step_may_not_be_edited_and_the_failed_one_may(on_sqlite: Project) -> None:
    failed_run(on_sqlite)
    for edited in (
        ("Backup()", 'Migrate("core", "0034")', *FAILING[3:]),
        (*FAILING[:2], FAILING[3], FAILING[2], FAILING[4]),
    ):
        write_runbook(on_sqlite, "sous_directions", *edited)
        with nothing_touched(on_sqlite):
            words = runbook(on_sqlite, "resume", exit=2).stderr
        assert "was edited, moved or removed after it had run." in words
        assert "only steps that have not succeeded may be mended" in words
    slower = "Backfill(MoveServicesToSousDirections, batch_size=7)"
    write_runbook(on_sqlite, "sous_directions", *MENDED[:3], slower, *MENDED[4:])
    runbook(on_sqlite, "resume")
    assert status(on_sqlite) is RunStatus.FINISHED
    assert all_moved(on_sqlite)


def test_an_edited_task_or_migration_of_a_finished_step_is_refused(on_sqlite: Project) -> None:
    failed_run(on_sqlite)
    for name, where in (
        ("core/backfills.py", "        return attach_services"),
        ("core/migrations/0033_sous_direction.py", "    operations = ["),
    ):
        file = on_sqlite.folder / name
        sound = file.read_text()
        assert where in sound
        file.write_text(sound.replace(where, f"        # edited\n{where}"))
        assert "was edited, moved or removed" in runbook(on_sqlite, "resume", exit=2).stderr
        file.write_text(sound)


def damage_a_byte(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1], lines[2].replace(b"started", b"Started"), *lines[3:]]


DAMAGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a changed byte": damage_a_byte,
    "a removed line": lambda lines: [*lines[:3], *lines[4:]],
    "removed lines at the end": lambda lines: lines[:-3],
    "swapped lines": lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_journal_edited_by_hand_is_refused(
    on_sqlite: Project, damage: Callable[[list[bytes]], list[bytes]]
) -> None:
    failed_run(on_sqlite)
    write_runbook(on_sqlite, "sous_directions", *MENDED)
    path = journal(on_sqlite)
    whole = path.read_bytes()
    path.write_bytes(b"".join(damage(whole.splitlines(keepends=True))))
    with nothing_touched(on_sqlite):
        words = runbook(on_sqlite, "resume", exit=2).stderr
    assert "Put the file back" in words or "Put the journal back" in words
    assert "manage.py runbook restore" in words
    path.write_bytes(whole)
    runbook(on_sqlite, "resume")
    assert all_moved(on_sqlite)


def test_a_restore_works_although_the_journal_is_damaged(on_sqlite: Project) -> None:
    before = content(on_sqlite)
    failed_run(on_sqlite)
    path = journal(on_sqlite)
    path.write_bytes(path.read_bytes().replace(b"started", b"Started"))
    runbook(on_sqlite, "restore", "--noinput")
    assert content(on_sqlite) == before


def test_a_torn_last_line_is_dropped(on_sqlite: Project) -> None:
    failed_run(on_sqlite)
    path = journal(on_sqlite)
    count = len(entries(on_sqlite))
    with path.open("ab") as file:
        file.write(b'{"seq": 99, "at": "2026-')
    assert "failed" in runbook(on_sqlite, "status").stdout
    write_runbook(on_sqlite, "sous_directions", *MENDED)
    runbook(on_sqlite, "resume")
    assert entries(on_sqlite)[count].event is Event.RESUMED
    assert status(on_sqlite) is RunStatus.FINISHED


def test_a_restore_tells_what_it_loses_and_refuses_while_others_are_connected(at_0032: Project) -> None:
    runbook(at_0032, "backup")
    with connected(at_0032) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM core_service WHERE id > 90")
        refused = runbook(at_0032, "restore", "--noinput", exit=2).stderr
        assert "Others are connected to database 'default':\n- " in refused
        assert "say --while-connected if you mean it." in refused
        cursor.execute("SELECT COUNT(*) FROM core_service")
        assert cursor.fetchone() == (90,)
    told = json.loads(runbook(at_0032, "restore", "--noinput", "--format", "json").stdout)
    place = "public." if at_0032.kind == "postgresql" else ""
    lost = [words.removeprefix(place) for words in told["lost"]]
    assert lost == ["core_service: 10 rows fewer than in the backup, which come back"]
    assert told["seconds"] > 0
    with connected(at_0032) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM core_service WHERE id > 90")
        runbook(at_0032, "restore", "--noinput", "--while-connected")
        cursor.execute("SELECT COUNT(*) FROM core_service")
        assert cursor.fetchone() == (SERVICES,)


def test_a_restore_takes_back_every_run_since_the_backup(on_sqlite: Project) -> None:
    runbook(on_sqlite, "backup")
    backup = next((on_sqlite.folder / "var/runbook/backups").glob("*.manifest.json"))
    for number, steps in enumerate((["Backup()", 'Migrate("core", "0033")'], ["Backup()", "Migrate.all()"])):
        write_runbook(on_sqlite, f"number_{number}", *steps)
        runbook(on_sqlite, "run", f"number_{number}")
    runbook(on_sqlite, "restore", str(backup), "--noinput")
    stands = [replay(read_journal(path)).status for path in journals(on_sqlite)]
    assert stands == [RunStatus.RESTORED, RunStatus.RESTORED]
    listed = json.loads(runbook(on_sqlite, "list", "--format", "json").stdout)
    assert {it["stand"] for it in listed if it["label"].startswith("core.number_")} == {"pending"}
