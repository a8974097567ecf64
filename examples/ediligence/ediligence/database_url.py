"""Read DATABASE_URL: where the database is, in one line of environment."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

MYSQL = {
    "charset": "utf8mb4",
    "init_command": "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')",
}
SQLITE = {"init_command": "PRAGMA journal_mode = WAL", "transaction_mode": "IMMEDIATE", "timeout": 20}


def parse_database_url(url: str) -> dict[str, Any]:
    """Return the value of DATABASES["default"] for `url`.

    Forms: `sqlite:///relative/path`, `sqlite:////absolute/path`, `mysql://user:password@host:port/name`,
    `postgresql://…`; a socket is `?unix_socket=/path` (MySQL) or `?host=/folder` (PostgreSQL). User,
    password and name are percent-encoded; what else stands in the query goes to OPTIONS.
    Raise ValueError if the scheme is another one; the message holds no password.
    """
    parts = urlsplit(url)
    name = unquote(parts.path.removeprefix("/"))
    match parts.scheme:
        case "sqlite" | "sqlite3":
            return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": dict(SQLITE)}
        case "mysql" | "mariadb":
            return {"ENGINE": "django.db.backends.mysql", "NAME": name, **_server(parts, MYSQL)}
        case "postgresql" | "postgres":
            return {"ENGINE": "django.db.backends.postgresql", "NAME": name, **_server(parts, {})}
    raise ValueError(f"DATABASE_URL begins with {parts.scheme!r}: expected sqlite, mysql or postgresql.")


def _server(parts: SplitResult, options: dict[str, Any]) -> dict[str, Any]:
    """Return who connects where; an empty HOST or PORT is the driver's own default."""
    query = dict(parse_qsl(parts.query))
    host = query.pop("unix_socket", None) or query.pop("host", None) or unquote(parts.hostname or "")
    return {
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": query.pop("port", None) or str(parts.port or ""),
        "OPTIONS": {**options, **query},
    }
