"""Run the release of examples/ediligence on a database of its own, behind a running gunicorn, and prove it.

Exit code 0 if everything was as promised, 1 if not. Nothing is left behind unless --keep is given.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from example_site import DATABASES, Project, Site, end_state, example, health_url
from private_server import ServerError
from provision import ROOT, Failed, enter, finish, is_inside, make_venv, pip_install, provide, say

REQUIREMENTS = (".[postgresql]", "djangorestframework>=3.16", "gunicorn>=23")
MOST_PAGES = 100
"""Of services that are read through the API."""


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    venv = ROOT / ".venv-demo"
    if not is_inside(venv):
        prepare(venv, options.database)
        enter(venv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    with working_folder(keep=options.keep) as folder:
        try:
            summary = demonstrate(options.database, options.services, folder / "ediligence")
        except (ServerError, AssertionError) as error:
            raise Failed(str(error)) from error
        title("Summary")
        show({"database": options.database, **summary, "time": f"{time.monotonic() - began:.0f} s"})
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--database",
        choices=DATABASES,
        default="sqlite",
        help="SQLite, or a private server (default: sqlite)",
    )
    parser.add_argument("--services", type=int, default=5000, metavar="N", help="how many (default: 5000)")
    parser.add_argument("--keep", action="store_true", help="keep the folder, and say where it is")
    return parser.parse_args(arguments)


def prepare(venv: Path, database: str) -> None:
    """Make what the demo runs in, without a compiler. Raise Failed if the database's server is missing."""
    if database != "sqlite" and provide(database):
        raise Failed
    make_venv(venv, *REQUIREMENTS)
    if database == "mariadb":
        install_mysql_driver(venv)


def install_mysql_driver(venv: Path) -> None:
    """Install mysqlclient or, where it cannot be built, PyMySQL."""
    for requirement in ("mysqlclient>=2.2.1", "PyMySQL>=1.1.1"):
        ended = subprocess.run([*pip_install(venv), requirement], capture_output=True, check=False)
        if not ended.returncode:
            say(f"Driver: {requirement}")
            return
    raise Failed("Neither mysqlclient nor PyMySQL can be installed.")


@contextmanager
def working_folder(*, keep: bool) -> Iterator[Path]:
    """Make a folder for everything that the demo writes."""
    folder = Path(tempfile.mkdtemp(prefix="django-runbook-demo-"))
    try:
        yield folder
    finally:
        if keep:
            say(f"Kept: {folder}")
        else:
            shutil.rmtree(folder)


def demonstrate(database: str, services: int, folder: Path) -> dict[str, Any]:
    """Return the lines of the summary. Raise Failed at the first thing that is not as promised."""
    title(f"1. The site before the release: {services} services, core at 0032, gunicorn on the new code")
    with example(database, folder) as project:
        project.at_0032(services)
        with project.serve() as site:
            return release(project, site)


def release(project: Project, site: Site) -> dict[str, Any]:
    show({"gunicorn": f"process {site.pid}, {site.url}", "health": site.get("/sante/").body.decode()})
    title("2. An export while the models are ahead of the database")
    refusal = dumpdata_fails(project)
    before = export_succeeds(project)
    title("3. The plan")
    manage(project, "runbook", "plan", "sous_directions")
    title("4. The run")
    manage(project, "runbook", "run", "sous_directions", "--noinput", HEALTH_URL=health_url(site))
    title("5. What it leaves")
    report = report_of(project)
    show(outcome(report))
    title("6. The running site")
    health, asked = health_of(site), check_api(site, before)
    show({"health": health, "services": f"{asked} of {len(before)} read through {site.url}/api/services/"})
    say("Each has a sous-direction, and that the direction which the service had before.")
    return {
        "dumpdata before the migrations": refusal,
        "runbook export at that moment": f"{len(before)} services",
        "runbook run": f"{report['status']}, {len(report['steps'])} steps",
        "health": health,
        "read through the API": f"{asked} services, all moved",
        "end state": end_state(project),
    }


