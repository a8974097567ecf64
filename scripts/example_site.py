"""The example project for the demo and the benchmarks: in a folder, on a database of any kind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from private_server import PrivateServer, private_server
from provision import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from example_project import ExampleProjects, Project, Site, SQLitePlace

__all__ = ["DATABASES", "Project", "Site", "end_state", "example", "health_url"]

DATABASES = ("sqlite", "mariadb", "postgresql")
END_STATE = """
import hashlib, json
from core.models import Service
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

columns = [field.name for field in Service._meta.fields if not field.is_relation and not field.primary_key]
places = ["direction__nom", "sous_direction__nom", "sous_direction__direction__nom"]
services = Service.objects.order_by().values_list(*columns, *places)
rows = sorted(json.dumps(row, cls=DjangoJSONEncoder) for row in services.iterator())
applied = sorted(name for app, name in MigrationRecorder(connection).applied_migrations() if app == "core")
print(hashlib.sha256(json.dumps([applied, rows]).encode()).hexdigest())
"""


@contextmanager
def example(kind: str, folder: Path) -> Iterator[Project]:
    """Copy the example to `folder`, on an empty database: a file in it, or one on a private server.

    Both are gone after the block, but for SQLite's file.
    """
    with ExitStack() as stack:

        @cache
        def start(kind: str) -> PrivateServer:
            return stack.enter_context(private_server(kind))

        projects = ExampleProjects(folder.parent, start)
        project = stack.enter_context(projects.make_project(kind, folder))
        if kind == "sqlite":
            project = replace(project, place=SQLitePlace(folder / "db.sqlite3"))
        yield project


def health_url(site: Site) -> str:
    """Return the HEALTH_URL with which a run asks the site after its restart."""
    return f"{site.url}/sante/"


def end_state(project: Project) -> str:
    """Digest what the release leaves: every service with its place, and the migrations of core.

    No primary key is in it, so that it is the same on every kind of database for the same services.
    """
    return project.python(END_STATE).strip()
