from __future__ import annotations

import gc
import io
import os
import signal
import time
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest

from django_runbook.exceptions import ProgramFailed
from django_runbook.programs import feed_program, read_program, redact, run_program


def test_the_output_of_a_short_command_is_returned() -> None:
    assert run_program(["sh", "-c", "echo out; echo err >&2"]) == "out\nerr"


def test_a_failure_is_told_in_the_programs_own_words() -> None:
    with pytest.raises(ProgramFailed) as caught:
        run_program(["sh", "-c", "echo 'Unit gunicorn.service not found.' >&2; exit 5"])
    assert str(caught.value) == "sh ended with exit code 5: Unit gunicorn.service not found."


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ProgramFailed) as caught:
        run_program(["systemctll", "restart", "gunicorn"])
    assert str(caught.value) == (
        "The program systemctll was not found on PATH.\nInstall it, or correct PATH."
    )


def test_a_program_ended_by_a_signal_is_told_so() -> None:
    with pytest.raises(ProgramFailed, match=r"^sh was ended by SIGTERM\.$"):
        run_program(["sh", "-c", "kill -TERM $$"])


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises, although a shell that starts its jobs in the background has let it be ignored.

    And no garbage is collected meanwhile: Python drops a KeyboardInterrupt that falls into a `__del__`.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_a_program_is_being_started_leaves_none_behind() -> None:
    before = children()
    for moment in range(200):
        thread = Thread(target=interrupt_in, args=(moment * 1e-5,))
        with pytest.raises(KeyboardInterrupt):
            start_and_wait(thread)
        thread.join()
        assert children() == before, f"at {moment}"


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def start_and_wait(thread: Thread) -> None:
    thread.start()
    run_program(["sleep", "60"])


def interrupt_in(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
    os.kill(os.getpid(), signal.SIGINT)


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(ProgramFailed, match=r"^sh did not end within 0:00:00.500000"):
        run_program(
            ["sh", "-c", f"sleep 600 & echo $! > {pid_file}; wait"], timeout=timedelta(milliseconds=500)
        )
    wait_for_the_end(int(pid_file.read_text()))


def test_a_program_is_ended_when_its_reader_is_interrupted(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    class Interrupting(io.BytesIO):
        def write(self, chunk: object) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_program(
            ["sh", "-c", f"echo $$ > {pid_file}; head -c 1000000 /dev/zero; exec sleep 600"], Interrupting()
        )
    wait_for_the_end(int(pid_file.read_text()))


def test_a_program_is_ended_before_it_can_take_a_part_for_the_whole(tmp_path: Path) -> None:
    result = tmp_path / "result"

    def chunks() -> Iterator[bytes]:
        yield b"a part"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        feed_program(["sh", "-c", f"cat > /dev/null; echo whole > {result}"], chunks())
    assert not result.exists()


def test_a_program_that_stops_reading_is_told_by_its_own_words() -> None:
    with pytest.raises(ProgramFailed, match="exit code 3: bad line"):
        feed_program(["sh", "-c", "echo 'bad line' >&2; exit 3"], (b"x" * 2**20 for _ in range(10)))


def test_a_program_that_stops_reading_and_reports_success_has_failed() -> None:
    with pytest.raises(ProgramFailed, match="ended before it had read all of its input"):
        feed_program(["true"], (b"x" * 2**20 for _ in range(10)))


def test_much_output_flows_through_in_little_memory(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with (tmp_path / "out").open("wb") as target:
            read_program(["sh", "-c", "head -c 50000000 /dev/zero; head -c 5000000 /dev/zero >&2"], target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out").stat().st_size == 50_000_000
    assert peak < 4 * 2**20


def test_the_environment_is_added_to_ours() -> None:
    said = run_program(["sh", "-c", "echo $WORD $HOME"], env={"WORD": "word"})
    assert said == f"word {os.environ['HOME']}"


def test_secrets_are_removed_as_they_are_and_percent_encoded() -> None:
    text = "mysql://me:p%40ss@db, p@ss, p@ssword"
    assert redact(text, ["p@ss", "p@ssword", ""]) == "mysql://me:***@db, ***, ***"


def wait_for_the_end(pid: int) -> None:
    """Of a process that has been sent SIGTERM; a grandchild's end nobody waits for. Raise TimeoutError."""
    until = time.monotonic() + 5
    while is_alive(pid):
        if time.monotonic() > until:
            raise TimeoutError(f"process {pid} lives on")
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
