"""Which rights the plan, the dump and the restore need on MySQL and MariaDB, and which are missing.

Measured on MariaDB 10.11: CREATE INDEX and DROP INDEX ask for INDEX, ALTER TABLE … ADD INDEX for ALTER; a
foreign key asks for any of FOREIGN on the table it points at; a new name for DROP, CREATE and INSERT. The
dump fails without SELECT, SHOW VIEW (if there are views) and EVENT; without TRIGGER, or the right to see
routines, it leaves these out without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases.mysql_grants import ALL, EVERYTHING, Grant, is_allowed, read_grants
from django_runbook.databases.surroundings import Needs, Trouble

if TYPE_CHECKING:
    from django_runbook.databases.mysql import MySQLDatabase

PLAN = gettext_lazy("The plan needs the right %(right)s on %(place)s, which the user does not have.")
BACKUP = gettext_lazy("The backup needs the right %(right)s on %(place)s, which the user does not have.")
NO_TRIGGERS = gettext_lazy(
    "If the database has triggers, the backup leaves them out: the user does not have the right %(right)s on "
    "%(place)s."
)
NO_ROLE = ("", "NONE", "None")
FOREIGN = ("REFERENCES", "SELECT", "INSERT", "UPDATE", "DELETE")
"""The first is meant for it, and any will do: MySQL's manual, "FOREIGN KEY Constraints"; MariaDB too."""
RESTORE = ("ALTER", "CREATE", "DROP", "INSERT", "LOCK TABLES", "REFERENCES", "SELECT")
"""What dropping everything and loading a dump of tables asks for, for the whole database."""
VIEWS = (
    "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'VIEW'"
)
HIDDEN_ROUTINES = (
    "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()"
    " AND ROUTINE_DEFINITION IS NULL AND ROUTINE_BODY = 'SQL' ORDER BY ROUTINE_NAME"
)

Right = tuple[str, str]
"""A right and the table that it is needed on, or "*"."""


def missing_rights(database: MySQLDatabase, needs: Needs) -> Iterator[Trouble]:
    """What this user's grants, with those of the roles that are active, do not cover."""
    rights = _Rights(database, database.name, granted(database))
    yield from rights.troubles(PLAN, rights.missing(_of_plan(needs)), is_error=True)
    if needs.backup:
        yield from rights.of_dump()
        missing = [right for right, _table in rights.missing((right, EVERYTHING) for right in RESTORE)]
        if missing:
            yield rights.of_restore(missing)


def granted(database: MySQLDatabase) -> list[Grant]:
    """This user's grants, with those of the roles that are active.

    MariaDB shows what the active role gives, too; MySQL has to be asked for it.
    """
    [(roles,)] = database.ask("SELECT CURRENT_ROLE()") if _has_roles(database) else [("",)]
    using = "" if database.is_mariadb or str(roles) in NO_ROLE else f" FOR CURRENT_USER() USING {roles}"
    return read_grants(str(line) for (line,) in database.ask(f"SHOW GRANTS{using}"))


def current_user(database: MySQLDatabase) -> str:
    """As the server has it: quoted, with its host."""
    [(user,)] = database.ask("SELECT CURRENT_USER()")
    name, _at, host = str(user).rpartition("@")
    return f"{database.quote(name)}@{database.quote(host)}"


def _has_roles(database: MySQLDatabase) -> bool:
    return database.is_mariadb or database.server().version >= (8, 0)


def _of_plan(needs: Needs) -> Iterator[Right]:
    for right, tables in {
        "SELECT": needs.read | needs.written,
        "INSERT": needs.written | needs.renamed_to,
        "UPDATE": needs.written,
        "DELETE": needs.written,
        "CREATE": needs.creates | needs.renamed_to,
        "ALTER": needs.altered | needs.renamed,
        "INDEX": needs.indexed,
        "REFERENCES": needs.referenced,
        "DROP": needs.dropped | needs.renamed,
    }.items():
        yield from ((right, table) for table in sorted(tables))


