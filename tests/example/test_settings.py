"""The project's migrations, and how it finds its database."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from example_project import EXAMPLE, Project

spec = importlib.util.spec_from_file_location("database_url", EXAMPLE / "ediligence/database_url.py")
assert spec is not None
assert spec.loader is not None
database_url = importlib.util.module_from_spec(spec)
spec.loader.exec_module(database_url)


def test_the_models_have_no_change_without_a_migration(project: Project) -> None:
    project.manage("migrate")
    assert project.manage("makemigrations", "--check").stdout == "No changes detected\n"


def parsed(url: str) -> dict[str, Any]:
    return dict(database_url.parse_database_url(url))


def test_sqlite_paths_are_relative_with_three_slashes_and_absolute_with_four() -> None:
    assert parsed("sqlite:///db.sqlite3")["NAME"] == "db.sqlite3"
    assert parsed("sqlite:////srv/d%C3%A9p%C3%B4t.sqlite3")["NAME"] == "/srv/dépôt.sqlite3"


def test_credentials_are_percent_decoded() -> None:
    settings = parsed("postgresql://zo%C3%A9:p%40ss%2F%3A%3F%23@db.example:5433/ediligence?sslmode=require")
    assert settings == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "ediligence",
        "USER": "zoé",
        "PASSWORD": "p@ss/:?#",
        "HOST": "db.example",
        "PORT": "5433",
        "OPTIONS": {"sslmode": "require"},
    }


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("mysql://u:p@localhost/db?unix_socket=/run/mysqld/mysqld.sock", "/run/mysqld/mysqld.sock"),
        ("postgresql://u@/db?host=/var/run/postgresql", "/var/run/postgresql"),
        ("postgresql:///db", ""),
    ],
)
def test_a_socket_stands_in_the_query(url: str, host: str) -> None:
    settings = parsed(url)
    assert settings["HOST"] == host
    assert settings["PORT"] == ""


def test_mysql_is_strict_and_speaks_all_of_unicode() -> None:
    options = parsed("mysql://u:p@127.0.0.1:3306/db")["OPTIONS"]
    assert options["charset"] == "utf8mb4"
    assert "STRICT_TRANS_TABLES" in options["init_command"]


def test_another_scheme_is_refused_without_telling_the_password() -> None:
    with pytest.raises(ValueError, match="DATABASE_URL begins with 'oracle'") as refused:
        parsed("oracle://u:secret@host/db")
    assert "secret" not in str(refused.value)
