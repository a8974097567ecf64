"""Child processes with the test's databases, to be really killed.

with start_child('''
    with get_database("default").lock():
        ready()
        wait()
''', database) as child:
    child.wait_until_ready()
    child.kill()
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from settings import DATABASES_FROM_PARENT

from django_runbook.databases import Database

PROLOGUE = """
import os, sys
{before_setup}
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
from django_runbook.databases import get_database

def ready(word="ready"):
    print(word, flush=True)

def wait():
    sys.stdin.read()

"""


class Child:
    """A Python process that says when it is ready, and waits until it is killed or let go."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until_ready(self, word: str = "ready") -> None:
        """Wait for the child's `ready()`. Raise AssertionError, with what it said instead, if it ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if line != word:
            self.kill()
            assert self.process.stderr is not None
            raise AssertionError(f"The child said {line!r} and {self.process.stderr.read()}")

    def let_go(self) -> int:
        """End the child's `wait()` and give its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=30)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait()


@contextmanager
def start_child(code: str, *databases: Database, before_setup: str = "") -> Iterator[Child]:
    """Run Python code in a process with Django set up and `databases` at their aliases.

    The code has `get_database`, `ready()` and `wait()`; `before_setup` runs before Django does.
    """
    names = ("HOST", "PORT", "USER", "PASSWORD", "NAME", "OPTIONS")
    places = {
        database.alias: {name: database.connection.settings_dict[name] for name in names}
        for database in databases
    }
    with subprocess.Popen(
        [sys.executable, "-c", PROLOGUE.format(before_setup=before_setup) + textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            DATABASES_FROM_PARENT: json.dumps(places),
        },
    ) as process:
        try:
            yield Child(process)
        finally:
            process.kill()
