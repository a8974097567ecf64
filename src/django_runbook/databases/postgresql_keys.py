"""Which columns PostgreSQL lets a foreign key connect: those that an operator = compares."""

from __future__ import annotations

from django_runbook.databases.key_types import ColumnType

COLUMN = (
    "SELECT format_type(atttypid, NULL) FROM pg_attribute"
    " WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped"
)
NUMBERS = {
    "bigint",
    "bigserial",
    "double precision",
    "integer",
    "numeric",
    "real",
    "serial",
    "smallint",
    "smallserial",
}
TEXTS = {"character", "character varying", "char", "text", "varchar"}


def are_connectable(key: ColumnType, target: ColumnType) -> bool:
    """Numbers with numbers, texts with texts, others with their like; of what is not known, yes."""
    kinds = [_kind(it.name) for it in (key, target)]
    return kinds[0] == kinds[1] or not {"number", "text", "uuid"}.issuperset(kinds)


def _kind(name: str) -> str:
    bare = name.lower().split("(")[0].strip()
    return "number" if bare in NUMBERS else "text" if bare in TEXTS else bare
