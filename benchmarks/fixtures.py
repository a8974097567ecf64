"""Our exports against dumpdata: a million services of all columns, and people with many-to-many values.

Each time is that of a whole command, Django's start included. Both files have to be the same, byte for byte;
where many-to-many values are concerned, the same objects. The peak memory of both is printed beside.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from comparison import Comparison, compare
from example_site import DATABASES, Project, example
from peak import run_measured
from provision import ROOT, Failed, say

NAMES = {"sqlite": "SQLite", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}
MOVING = ROOT / "benchmarks/children/moving.py"
USERS = """
from django.contrib.auth.models import Group, User
from core.models import Agent, Service
groups = Group.objects.bulk_create(Group(name=f"Groupe {number}") for number in range(20))
known = User.objects.count()
users = User.objects.bulk_create(
    (User(username=f"agent-{n}", first_name="Zoé", last_name=f"N° {n}") for n in range({users})),
    batch_size=1000,
)
users = list(User.objects.order_by("pk")[known:])
through = User.groups.through
through.objects.bulk_create(
    (
        through(user_id=user.pk, group_id=groups[(number + step) % 20].pk)
        for number, user in enumerate(users)
        for step in (0, 7)
    ),
    batch_size=1000,
)
service = Service.objects.order_by("pk").first()
Agent.objects.bulk_create((Agent(user=user, service=service) for user in users), batch_size=1000)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--services", type=int, default=1_000_000, metavar="N", help="default: 1000000")
    parser.add_argument("--users", type=int, default=20_000, metavar="N", help="default: 20000")
    parser.add_argument(
        "--database", choices=DATABASES, action="append", help="may be repeated (default: all three)"
    )


def measure(options: argparse.Namespace) -> Iterator[Comparison]:
    for kind in options.database or DATABASES:
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            example(kind, Path(folder) / "ediligence") as project,
        ):
            fill(project, options)
            for case, labels in {
                f"{options.services} services": ["core.Service"],
                f"{options.users} people with groups": ["auth", "core.Agent"],
            }.items():
                ways = {
                    "runbook": partial(ours, project, labels),
                    "dumpdata": partial(theirs, project, labels),
                }
                yield compare(f"{NAMES[kind]}, {case}", ways, runs=options.runs)
                refuse_other_content(project)


def fill(project: Project, options: argparse.Namespace) -> None:
    """Bring a project to its last migration, with services that all have their place, and people."""
    project.at_0032(options.services)
    env = {**project.env, "DJANGO_SETTINGS_MODULE": "ediligence.settings", "PYTHONPATH": str(project.folder)}
    subprocess.run(
        [sys.executable, str(MOVING), "single", "0"],
        cwd=project.folder,
        env=env,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    project.manage("migrate", "--verbosity", "0")
    project.python(USERS.replace("{users}", str(options.users)))


def ours(project: Project, labels: list[str]) -> float:
    return timed(project, "runbook", "export", *labels, "-o", "ours.json")


def theirs(project: Project, labels: list[str]) -> float:
    return timed(project, "dumpdata", *labels, "-o", "theirs.json")


def timed(project: Project, *words: str) -> float:
    ended = run_measured([sys.executable, "manage.py", *words], cwd=project.folder, env=project.env)
    size = (project.folder / words[-1]).stat().st_size
    say(f"  {' '.join(words)}: {ended.seconds:.1f} s, {ended.peak // 1024} MiB of memory, {size} bytes")
    return ended.seconds


def refuse_other_content(project: Project) -> None:
    """Raise Failed unless both files say the same."""
    both = [project.folder / name for name in ("ours.json", "theirs.json")]
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in both}
    if len(digests) > 1:
        ours, theirs = (sorted(map(canonical, json.loads(path.read_text()))) for path in both)
        if ours != theirs:
            raise Failed("the files differ")
    say("  the files are the same, " + ("byte for byte" if len(digests) == 1 else "object for object"))


def canonical(item: dict) -> str:
    """An object, whatever the order of its many-to-many values."""
    fields = {
        name: sorted(value) if isinstance(value, list) else value for name, value in item["fields"].items()
    }
    return json.dumps([item["model"], item["pk"], fields], sort_keys=True)