def dumpdata_fails(project: Project) -> str:
    """Show that Django's own export fails, and return its words."""
    say("$ manage.py dumpdata core.Service")
    ended = project.manage("dumpdata", "core.Service", check=False)
    expect(ended.returncode != 0, "dumpdata was expected to fail, with the models ahead of the database.")
    refusal = next(line for line in ended.stderr.splitlines() if line.startswith("CommandError"))
    say(refusal)
    return refusal


def export_succeeds(project: Project) -> dict[int, int]:
    """Show that `runbook export` works; return the direction of each service, as the old schema has it."""
    file = project.folder / "var/before.json"
    manage(project, "runbook", "export", "core.Service", "--output", str(file))
    services = json.loads(file.read_text(encoding="utf-8"))
    expect("sous_direction" not in services[0]["fields"], "The export is not one of the old schema.")
    return {service["pk"]: service["fields"]["direction"] for service in services}


def report_of(project: Project) -> dict[str, Any]:
    """Return the run's report. Raise Failed unless every step has succeeded."""
    file = project.folder / "var/report.json"
    manage(project, "runbook", "report", "--format", "json", "--output", str(file))
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    undone = [step["title"] for step in report["steps"] if step["status"] != "succeeded"]
    expect(report["status"] == "finished" and not undone, f"The run is {report['status']}: {undone}")
    return report


def outcome(report: dict[str, Any]) -> dict[str, Any]:
    """Return what the run says of itself. Raise Failed if a file that it names is not there."""
    facts = {step["title"].partition("(")[0]: step["facts"] for step in report["steps"]}
    backup, verification, export = (facts[name] for name in ("Backup", "Verify", "Export"))
    for file in (backup["file"], export["file"], report["journal"]):
        expect(Path(file).is_file(), f"The run names a file that is not there: {file}")
    return {
        "backup": f"{backup['file']}, {backup['level']}",
        "verified": "; ".join(verification["verified"]),
        "export": export["file"],
        "exported": ", ".join(f"{count} {label}" for label, count in export["objects"].items()),
        "journal": report["journal"],
    }


def health_of(site: Site) -> str:
    """Return what the running site says of itself. Raise Failed unless it is well."""
    answer = site.get("/sante/")
    expect(answer.status == 200, f"The site is not well: {answer.body.decode()}")
    return f"{answer.status} {answer.json['status']}"


def check_api(site: Site, before: dict[int, int]) -> int:
    """Compare services, as the site gives them, with those before; return how many.

    Raise Failed if one is elsewhere.
    """
    direction_of = {it["id"]: it["direction"] for it in listed(site, "/api/sous-directions/")}
    after = {it["id"]: direction_of.get(it["sous_direction"]) for it in listed(site, "/api/services/")}
    wrong = [pk for pk, direction in after.items() if direction != before[pk]]
    expect(bool(after) and not wrong, f"Services that are not under their direction: {wrong[:10]}")
    return len(after)


def listed(site: Site, path: str) -> Iterator[dict[str, Any]]:
    """Give the objects of the first pages of a list of the API."""
    for number in range(1, MOST_PAGES + 1):
        page = site.get(f"{path}?page={number}").json
        yield from page["results"]
        if not page["next"]:
            return


def manage(project: Project, *arguments: str, **env: str) -> None:
    """Show a management command and run it on this terminal. Raise Failed if it fails."""
    say(f"$ manage.py {shlex.join(arguments)}")
    command = [sys.executable, "manage.py", *arguments]
    ended = subprocess.run(command, cwd=project.folder, env={**project.env, **env}, check=False)
    expect(ended.returncode == 0, f"manage.py {arguments[0]} ended with exit code {ended.returncode}.")


def expect(fact: bool, otherwise: str) -> None:
    """Raise Failed, with the message, unless it is so."""
    if not fact:
        raise Failed(otherwise)


def title(text: str) -> None:
    say(f"\n== {text}")


def show(facts: dict[str, Any]) -> None:
    """Print facts, one on a line, below each other."""
    width = max(map(len, facts))
    for name, fact in facts.items():
        say(f"{name:{width}}  {fact}")


if __name__ == "__main__":
    finish(main)
