"""What MySQL and MariaDB put where a NOT NULL column has no value. Measured on MariaDB 10.11."""

from __future__ import annotations

from collections.abc import Collection

NUMBERS = (
    "bigint",
    "bool",
    "double",
    "int",
    "mediumint",
    "numeric",
    "decimal",
    "smallint",
    "tinyint",
    "float",
)
DATES = {"date": "'0000-00-00'", "datetime": "'0000-00-00 00:00:00'", "timestamp": "'0000-00-00 00:00:00'"}
OTHERS = {
    "time": "'00:00:00'",
    "uuid": "'00000000-0000-0000-0000-000000000000'",
    "inet6": "'::'",
    "inet4": "'0.0.0.0'",
}


def implicit_value(db_type: str, modes: Collection[str]) -> str | None:
    """As SQL, for a type as Django writes it; None if the words of the sql_mode refuse it."""
    name = db_type.lower().split("(")[0].split(" ")[0]
    if name in DATES:
        return None if "NO_ZERO_DATE" in modes else DATES[name]
    return "0" if name.startswith(NUMBERS) else OTHERS.get(name, "''")


def replaces_null(modes: Collection[str]) -> bool:
    """Only in strict mode does MODIFY … NOT NULL fail on a NULL."""
    return not {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"} & set(modes)
