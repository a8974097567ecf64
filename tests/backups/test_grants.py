"""Users' rights, which a dump of MySQL does not have."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from restricted import connected_as, mariadb_user
from situations import run

from django_runbook.backups import Terms, load_manifest, make_backup
from django_runbook.databases import Database
from django_runbook.exceptions import Refused

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def test_they_are_kept_if_asked_for_and_give_the_same_again(database: Database, tmp_path: Path):
    run(
        database,
        "CREATE TABLE book (id INTEGER PRIMARY KEY, title VARCHAR(50))",
        "CREATE PROCEDURE tidy() DELETE FROM book",
    )
    place = database.quote(database.name)
    with mariadb_user(database, "SELECT, INSERT") as user:
        whom = f"'{user}'@'%'"
        run(
            database,
            f"GRANT UPDATE (title), DELETE ON {place}.book TO {whom}",
            f"GRANT EXECUTE ON PROCEDURE {place}.tidy TO {whom} WITH GRANT OPTION",
        )
        before = database.ask(f"SHOW GRANTS FOR {whom}")
        made = make_backup(database, tmp_path, terms=Terms(grants=True), now=NOW)
        grants = [it for it in load_manifest(made.path).grants if user in it]
        assert len(grants) >= 3
        run(database, f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {whom}")
        assert database.ask(f"SHOW GRANTS FOR {whom}") != before
        run(database, *(grant.rstrip(";") for grant in grants))
        assert sorted(database.ask(f"SHOW GRANTS FOR {whom}")) == sorted(before)


def test_they_are_not_kept_unasked(database: Database, tmp_path: Path):
    assert make_backup(database, tmp_path, terms=Terms(), now=NOW).grants == ()


def test_a_user_who_may_not_see_them_is_told(database: Database, tmp_path: Path):
    with (
        mariadb_user(database, "ALL") as user,
        connected_as(database, user),
        pytest.raises(Refused, match="The rights of other users on database 'mariadb' cannot be read"),
    ):
        make_backup(database, tmp_path, terms=Terms(grants=True), now=NOW)
    assert not list(tmp_path.iterdir())
