"""Which rights the plan, the dump and the restore need on PostgreSQL, and which are missing.

Asked of the catalogue with the functions that the server itself decides by: nothing needs to be tried.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from django_runbook.databases.surroundings import Needs, Trouble

if TYPE_CHECKING:
    from django_runbook.databases.postgresql import PostgreSQLDatabase

NAMED = 5
"""How many tables a finding names."""
VISIBLE = " FROM pg_class WHERE relname = ANY(%s) AND relkind IN ('r', 'p') AND pg_table_is_visible(oid)"
NOT_OWNED = (
    "SELECT relname, pg_get_userbyid(relowner)" + VISIBLE + " AND NOT pg_has_role(relowner, 'USAGE')"
    " ORDER BY 1"
)
WITHOUT = "SELECT relname" + VISIBLE + " AND NOT has_table_privilege(oid, %s) ORDER BY 1"
OURS = (
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT LIKE 'pg\\_%%'"
    " AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT 1 FROM pg_depend d"
    " WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
)
"""What a dump holds, without the tables of extensions."""
UNREADABLE = (
    "SELECT c.oid::regclass::text" + OURS + " AND c.relkind IN ('r', 'p', 'm') AND NOT"
    " (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) ORDER BY 1"
)
UNREADABLE_SEQUENCES = (
    "SELECT c.oid::regclass::text" + OURS + " AND c.relkind = 'S' AND NOT"
    " (has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT')) ORDER BY 1"
)
HIDDEN_ROWS = (
    "SELECT c.oid::regclass::text" + OURS + " AND c.relkind IN ('r', 'p') AND row_security_active(c.oid)"
    " ORDER BY 1"
)
OTHERS_TABLES = (
    "SELECT c.oid::regclass::text" + OURS + " AND c.relkind IN ('r', 'p', 'm', 'v', 'S')"
    " AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1"
)
EXTENSION = (
    "SELECT v.trusted, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),"
    " has_database_privilege(current_database(), 'CREATE')"
    " FROM pg_available_extensions e JOIN pg_available_extension_versions v"
    " ON v.name = e.name AND v.version = e.default_version WHERE e.name = %s"
)


def missing_rights(database: PostgreSQLDatabase, needs: Needs) -> Iterator[Trouble]:
    """What the role of this session may not do."""
    rights = _Rights(database)
    if needs.creates or needs.renamed:
        yield from rights.to_create()
    yield from rights.to_own(needs.altered | needs.indexed | needs.renamed | needs.dropped)
    for right, tables in {
        "SELECT": needs.read | needs.written,
        "INSERT": needs.written,
        "UPDATE": needs.written,
        "DELETE": needs.written,
        "REFERENCES": needs.referenced,
    }.items():
        yield from rights.to_use(right, sorted(tables))
    for name in needs.extensions:
        yield from rights.to_extend(name)
    if needs.backup:
        yield from rights.to_dump()


class _Rights:
    """Of the role that the session has now."""

    def __init__(self, database: PostgreSQLDatabase) -> None:
        self.database = database

    def to_create(self) -> Iterator[Trouble]:
        [(schema, allowed)] = self.database.ask(
            "SELECT current_schema(), has_schema_privilege(current_schema(), 'CREATE')"
        )
        if schema is None:
            [(path,)] = self.database.ask("SELECT current_setting('search_path')")
            yield Trouble(
                message=_(
                    "No schema of this session's search_path (%(path)s) exists, or may be used: new tables "
                    "have no place."
                )
                % {"path": path},
                hint=f"GRANT USAGE, CREATE ON SCHEMA public TO {self.role};",
                is_error=True,
            )
        elif not allowed:
            yield Trouble(
                message=_("User %(role)s may not create tables in schema %(schema)s.")
                % {"role": self.role, "schema": schema},
                hint=f"GRANT CREATE ON SCHEMA {self.database.quote(schema)} TO {self.role};",
                is_error=True,
                subject=schema,
            )

    def to_own(self, tables: frozenset[str]) -> Iterator[Trouble]:
        found = defaultdict(list)
        for table, owner in self.database.ask(NOT_OWNED, [list(tables)]):
            found[owner].append(table)
        for owner, names in found.items():
            yield Trouble(
                message=_(
                    "The plan changes tables of %(owner)s, which only their owner may do, and %(role)s is "
                    "not: %(tables)s."
                )
                % {"tables": _some(names), "owner": self.database.quote(owner), "role": self.role},
                hint="\n".join(
                    f"ALTER TABLE {self.database.quote(name)} OWNER TO {self.role};" for name in names
                ),
                is_error=True,
                subject=names[0] if len(names) == 1 else "",
            )

    def to_use(self, right: str, tables: list[str]) -> Iterator[Trouble]:
        names = [str(name) for (name,) in self.database.ask(WITHOUT, [tables, right])]
        if names:
            yield Trouble(
                message=_("The plan needs the right %(right)s on %(tables)s, which %(role)s does not have.")
                % {"right": right, "tables": _some(names), "role": self.role},
                hint="\n".join(
                    f"GRANT {right} ON {self.database.quote(name)} TO {self.role};" for name in names
                ),
                is_error=True,
                subject=names[0] if len(names) == 1 else "",
            )

    def to_extend(self, name: str) -> Iterator[Trouble]:
        """An extension that is there already needs nothing."""
        if self.database.ask("SELECT 1 FROM pg_extension WHERE extname = %s", [name]):
            return
        found = self.database.ask(EXTENSION, [name])
        if not found:
            yield Trouble(
                message=_("The plan creates extension '%(name)s', which is not installed on the server.")
                % {"name": name},
                hint=_("Install it on the server; most are in the package postgresql-contrib."),
                is_error=True,
                subject=name,
            )
            return
        trusted, is_super, may_create = found[0]
        if not (is_super or (trusted and may_create)):
            yield Trouble(
                message=_("The plan creates extension '%(name)s', and %(role)s may not.")
                % {"name": name, "role": self.role},
                hint=_("As a superuser: %(statement)s")
                % {"statement": f"CREATE EXTENSION {self.database.quote(name)};"},
                is_error=True,
                subject=name,
            )

    def to_dump(self) -> Iterator[Trouble]:
        for kind, query in {"": UNREADABLE, "SEQUENCE ": UNREADABLE_SEQUENCES}.items():
            names = self._names(query)
            if names:
                yield Trouble(
                    message=_("The backup must read everything, and %(role)s may not read %(tables)s.")
                    % {"role": self.role, "tables": _some(names)},
                    hint="\n".join(f"GRANT SELECT ON {kind}{name} TO {self.role};" for name in names),
                    is_error=True,
                )
        hidden = self._names(HIDDEN_ROWS)
        if hidden:
            yield Trouble(
                message=_("Row security hides rows of %(tables)s from %(role)s: pg_dump refuses to go on.")
                % {"role": self.role, "tables": _some(hidden)},
                hint=_("As a superuser: %(statement)s") % {"statement": f"ALTER ROLE {self.role} BYPASSRLS;"},
                is_error=True,
            )
        others = self._names(OTHERS_TABLES)
        if others:
            yield Trouble(
                message=_("%(role)s could not restore the backup: %(tables)s belong to others.")
                % {"role": self.role, "tables": _some(others)},
                hint=_("Make it a member of the owner's role, or keep a user at hand who may restore."),
                subject="restore",
            )

    def _names(self, query: str) -> list[str]:
        return [str(name) for (name,) in self.database.ask(query.replace("%%", "%"))]

    @property
    def role(self) -> str:
        [(name,)] = self.database.ask("SELECT current_user")
        return self.database.quote(name)


def _some(names: list[str]) -> str:
    return ", ".join([*names[:NAMED], *(["…"] if len(names) > NAMED else [])])
