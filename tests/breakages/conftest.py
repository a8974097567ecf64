"""The example before a release that asks much of it, on each kind of database, to be broken and mended."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from example_project import ExampleProjects
from patient import Patient
from release import READY, write_release
from warm_project import warm

SERVICES = 100


@pytest.fixture(scope="session")
def admit(
    example_projects: ExampleProjects, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Patient]]:
    """Call it with a kind of database to get the session's patient of that kind."""
    patients: dict[str, Patient] = {}
    with ExitStack() as stack:

        def admit(kind: str) -> Patient:
            if kind not in patients:
                files = tmp_path_factory.mktemp("sound") / "core"
                patients[kind] = stack.enter_context(sound_patient(kind, example_projects, files))
            return patients[kind]

        yield admit


@contextmanager
def sound_patient(kind: str, projects: ExampleProjects, sound_files: Path) -> Iterator[Patient]:
    with projects.make_project(kind) as project:
        settings = project.folder / "ediligence/settings.py"
        settings.write_text(settings.read_text().replace('LANGUAGE_CODE = "fr"', 'LANGUAGE_CODE = "en"'))
        write_release(project.folder)
        project.at_0032(SERVICES)
        shutil.copytree(project.folder / "core", sound_files)
        with warm(project.folder, project.env) as ask:
            ask.python(f"for it in {READY!r}:\n    connection.cursor().execute(it)")
            place = projects.new_place(project.kind)
            place.create()
            place.copy_from(project.place)
            patient = Patient(project=project, ask=ask, sound_place=place, sound_files=sound_files)
            yield patient
            patient.heal()


@pytest.fixture
def patient(request: pytest.FixtureRequest, admit: Callable[[str], Patient]) -> Patient:
    """Sound, at core.0032, before the release."""
    patient = admit(request.param)
    patient.heal()
    return patient
