"""A project that can be broken, looked at, and made sound again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from example_project import Place, Project
from warm_project import Answer, WarmProject


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patient:
    """The worked example at core.0032, before the release of `release.py`."""

    project: Project
    ask: WarmProject
    sound_place: Place
    sound_files: Path
    env: dict[str, str] = field(default_factory=dict)
    """Variables that its commands find."""
    options: dict[str, str] = field(default_factory=dict)
    """What the settings say to each new session."""
    others: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.project.kind

    @property
    def core(self) -> Path:
        return self.project.folder / "core"

    def command(self, *words: str) -> Answer:
        return self.ask.command(*words, env=self.env, options=self.options)

    def sql(self, *statements: str) -> None:
        self.ask.python(f"for it in {statements!r}:\n    connection.cursor().execute(it)")

    def content(self) -> str:
        """All that is in the database, but the ledger's tables."""
        return self.ask.python(CONTENT)

    def hold(self, code: str) -> None:
        """Let another process do something, and not end."""
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD.format(code=code)],
            cwd=self.project.folder,
            env=self.project.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self.others.append(process)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"

    def heal(self) -> None:
        """Make it sound again, whatever was done to it."""
        while self.others:
            self.others.pop().communicate()
        self.env.clear()
        self.options.clear()
        if self.kind == "mariadb":
            self.ask.python(END_PREPARED)
        self.project.place.copy_from(self.sound_place)
        shutil.rmtree(self.core)
        shutil.copytree(self.sound_files, self.core)
        if self.project.runs.is_file():
            self.project.runs.unlink()
        shutil.rmtree(self.project.runs, ignore_errors=True)


END_PREPARED = """
from contextlib import suppress
from django.db import OperationalError
with connection.cursor() as cursor:
    cursor.execute("XA RECOVER")
    for *_rest, name in cursor.fetchall():
        with suppress(OperationalError):  # MariaDB may say of one that it was rolled back, and mean success
            cursor.execute("XA ROLLBACK %s", [name])
    cursor.execute("XA RECOVER")
    assert not cursor.fetchall()
"""
"""Such a transaction is the server's, and outlives its database."""

HOLD = """
import django
django.setup()
{code}
print("ready", flush=True)
input()
"""
CONTENT = """
cursor = connection.cursor()
about = connection.introspection
for table in sorted(about.table_names(cursor)):
    if not table.startswith("django_runbook_"):
        quoted = connection.ops.quote_name(table)
        print(table, [it[:2] for it in about.get_table_description(cursor, table)])
        print(sorted(map(repr, about.get_constraints(cursor, table).items())))
        cursor.execute(f"SELECT * FROM {quoted}")
        print(sorted(map(repr, cursor.fetchall())))
"""
