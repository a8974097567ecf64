"""UPDATE with values of related tables, which QuerySet.update() refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import EmptyResultSet, FieldError, FullResultSet
from django.db import connections, models, transaction
from django.utils.translation import gettext as _

KEY = "joined_key_%d"
VALUE = "joined_value_%d"
"""What keys and values are called in the SELECT that finds them."""
FOUND = "joined_found"
"""What that SELECT is called in the UPDATE."""

Sql = tuple[str, tuple[Any, ...]]


def update_joined(rows: models.QuerySet[Any], **values: Any) -> int:
    """Like `rows.update(…)`, with expressions that may follow relations, as in `F("direction__chief")`.

    One statement: UPDATE … JOIN on MySQL and MariaDB, UPDATE … FROM on PostgreSQL and on SQLite, of which it
    needs 3.33. A row that somebody else changes meanwhile is looked at again, as by `update()`. Conditions
    on a relation belong into a `filter()` of `rows`, as does `relation__isnull=False` where rows that have
    none shall keep what they have. Of several related rows any one counts.

    Return the number of rows changed. Raise FieldError for what is no column of the model's own table, and
    TypeError if `rows` are sliced, combined, grouped or made distinct.
    """
    _raise_unless_plain(rows.query)
    if not values:
        return 0
    rows = rows.order_by()
    rows._for_write = True  # type: ignore[attr-defined] # `db` is where update() would write
    try:
        sql, params = _Update(rows, values).as_sql()
    except EmptyResultSet:
        return 0
    connection: Any = connections[rows.db]
    with (
        transaction.atomic(using=rows.db, savepoint=False),
        connection.cursor() as cursor,
        _joins_as_written(connection, cursor),
    ):
        cursor.execute(sql, params)
        return int(cursor.rowcount)


@contextmanager
def _joins_as_written(connection: Any, cursor: Any) -> Iterator[None]:
    """Let PostgreSQL begin with the rows: it knows nothing yet of a column that was just added.

    By itself it may begin with the related tables, and read the whole table for each batch.
    """
    if connection.vendor != "postgresql":
        yield
        return
    cursor.execute("SHOW join_collapse_limit")
    [before] = cursor.fetchone()
    cursor.execute("SET LOCAL join_collapse_limit = 1")
    yield
    cursor.execute("SELECT set_config('join_collapse_limit', %s, true)", [before])


def _raise_unless_plain(query: Any) -> None:
    if query.is_sliced or query.combinator or query.distinct or query.group_by is not None:
        raise TypeError(
            _("update_joined() takes rows of one table: not sliced, combined, grouped or made distinct.")
        )


class _Update:
    """The statement in the making. Columns to be set are found by a SELECT under the names in `found`."""

    def __init__(self, rows: models.QuerySet[Any], values: dict[str, Any]) -> None:
        self.connection: Any = connections[rows.db]
        self.options: Any = rows.model._meta
        self.rows: Any = rows.query
        related = {name: value for name, value in values.items() if hasattr(value, "resolve_expression")}
        self.found = {VALUE % number: self._column(name) for number, name in enumerate(related)}
        self.keys = {KEY % number: field for number, field in enumerate(self.options.pk_fields)}
        named = {name: models.F(field.attname) for name, field in self.keys.items()}
        named.update(zip(self.found, related.values(), strict=True))
        self.select: Any = rows.annotate(**named).values_list(*named).query
        self.plain = {self._column(name): values[name] for name in values if name not in related}

    def as_sql(self) -> Sql:
        """Raise EmptyResultSet if no row can fulfil the conditions."""
        return self._with_join() if self.connection.vendor == "mysql" else self._with_from()

    def _with_join(self) -> Sql:
        """The server locks a row before it looks at the conditions, in this form alone."""
        compiler = self._compiler_of(self.select)
        compiler.pre_sql_setup()
        table = self._quoted(self.select.get_initial_alias())
        tables, tables_params = compiler.get_from_clause()
        sets = [
            (f"{table}.{self._quoted(self.found[name].column)} = {sql}", params)
            for _node, (sql, params), name in compiler.select
            if name in self.found
        ]
        plain = [(f"{table}.{sql}", params) for sql, params in self._plain_sets()]
        assigned, set_params = _joined([*sets, *plain], ", ")
        where, where_params = self._where(compiler, compiler.where)
        sql = f"UPDATE {' '.join(tables)} SET {assigned}{f' WHERE {where}' if where else ''}"
        return sql, (*tables_params, *set_params, *where_params)

    def _with_from(self) -> Sql:
        """The conditions of `rows` are there twice: without them a planner may read the whole table."""
        select, select_params = self._compiler_of(self.select).as_sql()
        if self.connection.features.has_select_for_update_of:
            select += f" {self._for_update()}"
        table, found = self._quoted(self.options.db_table), self._quoted(FOUND)
        sets = [
            (f"{self._quoted(field.column)} = {found}.{self._quoted(name)}", ())
            for name, field in self.found.items()
        ]
        assigned, set_params = _joined([*sets, *self._plain_sets()], ", ")
        same = [
            (f"{table}.{self._quoted(field.column)} = {found}.{self._quoted(name)}", ())
            for name, field in self.keys.items()
        ]
        where, where_params = _joined([*same, *self._conditions_of_its_own()], " AND ")
        sql = f"UPDATE {table} SET {assigned} FROM ({select}) {found} WHERE {where}"
        return sql, (*set_params, *select_params, *where_params)

    def _for_update(self) -> str:
        alias = self._quoted(self.select.get_initial_alias())
        no_key = bool(self.connection.features.has_select_for_no_key_update)
        return str(self.connection.ops.for_update_sql(of=(alias,), no_key=no_key))

    def _conditions_of_its_own(self) -> list[Sql]:
        """Those of `rows`, if they are about no other table."""
        compiler = self._compiler_of(self.rows)
        compiler.pre_sql_setup()
        if set(self.rows.alias_map) != {self.options.db_table}:
            return []
        where, params = self._where(compiler, compiler.where)
        return [(where, params)] if where else []

    def _plain_sets(self) -> list[Sql]:
        compiler = self._compiler_of(self.rows)
        sets = []
        for field, value in self.plain.items():
            if hasattr(value, "prepare_database_save"):
                value = value.prepare_database_save(field)
            wrapped = models.Value(value, output_field=field)
            sql, params = compiler.compile(
                wrapped.resolve_expression(self.rows, allow_joins=False, for_save=True)
            )
            sets.append((f"{self._quoted(field.column)} = {sql}", tuple(params)))
        return sets

    def _where(self, compiler: Any, where: Any) -> Sql:
        try:
            sql, params = compiler.compile(where)
        except FullResultSet:
            return "", ()
        return sql, tuple(params)

    def _column(self, name: str) -> Any:
        field = self.options.get_field(name)
        if field not in self.options.local_concrete_fields:
            raise FieldError(
                _("%(name)s is no column of the table of %(model)s itself.")
                % {"name": name, "model": self.options.label}
            )
        return field

    def _compiler_of(self, query: Any) -> Any:
        return query.get_compiler(connection=self.connection)

    def _quoted(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))


def _joined(parts: list[Sql], between: str) -> Sql:
    return between.join(sql for sql, _params in parts), tuple(it for _sql, params in parts for it in params)