class _Rights:
    """The grants of one user, and one database."""

    def __init__(self, database: MySQLDatabase, name: str, grants: list[Grant]) -> None:
        self.database = database
        self.name = name
        self.grants = grants

    @cached_property
    def _tables(self) -> set[str]:
        names = self.database.connection.introspection.table_names(include_views=True)
        return {str(name) for name in names}

    def missing(self, rights: Iterator[Right]) -> list[Right]:
        return [it for it in rights if not self.has(*it) and not self._may_refer(*it)]

    def _may_refer(self, right: str, table: str) -> bool:
        return right == FOREIGN[0] and table != EVERYTHING and any(self.has(it, table) for it in FOREIGN)

    def has(self, right: str, table: str = EVERYTHING, schema: str = "") -> bool:
        return is_allowed(self.grants, right, schema or self.name, table)

    def of_dump(self) -> Iterator[Trouble]:
        [(views,)] = self.database.ask(VIEWS)
        needed = [("SELECT", name) for name in sorted(self._tables)]
        needed += [("SHOW VIEW", EVERYTHING)] if views else []
        needed += [("EVENT", EVERYTHING)]
        yield from self.troubles(BACKUP, self.missing(iter(needed)), is_error=True)
        yield from self._left_out()

    def _left_out(self) -> Iterator[Trouble]:
        """What the dump program cannot see, it does not miss."""
        if not self.has("TRIGGER"):
            yield from self.troubles(NO_TRIGGERS, [("TRIGGER", EVERYTHING)])
        hidden = [str(name) for (name,) in self.database.ask(HIDDEN_ROUTINES)]
        if hidden:
            yield Trouble(
                message=_("The backup fails at routines whose text this user may not see: %(routines)s.")
                % {"routines": ", ".join(hidden)},
                hint=self._see_routines,
                is_error=True,
            )
        elif not self._sees_routines:
            yield Trouble(
                message=_(
                    "If the database has routines of other users, the backup leaves them out: this user may "
                    "not see them."
                ),
                hint=self._see_routines,
            )

    @property
    def _sees_routines(self) -> bool:
        """Of all its routines it sees the names at least, so that a hidden text is known to be hidden."""
        if self.database.is_mariadb and self.has("SELECT", "proc", "mysql"):
            return True
        return any(self.has(right) for right in ("EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE", ALL))

    @property
    def _see_routines(self) -> str:
        if self.database.is_mariadb:
            return f"GRANT SELECT ON `mysql`.`proc` TO {self.user};"
        return f"GRANT SHOW_ROUTINE ON *.* TO {self.user};"

    def of_restore(self, missing: list[str]) -> Trouble:
        return Trouble(
            message=_(
                "This user could not restore the backup: it does not have %(rights)s on the whole database "
                "%(name)s."
            )
            % {"rights": ", ".join(missing), "name": self.name},
            hint=self.grant(", ".join(missing), EVERYTHING),
            subject="restore",
        )

    def troubles(self, words: Promise, missing: list[Right], *, is_error: bool = False) -> Iterator[Trouble]:
        """One for each right."""
        for right in dict.fromkeys(right for right, _table in missing):
            tables = [table for other, table in missing if other == right]
            places = [self.name if it == EVERYTHING else f"{self.name}.{it}" for it in tables]
            yield Trouble(
                message=str(words) % {"right": right, "place": ", ".join(places)},
                hint="\n".join(dict.fromkeys(self.grant(right, table) for table in tables)),
                is_error=is_error,
                subject=tables[0] if len(tables) == 1 and tables[0] != EVERYTHING else "",
            )

    def grant(self, rights: str, table: str) -> str:
        """The statement that gives a right: on a table that is there, or on the database by a pattern."""
        quote = self.database.quote
        if table in self._tables:
            return f"GRANT {rights} ON {quote(self.name)}.{quote(table)} TO {self.user};"
        pattern = self.name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
        return f"GRANT {rights} ON {quote(pattern)}.* TO {self.user};"

    @property
    def user(self) -> str:
        return current_user(self.database)
