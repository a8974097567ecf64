"""A sound database has nothing around it that is in the way."""

from __future__ import annotations

import json

from example_project import Project
from library import EXPAND, INITIAL, start
from library import runbook as library_runbook
from looking import found_by

from django_runbook.databases import Database
from django_runbook.plan import make_plan
from django_runbook.preflight import CHECKS, PLAN_CHECKS
from django_runbook.steps import Backup, Migrate

IDS = [f"runbook.P{number}" for number in range(111, 124)]


def test_nothing_is_in_the_way_of_a_plan_on_a_new_database(database: Database) -> None:
    plan = make_plan(library_runbook(Backup(), Migrate.all()), start(INITIAL, EXPAND))
    for id in IDS:
        needed = plan if CHECKS[id] in PLAN_CHECKS else None
        assert found_by(id, database, needed) == []


def test_nothing_is_in_the_way_of_the_worked_example(project: Project) -> None:
    project.at_0032()
    with project.serve() as site:
        ended = project.manage(
            "runbook",
            "check",
            "sous_directions",
            "--format",
            "json",
            "-o",
            "found.json",
            check=False,
            HEALTH_URL=f"{site.url}/sante/",
        )
    found = json.loads((project.folder / "found.json").read_text())
    assert [it for it in found if it["id"] in IDS] == []
    assert ended.returncode == 0
