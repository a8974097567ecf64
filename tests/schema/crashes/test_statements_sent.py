"""What is collected beforehand, and from whom.

That it is what Django sends, statement by statement, is part of every drill.
"""

from __future__ import annotations

from collections.abc import Callable

from bench import Bench, Case
from django.db import migrations
from situations_of_migrations import CASES, alone


def test_every_operation_of_django_is_in_a_case():
    made = {type(operation) for case in CASES for operation in operations_of(case)}
    assert set(migrations.operations.__all__) - {operation.__name__ for operation in made} == set()


def operations_of(case: Case) -> list[object]:
    found: list[object] = []
    waiting = [*case.setup(), *case.operations()]
    while waiting:
        operation = waiting.pop()
        found.append(operation)
        waiting += getattr(operation, "database_operations", [])
    return found


def test_parameters_by_name_are_collected(make_bench: Callable[[str, Case], Bench]):
    sql = "UPDATE library_author SET name = %(name)s, age = age + 1 WHERE id = %(id)s"
    case = alone("names", lambda: [migrations.RunSQL([(sql, {"name": "100%'", "id": 1})])])
    bench = make_bench("mariadb", case)
    bench.process()
    assert bench.database.ask("SELECT name, age FROM library_author WHERE id = 1") == [("100%'", 31)]


class Overridden(migrations.SeparateDatabaseAndState):
    """Does something else than its parts do one by one."""

    def database_forwards(self, *args: object) -> None:
        return


def test_an_operation_that_overrides_its_parts_is_asked_itself(make_bench: Callable[[str, Case], Bench]):
    parts = [migrations.RunSQL("UPDATE library_author SET age = 0")]
    bench = make_bench("mariadb", alone("overridden", lambda: [Overridden(database_operations=parts)]))
    bench.process()
    assert bench.database.ask("SELECT age FROM library_author ORDER BY id") == [(30,), (40,)]
