"""Our backup against the programs that people use, on a million services and on a schema of 200 tables.

Each pair is our dump alone (the manifest's `dump_seconds`, measured within `runbook backup`, without Django's
start and without the proof) and a rival's whole command, written to the same disk. With --restore, our
restore (`seconds` of `runbook restore`, with its comparison) against the rival's load of its own dump. What
a proof costs is printed beside, and the peak memory of our process. With --dumper, our dumper is that one
and not what is chosen by size.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from comparison import Comparison, compare
from example_site import DATABASES, Project, example
from peak import run_measured
from provision import Failed, say

NAMES = {"sqlite": "SQLite", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}
MANY_TABLES = """
from django.db import connection
with connection.cursor() as cursor:
    for number in range(200):
        table = f"t{number:03}"
        cursor.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name VARCHAR(60), amount INTEGER)")
        cursor.executemany(
            f"INSERT INTO {table} VALUES (%s, %s, %s)",
            [(row, f"name {row} of {table}", row * 7 % 101) for row in range(500)],
        )
"""
BENCH_SETTINGS = """
import os

from ediligence.settings import *

RUNBOOK = {**globals().get("RUNBOOK", {}), "BACKUP": {"DUMPER": os.environ.get("BENCH_DUMPER", "")}}

INSTALLED_APPS = [*INSTALLED_APPS, "dbbackup"]
STORAGES = {
    **globals().get("STORAGES", {}),
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "dbbackup": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": "rival"}},
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Shell commands, with {client} for the words that reach the database."""

    dump: str
    load: str = ""


RIVALS: Mapping[str, Mapping[str, Rival]] = {
    "sqlite": {
        ".backup | zstd": Rival(
            dump="sqlite3 {client} '.backup rival/copy' && zstd -q --rm rival/copy",
            load="zstd -dqf rival/copy.zst -o rival/copy && sqlite3 {client} '.restore rival/copy'",
        ),
        ".dump | gzip": Rival(
            dump="sqlite3 {client} .dump | gzip > rival/dump",
            load="rm {client} && gunzip < rival/dump | sqlite3 {client}",
        ),
    },
    "mariadb": {
        "mysqldump | gzip": Rival(
            dump="mysqldump {client} --single-transaction --quick {name} | gzip > rival/dump",
            load="gunzip < rival/dump | mariadb {client} {name}",
        ),
        "mariadb-dump | zstd": Rival(
            dump="mariadb-dump {client} --single-transaction --quick {name} | zstd -q > rival/dump",
            load="zstd -dq < rival/dump | mariadb {client} {name}",
        ),
        "mydumper": Rival(
            dump="mydumper {client} -B {name} -c -t 2 -o rival/folder",
            load="myloader {client} -B {name} -o -t 2 -d rival/folder",
        ),
    },
    "postgresql": {
        "pg_dump -Fc": Rival(
            dump="pg_dump {client} -Fc -f rival/dump {name}",
            load="pg_restore {client} --clean --if-exists -d {name} rival/dump",
        ),
        "pg_dump -Fd -j2": Rival(
            dump="pg_dump {client} -Fd -j2 -f rival/folder {name}",
            load="pg_restore {client} --clean --if-exists -j2 -d {name} rival/folder",
        ),
    },
}
DBBACKUP = Rival(
    dump="{python} manage.py dbbackup -z -q --settings=bench_settings",
    load="{python} manage.py dbrestore -z -q --noinput --settings=bench_settings",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--services", type=int, default=1_000_000, metavar="N", help="default: 1000000")
    parser.add_argument(
        "--database", choices=DATABASES, action="append", help="may be repeated (default: all three)"
    )
    parser.add_argument("--dumper", default="", metavar="NAME", help="as RUNBOOK['BACKUP']['DUMPER']")
    parser.add_argument("--restore", action="store_true", help="measure the restores as well")


def measure(options: argparse.Namespace) -> Iterator[Comparison]:
    os.environ["BENCH_DUMPER"] = options.dumper  # for the settings of our processes
    for kind in options.database or DATABASES:
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            example(kind, Path(folder) / "ediligence") as project,
        ):
            (project.folder / "bench_settings.py").write_text(BENCH_SETTINGS)
            project.at_0032(options.services)
            yield from against_all(project, options, f"{options.services} services")
            project.place.drop()
            project.place.create()
            project.python(MANY_TABLES)
            yield from against_all(project, options, "200 tables")


def against_all(project: Project, options: argparse.Namespace, content: str) -> Iterator[Comparison]:
    report_proof(project, f"{NAMES[project.kind]}, {content}")
    for name, rival in {**RIVALS[project.kind], "django-dbbackup": DBBACKUP}.items():
        case = f"{NAMES[project.kind]}, {content}: {name}"
        ways = {"runbook": partial(our_dump, project), "rival": partial(their_dump, project, rival.dump)}
        yield compare(f"dump, {case}", ways, runs=options.runs)
        if options.restore:
            ways = {
                "runbook": partial(our_restore, project),
                "rival": partial(their_load, project, rival.load),
            }
            yield compare(f"restore, {case}", ways, runs=options.runs)


def report_proof(project: Project, case: str) -> None:
    """Print what a proven backup costs beside one that is only checksummed, and the memory that it took."""
    seconds = {}
    for level in ("checksummed", "proven"):
        shutil.rmtree(project.runs, ignore_errors=True)
        began = time.monotonic()
        made, memory = backup(project, level)
        seconds[level] = time.monotonic() - began
    if made["level"] != "proven":
        raise Failed(f"{case}: {made['level_reason']}")
    cost = seconds["proven"] - seconds["checksummed"]
    rounds = made["dump_seconds"] + made["restore_seconds"]
    say(
        f"{case}: {made['dumper']} ({made['dumper_reason']}), the proof costs {cost:.2f} s, "
        f"{cost / rounds:.2f} of dump + restore; peak memory {memory // 1024} MiB"
    )


def our_dump(project: Project) -> float:
    shutil.rmtree(project.runs, ignore_errors=True)
    made, _memory = backup(project, "checksummed")
    say(f"  {made['dumper']}: {made['dump_seconds']:.2f} s, {sum(it['bytes'] for it in made['files'])} bytes")
    return float(made["dump_seconds"])


def backup(project: Project, level: str) -> tuple[dict, int]:
    """Take one. Return its manifest, and the peak memory of the process and its programs in KiB."""
    ended = run_measured(runbook("backup", "--level", level), cwd=project.folder, env=project.env)
    return json.loads(ended.output), ended.peak


def our_restore(project: Project) -> float:
    words = runbook("restore", "--noinput", "--while-connected")
    said = subprocess.run(words, cwd=project.folder, env=project.env, stdout=subprocess.PIPE, check=True)
    return float(json.loads(said.stdout)["seconds"])


def runbook(*words: str) -> list[str]:
    settings = "--settings=bench_settings"
    return [sys.executable, "manage.py", "runbook", *words, "--format", "json", settings]


def their_dump(project: Project, command: str) -> float:
    folder = project.folder / "rival"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    seconds = shell(project, command)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if not size:
        raise Failed(f"{command} wrote nothing")
    say(f"  {command}: {seconds:.2f} s, {size} bytes")
    return seconds


def their_load(project: Project, command: str) -> float:
    return shell(project, command)


def shell(project: Project, command: str) -> float:
    """Run a rival's command as an operator would, and return its seconds."""
    words, secrets = client(project)
    command = command.format(**words)
    began = time.monotonic()
    subprocess.run(
        ["bash", "-o", "pipefail", "-ec", command],
        cwd=project.folder,
        env={**project.env, **secrets},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - began


def client(project: Project) -> tuple[dict[str, str], dict[str, str]]:
    """The words that reach the database, and the variables with its password."""
    python = shlex.quote(sys.executable)
    if project.kind == "sqlite":
        return {"client": str(project.place.path), "name": "", "python": python}, {}
    server, name = project.place.server, project.place.name
    if project.kind == "mariadb":
        words = f"--socket={server.socket} --user={server.user}"
        return {"client": words, "name": name, "python": python}, {"MYSQL_PWD": server.password}
    words = f"-h {server.host} -p {server.port} -U {server.user}"
    return {"client": words, "name": name, "python": python}, {"PGPASSWORD": server.password}
