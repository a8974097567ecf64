"""A Python that has imported Django and this package, and forks the processes of a project from itself.

To start one takes most of a second of a processor, and the tests start many hundreds. What is forked is a
process like any other, with an id to send signals to, its own environment, folder, files and exit code. It
has the modules of `APPS` and no settings, no app that is set up, no module of the project. Only one that is
to be started with other variables for Python itself than the tests were is not forked (`starts_alike`).

    with warm_python() as python:
        process = python.start(["manage.py", "migrate"], folder, env)
        process.send_signal(signal.SIGKILL)

Run as a script it is that Python; its argument is the file descriptor of a Unix socket of packets.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import random
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

LONGEST = 1 << 17
APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_runbook",
]
"""Those of the example's INSTALLED_APPS that are not its own."""
COMMANDS = [("django_runbook", "runbook"), ("django.core", "migrate"), ("django.core", "shell")]


class Forked:
    """A process, with what `subprocess.Popen` has of one."""

    def __init__(self, channel: socket.socket, outputs: Sequence[IO[bytes]]) -> None:
        self._channel = channel
        self._outputs = outputs
        pid, [self._handle], _flags, _address = socket.recv_fds(channel, LONGEST, 1)
        self.pid = int(pid)
        self.returncode: int | None = None

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def poll(self) -> int | None:
        """Its exit code, or the negative number of the signal that killed it; None while it lives."""
        with suppress(BlockingIOError):
            self._hear(socket.MSG_DONTWAIT)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raise TimeoutError if it lives longer than so many seconds."""
        if self.returncode is None:
            self._channel.settimeout(timeout)
            self._hear()
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end. Return what it wrote to its own files, stdout and stderr."""
        self.wait(timeout)
        said = ["", ""]
        for number, output in enumerate(self._outputs):
            with output:
                output.seek(0)
                said[number] = output.read().decode()
        stdout, stderr = said
        return stdout, stderr

    def _hear(self, flags: int = 0) -> None:
        if self.returncode is None:
            said = self._channel.recv(LONGEST, flags)
            assert said, "The Python that forks has ended."
            self.returncode = int(said)
            self._channel.close()
            os.close(self._handle)


class WarmPython:
    """The other end: to be asked by tests."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def start(
        self, words: Sequence[str], folder: Path, env: Mapping[str, str], *, log: IO[bytes] | None = None
    ) -> Forked:
        """Start `python words…` in the folder: a script in it, or -m and a module. Into `log` if given."""
        outputs = [] if log else [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - communicate closes
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with closing(theirs):
            request = json.dumps({"words": [*words], "folder": str(folder), "env": {**env}})
            files = [theirs, *([log, log] if log else outputs)]
            socket.send_fds(self._control, [request.encode()], [file.fileno() for file in files])
        return Forked(ours, outputs)


def starts_alike(env: Mapping[str, str]) -> bool:
    """Would a Python with these variables have started as the one that forks?"""
    return variables_of_python(env) == variables_of_python(os.environ)


def variables_of_python(env: Mapping[str, str]) -> dict[str, str]:
    others = {"PYTHONDONTWRITEBYTECODE"}  # which a process may change
    return {name: env[name] for name in env if name.startswith("PYTHON") and name not in others}


@contextmanager
def warm_python() -> Iterator[WarmPython]:
    """Run the Python that forks. Processes that live when the block ends go on."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ExitStack() as stack:
        with closing(theirs):
            command = [sys.executable, __file__, str(theirs.fileno())]
            stack.enter_context(subprocess.Popen(command, pass_fds=[theirs.fileno()]))
        stack.enter_context(closing(ours))  # by which it ends
        assert ours.recv(LONGEST) == b"ready", "The Python that forks has ended."
        yield WarmPython(ours)


# What follows runs in that Python.


def main(control: socket.socket) -> None:
    sys.path.pop(0)  # this folder, which a project's process has nothing to do with
    load()
    gc.freeze()
    control.send(b"ready")
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _events in selector.select():
                if key.fileobj is not control:
                    selector.unregister(key.fileobj)
                    tell_the_end(*key.data)
                elif not serve(control, selector):
                    return


def load() -> None:
    """Import what the processes will, and be again as if nothing had been set up."""
    import django
    from django.apps import apps
    from django.conf import empty, settings
    from django.core.management import load_command_class
    from django.db import connections
    from django.utils.timezone import get_default_timezone
    from django.utils.translation import trans_real

    settings.configure(INSTALLED_APPS=APPS, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
    django.setup()
    for app, command in COMMANDS:
        load_command_class(app, command)
    apps.app_configs.clear()
    apps.apps_ready = apps.models_ready = apps.ready = apps.loading = False
    apps.ready_event.clear()
    apps.clear_cache()
    settings._wrapped = empty
    del connections["default"], connections.settings
    connections._settings = None
    trans_real._default, trans_real._translations = None, {}
    assert not get_default_timezone.cache_info().currsize
    assert "rest_framework.views" not in sys.modules  # it reads settings when it is imported


def serve(control: socket.socket, selector: selectors.BaseSelector) -> bool:
    """Fork what is asked for. Return False if nobody asks any more."""
    request, descriptors, _flags, _address = socket.recv_fds(control, LONGEST, 3)
    if not request:
        return False
    pid = os.fork()
    if not pid:
        control.close()
        selector.close()
        be_a_process(json.loads(request), descriptors)
    channel = socket.socket(fileno=descriptors[0])
    for output in descriptors[1:]:
        os.close(output)
    handle = os.pidfd_open(pid)
    socket.send_fds(channel, [str(pid).encode()], [handle])
    selector.register(handle, selectors.EVENT_READ, (handle, pid, channel))
    return True


def tell_the_end(handle: int, pid: int, channel: socket.socket) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with channel, suppress(BrokenPipeError):
        channel.send(str(code).encode())
    os.close(handle)


def be_a_process(request: dict[str, Any], descriptors: Sequence[int]) -> NoReturn:
    """Run what is asked for, and end as Python does."""
    channel, *outputs = descriptors
    os.close(channel)
    with Path(os.devnull).open() as nothing:
        for number, descriptor in enumerate([nothing.fileno(), *outputs]):
            os.dup2(descriptor, number)
    for output in outputs:
        os.close(output)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["folder"])
    sys.path.insert(0, request["folder"])
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    os._exit(exit_code(request["words"]))


def exit_code(words: Sequence[str]) -> int:
    """Run `python words…` to its end, with all that it is to do then."""
    try:
        try:
            run(words)
        finally:
            threading._shutdown()
            atexit._run_exitfuncs()
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def run(words: Sequence[str]) -> None:
    if words[0] == "-m":
        sys.argv = list(words[1:])
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
