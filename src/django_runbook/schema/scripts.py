"""What hand-written SQL does to transactions and to the session, as far as its text tells. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import sqlparse
from django.db.migrations.operations import RunSQL

from django_runbook.databases.base import begins_with

EMPTY = re.compile(r"(?:\s|;|/\*(?!!).*?\*/|(?:--|#)[^\n]*(?:\n|\Z))*", re.DOTALL)
_ENDS = r"COMMIT|END|ABORT|ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO\b)|PREPARE\s+TRANSACTION"
ENDS_TRANSACTION = begins_with(_ENDS)
CONTROLS_TRANSACTION = begins_with(
    rf"{_ENDS}|BEGIN|START\s+TRANSACTION|XA|(?:UN)?LOCK\s+TABLES?"
    r"|SET\s+(?:(?:SESSION|LOCAL)\s+|@@(?:session\.|local\.)?)?autocommit"
)
LOCKS_TABLES = begins_with(
    r"LOCK\s+TABLES?|FLUSH\s+TABLES?\b[^;]*\bLOCK|FLUSH\s+TABLES?\b[^;]*\bFOR\s+EXPORT"
)
UNLOCKS_TABLES = begins_with(r"UNLOCK\s+TABLES?")
RUNS_MORE = begins_with("CALL|EXECUTE")
"""What it runs is written elsewhere, and may be DDL."""
HOLDS_IN_TRANSACTION = begins_with("INSERT|UPDATE|DELETE|REPLACE|SELECT|WITH|SET|DO|LOAD")
"""Where DDL commits: the statements that do not."""
MAKES_TEMPORARY = begins_with(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:(?:LOCAL|GLOBAL)\s+)?TEMP(?:ORARY)?\b|PREPARE(?!\s+TRANSACTION)"
    r"|SELECT\b[^;]*\bINTO\s+TEMP(?:ORARY)?"
)
SETS_CONFIG = re.compile(
    r"\bset_config\s*\((?!(?:[^()']|'[^']*')*,\s*(?:true|'t'|'true'|'on')\s*\))", re.IGNORECASE
)
"""For the session; with `true` as its last argument it is for the transaction."""
SETS = begins_with(r"SET(?!\s+LOCAL\b|\s+(?:SESSION\s+)?\w*timeout\b)")
"""Timeouts left out: they change no result."""
COMPUTES = re.compile(r"\bSELECT\b|\w\s*\(", re.IGNORECASE)
ASSIGNS = re.compile(r":=|\bINTO\s+@", re.IGNORECASE)
FIRST_WORD = re.compile(r"(?:\A|;)\s*(\S{0,8})")
"""Of a statement, and of more than that where a text constant has a semicolon."""
ROWS = {"INSERT", "UPDATE", "DELETE", "REPLACE", ""}
VARIABLE = re.compile(r"(?<![@\w])@(`[^`]+`|\w+)")


def texts(operation: RunSQL, *, split: bool) -> list[str]:
    """What the operation sends, one by one: the elements of its list; a string as it is, or split.

    Django splits a string where the driver takes one statement at a time, but never an element of a list.
    """
    if isinstance(operation.sql, str):
        return statements(operation.sql) if split else [operation.sql]
    return [element if isinstance(element, str) else str(element[0]) for element in operation.sql]


def statements(text: str) -> list[str]:
    """The statements in a text, by the parser that Django splits with; comments alone are none."""
    found = (text,) if _is_plain(text) else _split(text)
    return [statement for statement in found if not EMPTY.fullmatch(statement)]


def _is_plain(text: str) -> bool:
    """Is it a single statement, or a script of rows, which is long and of which nothing is to be said?

    The parser takes about ten seconds for a megabyte.
    """
    if ";" not in text.rstrip().rstrip(";"):
        return True
    words = {word.upper() for word in FIRST_WORD.findall(text)}
    return words <= ROWS and not ASSIGNS.search(text) and not SETS_CONFIG.search(text)


@lru_cache(maxsize=128)
def _split(text: str) -> tuple[str, ...]:
    return tuple(sqlparse.split(text))


def ending_transaction(found: Sequence[str]) -> str:
    """The first of these statements that ends the transaction it runs in, or nothing."""
    return next(filter(ENDS_TRANSACTION.match, found), "")


def repeated(found: Sequence[str]) -> str:
    """Where DDL commits: the first of a text's statements because of which all of it may run twice.

    Or nothing. It controls transactions, or runs what is written elsewhere, or commits what stands before it.
    """
    for number, statement in enumerate(found):
        commits = number > 0 and not HOLDS_IN_TRANSACTION.match(statement)
        if commits or CONTROLS_TRANSACTION.match(statement) or RUNS_MORE.match(statement):
            return statement
    return ""


def left_out(found: Sequence[str]) -> str:
    """Where DDL commits: the first of a text's statements that a resume may leave out, or nothing.

    Because the one before it is DDL, which shows that the text was sent, but not how far it came.
    """
    several = len(found) > 1 and not HOLDS_IN_TRANSACTION.match(found[0])
    return found[1] if several and not CONTROLS_TRANSACTION.match(found[0]) else ""


def locking(found: Sequence[str]) -> str:
    """The statement of a text that locks tables, so that it leaves them locked for what comes after it."""
    locked = ""
    for statement in found:
        if LOCKS_TABLES.match(statement):
            locked = statement
        elif UNLOCKS_TABLES.match(statement):
            locked = ""
    return locked


def lost(found: Sequence[str], later: str) -> str:
    """The first statement of a text whose effect a new session does not have, and may need for `later`.

    `later` is the SQL that comes after; what else comes is not looked at. A SET that stands alone is sent
    again on a resume, so it is lost only if it computes its value.
    """
    return next((it for it in found if _is_lost(it, later, alone=len(found) == 1)), "")


def _is_lost(statement: str, later: str, *, alone: bool) -> bool:
    if MAKES_TEMPORARY.match(statement) or SETS_CONFIG.search(statement):
        return True
    if not SETS.match(statement):
        return bool(ASSIGNS.search(statement)) and _shares_variable(statement, later)
    if not VARIABLE.search(statement):
        return not alone
    return (not alone or bool(COMPUTES.search(statement))) and _shares_variable(statement, later)


def _shares_variable(statement: str, later: str) -> bool:
    return bool(_variables(statement) & _variables(later))


def _variables(sql: str) -> set[str]:
    return {name.strip("`").lower() for name in VARIABLE.findall(sql)}
