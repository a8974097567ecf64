"""A Django project that is loaded once and asked often: each request is answered by a fork of its own.

Run in the project's folder as a script. Requests and answers are lines of JSON. A request has `words`, those
of a management command, or `code`, Python with `connection`; `env`, and `options` of that connection. The
answer is what was printed, with the exit code. Migrations and runbooks are imported anew by each fork.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any


class WarmProject:
    """The other end: to be asked by a test."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=folder,
            env={**env, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def command(self, *words: str, env: Mapping[str, str], options: Mapping[str, str]) -> Answer:
        return self._ask({"words": words, "env": dict(env), "options": dict(options)})

    def python(self, code: str) -> str:
        """Run code that has `connection`. Raise AssertionError, with the traceback, if it fails."""
        answer = self._ask({"code": code, "env": {}, "options": {}})
        assert answer.exit == 0, answer.stderr
        return answer.stdout

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, request: dict[str, Any]) -> Answer:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Answer(**json.loads(self._process.stdout.readline()))


class Answer:
    """What a command or code ended with."""

    def __init__(self, exit: int, stdout: str, stderr: str) -> None:
        self.exit, self.stdout, self.stderr = exit, stdout, stderr

    def __repr__(self) -> str:
        return f"exit {self.exit}\n{self.stdout}\n{self.stderr}"


@contextmanager
def warm(folder: Path, env: dict[str, str]) -> Iterator[WarmProject]:
    project = WarmProject(folder, env)
    try:
        yield project
    finally:
        project.close()


def serve() -> None:
    """Load the project, then answer until the input ends."""
    sys.path.insert(0, str(Path.cwd()))
    import django

    django.setup()
    from django.core.management import load_command_class

    for app, command in (("django_runbook", "runbook"), ("django.core", "migrate")):
        load_command_class(app, command)
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            with os.fdopen(writing, "w") as pipe:
                pipe.write(json.dumps(answer(json.loads(line))))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            sys.stdout.write(f"{pipe.read()}\n")
            sys.stdout.flush()
        os.waitpid(child, 0)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    os.environ.update(request["env"])
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            perform(request)
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:
            traceback.print_exc()
            code = 70
    return {"exit": code, "stdout": out.getvalue(), "stderr": err.getvalue()}


def perform(request: dict[str, Any]) -> None:
    from django.core.management import execute_from_command_line
    from django.db import connection, connections

    connection.settings_dict["OPTIONS"].update(request["options"])
    try:
        if request.get("code"):
            exec(request["code"], {"connection": connection})  # noqa: S102
        else:
            execute_from_command_line(["manage.py", *request["words"]])
    finally:
        connections.close_all()


if __name__ == "__main__":
    serve()
