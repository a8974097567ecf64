"""Many rows by COPY, with either of the drivers that Django knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

TOGETHER = 500
"""Rows in one INSERT where the driver cannot adapt values for COPY."""


def copy_rows(cursor: Any, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows. `table` and `columns` are quoted."""
    if hasattr(cursor.cursor, "copy"):
        with (
            cursor.db.wrap_database_errors,
            cursor.cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)
        return
    for start in range(0, len(rows), TOGETHER):
        piece = rows[start : start + TOGETHER]
        places = f"({', '.join(['%s'] * len(piece[0]))})"
        cursor.execute(
            f"INSERT INTO {table} ({columns}) VALUES {', '.join([places] * len(piece))}",
            [value for row in piece for value in row],
        )
