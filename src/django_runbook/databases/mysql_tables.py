"""What SHOW CREATE TABLE says, line by line, and the ALTER TABLE that leads from one to another. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

IDENTIFIER = r"`((?:[^`]|``)+)`"
_LINE = re.compile(
    rf"(?:(?P<kind>(?:UNIQUE |FULLTEXT |SPATIAL )?KEY|PRIMARY KEY|CONSTRAINT) ?)?"
    rf"(?:{IDENTIFIER})?(?P<rest>.*)",
    re.DOTALL,
)
_RENAMED_COLUMN = re.compile(
    rf"\b(?:CHANGE|RENAME)\s+(?:COLUMN\s+)?{IDENTIFIER}\s+(?:TO\s+)?{IDENTIFIER}", re.IGNORECASE
)
_COMMENT = re.compile(r"COMMENT='((?:[^']|'')*)'")
"""Of a whole table, which stands behind the last parenthesis."""
_COLUMN, _KEY, _FOREIGN, _CHECK = "column", "key", "foreign key", "check"

Part = tuple[str, str]
"""Kind and name of a column, key or constraint."""


class Unalterable(Exception):
    """No ALTER TABLE is known that would make this difference."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table as its server describes it."""

    parts: Mapping[Part, str]
    """Lines of columns in their order, then of keys and constraints."""
    options: str
    """What stands behind the last parenthesis: engine, collation, comment, partitions."""

    @property
    def columns(self) -> list[str]:
        return [name for kind, name in self.parts if kind == _COLUMN]

    @property
    def lines(self) -> list[str]:
        """Columns with their places, then the rest by name: the order of keys says nothing."""
        columns = [f"{place} {self.parts[_COLUMN, name]}" for place, name in enumerate(self.columns)]
        rest = sorted(line for (kind, _name), line in self.parts.items() if kind != _COLUMN)
        return [*columns, *rest, self.options]


def read_table(text: str) -> Table:
    """Read what SHOW CREATE TABLE answers. Raise Unalterable if it does not describe a table."""
    head, *lines = text.splitlines()
    ends = [number for number, line in enumerate(lines) if line.startswith(")")]
    if not head.startswith("CREATE ") or not head.endswith("(") or not ends:
        raise Unalterable(text)
    body = [line.strip().removesuffix(",") for line in lines[: ends[0]]]
    return Table(parts=dict(map(_part, body)), options="\n".join(lines[ends[0] :]).removeprefix(")").strip())


def strange_lines(sql: str, table: str, before: str, now: str) -> list[str]:
    """Lines that stand in one of two definitions only, and that `sql` says nothing of."""
    if not before or not now:
        words = "DROP|RENAME" if before else "CREATE|RENAME"
        return [] if before == now or re.search(rf"\b(?:{words})\b", sql, re.IGNORECASE) else [table]
    lines = [{*read_table(text).parts.values(), read_table(text).options} for text in (before, now)]
    named = [f"`{name}`" for name in re.findall(IDENTIFIER, sql) if name != table]
    return sorted(line for line in lines[0] ^ lines[1] if not _is_spoken_of(line, named, sql))


def _is_spoken_of(line: str, named: Sequence[str], sql: str) -> bool:
    comments = line.startswith("ENGINE=") and re.search(r"\bCOMMENT\b", sql, re.IGNORECASE)
    return bool(comments) or any(name in line for name in named)


def way_back(table: str, now: str, before: str, sql: str) -> list[str]:
    """Statements that turn the table from what it is `now` into what it was `before` `sql` changed it.

    One ALTER TABLE, which the server does whole or not at all; two where a foreign key of the same name
    must go before it can come. Raise Unalterable if that cannot be said.
    """
    return list(_alter(table, read_table(now), read_table(before), _renamed_column(sql)))


def _part(line: str) -> tuple[Part, str]:
    found = _LINE.fullmatch(line)
    kind, name, rest = (found["kind"] or "", found[2] or "", found["rest"]) if found else ("", "", "")
    if not (kind or name):
        return ("", line), line
    if not kind:
        return (_COLUMN, name), line
    if kind == "CONSTRAINT":
        return (_FOREIGN if rest.lstrip().startswith("FOREIGN") else _CHECK, name), line
    return (_KEY, name or "PRIMARY"), line


def _renamed_column(sql: str) -> tuple[str, str]:
    found = _RENAMED_COLUMN.search(sql)
    return (found[1], found[2]) if found else ("", "")


def _alter(table: str, now: Table, before: Table, renamed: tuple[str, str]) -> Iterator[str]:
    old, new = renamed
    parts = dict(now.parts)
    clauses: list[str] = []
    if (_COLUMN, new) in parts and (_COLUMN, old) in before.parts and (_COLUMN, old) not in parts:
        parts[_COLUMN, old] = parts.pop((_COLUMN, new))
        clauses.append(f"CHANGE COLUMN `{new}` {before.parts[_COLUMN, old]}")
    gone = [part for part in parts if part not in before.parts]
    missing = [part for part in before.parts if part not in parts]
    changed = [part for part in before.parts if part in parts and parts[part] != before.parts[part]]
    changed = [part for part in changed if not (clauses and part == (_COLUMN, old))]
    replaced = [part for part in changed if part[0] != _COLUMN]
    drops = [_drop(part) for part in _constraints_first([*gone, *replaced])]
    if any(kind == _FOREIGN for kind, _name in replaced):
        yield f"ALTER TABLE `{table}` {', '.join(_drop(part) for part in replaced)}"
        drops = [_drop(part) for part in _constraints_first(gone)]
    clauses += drops
    clauses += [_add(part, before) for part in _columns_first(missing)]
    clauses += [f"MODIFY COLUMN {before.parts[part]}" for part in changed if part[0] == _COLUMN]
    clauses += [f"ADD {before.parts[part]}" for part in replaced]
    clauses += _options(now.options, before.options)
    if clauses:
        yield f"ALTER TABLE `{table}` {', '.join(clauses)}"


def _constraints_first(parts: Sequence[Part]) -> list[Part]:
    order = [_FOREIGN, _CHECK, _KEY, _COLUMN]
    return sorted(parts, key=lambda part: order.index(_known(part)))


def _columns_first(parts: Sequence[Part]) -> list[Part]:
    return sorted(parts, key=lambda part: _known(part) != _COLUMN)


def _known(part: Part) -> str:
    if not part[0]:
        raise Unalterable(part[1])
    return part[0]


def _drop(part: Part) -> str:
    name = part[1]
    if part == (_KEY, "PRIMARY"):
        return "DROP PRIMARY KEY"
    words = {_FOREIGN: "FOREIGN KEY", _CHECK: "CONSTRAINT", _KEY: "KEY", _COLUMN: "COLUMN"}
    return f"DROP {words[_known(part)]} `{name}`"


def _add(part: Part, table: Table) -> str:
    """A column at the place that it had."""
    line = table.parts[part]
    if part[0] != _COLUMN:
        return f"ADD {line}"
    place = table.columns.index(part[1])
    return f"ADD COLUMN {line} " + (f"AFTER `{table.columns[place - 1]}`" if place else "FIRST")


def _options(now: str, before: str) -> list[str]:
    if now == before:
        return []
    if _COMMENT.sub("", now).strip() != _COMMENT.sub("", before).strip():
        raise Unalterable(before)
    comment = _COMMENT.search(before)
    return [f"COMMENT='{comment[1] if comment else ''}'"]
