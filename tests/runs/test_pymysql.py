"""Projects that use PyMySQL in place of mysqlclient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from drill import all_moved, at_start, runbook
from example_project import Project

INSTALL = """
import pymysql

pymysql.install_as_MySQLdb()
"""
WHICH_DRIVER = "import MySQLdb; print(MySQLdb.__name__)"


def test_the_release_and_its_backup_work_with_pymysql(
    make_project: Callable[[str], Project], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(INSTALL)
    project = at_start(make_project("mariadb"))
    assert project.manage("shell", "-v0", "-c", WHICH_DRIVER, PYTHONPATH=str(tmp_path)).stdout == "pymysql\n"
    with project.serve() as site:
        env = {"PYTHONPATH": str(tmp_path), "HEALTH_URL": f"{site.url}/sante/"}
        runbook(project, "run", "sous_directions", **env)
    assert all_moved(project)
    project.manage("runbook", "restore", "--noinput", PYTHONPATH=str(tmp_path))
    assert "[ ] 0033_sous_direction" in project.manage("showmigrations", "core").stdout
