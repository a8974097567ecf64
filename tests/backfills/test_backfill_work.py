"""What a backfill does with rows: each once, and those aside that are in the way."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from django.db import IntegrityError
from django.db.models import F, Q, QuerySet
from harvest import KEYS, AddOne, ByMoment, ByUuid, Label, Sheaf, Store, counts, fill, make_run, rows

from django_runbook.backfill_ledger import BackfillLedger
from django_runbook.backfills.runner import ROUNDS
from django_runbook.backfills.task import Task
from django_runbook.backfills.worker import LISTED, Pace
from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError, SessionLost

IN_ONE = Pace(target=None, size=100)


def ledger(database: Database) -> BackfillLedger:
    return BackfillLedger.begin(database, "r", "1-backfill")


def test_a_table_without_rows_is_done_at_once_with_its_hooks(harvest: Database):
    class Hooked(AddOne):
        def prepare(self, apps: Any) -> None:
            rows(harvest, Store).create(sheaf_id=1)

        def finish(self, apps: Any) -> None:
            rows(harvest, Store).create(sheaf_id=2)

    assert make_run(harvest, Hooked).execute() == {"rows": 0, "batches": 0}
    assert rows(harvest, Store).count() == 2


@pytest.mark.parametrize("count", [1, 3, 4, 10])
def test_batches_cover_every_row(harvest: Database, count: int):
    fill(harvest, count)
    assert make_run(harvest).execute() == {"rows": count, "batches": -(-count // 3)}
    assert counts(harvest) == [1] * count


def test_a_second_execution_does_nothing(harvest: Database):
    fill(harvest, 7)
    first = make_run(harvest).execute()
    assert make_run(harvest).execute() == first
    assert counts(harvest) == [1] * 7


def test_rows_that_are_done_already_are_passed_over(harvest: Database):
    fill(harvest, 7)
    rows(harvest).update(label="x")
    assert make_run(harvest, Label).execute()["rows"] == 0
    assert counts(harvest) == [0] * 7


class TestForms:
    def test_objects_one_by_one(self, harvest: Database):
        class ByObject(AddOne):
            def batch(self, rows: QuerySet[Any]) -> None:
                found = list(rows)
                for row in found:
                    row.n += row.id
                rows.model._base_manager.using(rows.db).bulk_update(found, ["n"])

        fill(harvest, 8)
        assert make_run(harvest, ByObject).execute()["rows"] == 8
        assert counts(harvest) == list(range(1, 9))

    def test_into_another_table(self, harvest: Database):
        class Stored(AddOne):
            def batch(self, rows: QuerySet[Any]) -> int:
                new = [Store(sheaf_id=pk) for pk in rows.values_list("pk", flat=True)]
                return len(Store._base_manager.using(rows.db).bulk_create(new))

        fill(harvest, 8)
        assert make_run(harvest, Stored).execute()["rows"] == 8
        assert rows(harvest, Store).count() == 8

    def test_raw_sql_over_the_range(self, harvest: Database):
        class Raw(AddOne):
            def batch(self, rows: QuerySet[Any]) -> int:
                with harvest.connection.cursor() as cursor:
                    keys = list(rows.values_list("pk", flat=True))
                    table = harvest.quote(Sheaf._meta.db_table)
                    cursor.execute(
                        f"UPDATE {table} SET n = n + 1 WHERE id BETWEEN %s AND %s",
                        [min(keys), max(keys)],
                    )
                    return cursor.rowcount

        fill(harvest, 8)
        assert make_run(harvest, Raw).execute()["rows"] == 8
        assert counts(harvest) == [1] * 8

    def test_a_deletion(self, harvest: Database):
        class Deletion(AddOne):
            rows = Q(id__gt=5)

            def batch(self, rows: QuerySet[Any]) -> int:
                return rows.delete()[0]

        fill(harvest, 8)
        assert make_run(harvest, Deletion).execute()["rows"] == 3
        assert rows(harvest).count() == 5


class TestRowsThatComeMeanwhile:
    def test_are_done_if_the_task_can_tell_them(self, harvest: Database):
        class Growing(Label):
            grown = 0

            def batch(self, rows: QuerySet[Any]) -> int:
                done = rows.update(label="done", n=F("n") + 1)
                if self.grown < 4:
                    self.grown += 1
                    rows.model._base_manager.using(rows.db).create()
                return done

        fill(harvest, 7)
        done = make_run(harvest, Growing).execute()
        assert counts(harvest) == [1] * 11
        assert done == {"rows": 11, "batches": done["batches"], "rounds": 3}

    def test_in_front_of_the_cursor_of_a_round_too(self, harvest: Database):
        class Filling(Label):
            filled = False

            def batch(self, rows: QuerySet[Any]) -> int:
                done = rows.update(label="done", n=F("n") + 1)
                if not self.filled:
                    self.filled = True
                    rows.model._base_manager.using(rows.db).create(id=-7)
                return done

        fill(harvest, 7)
        make_run(harvest, Filling).execute()
        assert counts(harvest) == [1] * 8

    def test_are_told_and_left_if_it_cannot(self, harvest: Database):
        class Growing(AddOne):
            def batch(self, rows: QuerySet[Any]) -> int:
                rows.model._base_manager.using(rows.db).create()
                return rows.update(n=F("n") + 1)

        fill(harvest, 6)
        assert make_run(harvest, Growing).execute() == {"rows": 6, "batches": 2, "left": 2}
        assert counts(harvest) == [1] * 6 + [0, 0]

    def test_faster_than_they_are_done_end_it_by_rule(self, harvest: Database):
        class Hydra(Label):
            def batch(self, rows: QuerySet[Any]) -> int:
                done = rows.update(label="done", n=F("n") + 1)
                rows.model._base_manager.using(rows.db).bulk_create([Sheaf(), Sheaf()])
                return done

        fill(harvest, 1)
        done = make_run(harvest, Hydra, pace=IN_ONE).execute()
        assert done["rounds"] == ROUNDS
        assert done["left"] == 2
        assert set(counts(harvest)[:-2]) == {1}

    def test_rows_that_a_task_cannot_do_end_it_too(self, harvest: Database):
        class Odd(Label):
            def batch(self, rows: QuerySet[Any]) -> int:
                return rows.filter(id__lte=4).update(label="done", n=F("n") + 1)

        fill(harvest, 7)
        assert make_run(harvest, Odd).execute() == {"rows": 4, "batches": 4, "rounds": 2, "left": 3}


class Poisoned(AddOne):
    """Fails at rows whose label says so, with an error of Python's."""

    def batch(self, rows: QuerySet[Any]) -> int:
        done = rows.update(n=F("n") + 1)
        if bad := rows.filter(label="poison").first():
            raise ValueError(f"sheaf {bad.pk} is mouldy")
        return done


class TestPoisonRows:
    @pytest.mark.parametrize("bad", [{1}, {20}, {9}, {9, 10}, {1, 2, 19, 20}, {8, 10, 12}])
    def test_are_found_wherever_they_are_and_all_others_done(self, harvest: Database, bad: set[int]):
        fill(harvest, 20)
        rows(harvest).filter(pk__in=bad).update(label="poison")
        with pytest.raises(RunbookError) as raised:
            make_run(harvest, Poisoned, pace=Pace(target=None, size=7)).execute()
        assert counts(harvest) == [int(pk not in bad) for pk in range(1, 21)]
        first = min(bad)
        assert f"- {first}: ValueError: sheaf {first} is mouldy" in raised.value.message
        assert {row.key for row in ledger(harvest).quarantine} == {f'["{pk}"]' for pk in bad}

    def test_are_tried_again_by_the_next_attempt(self, harvest: Database):
        fill(harvest, 10)
        rows(harvest).filter(pk__in=(4, 9)).update(label="poison")
        with pytest.raises(RunbookError, match=r"2 rows of harvest\.Sheaf could not be done"):
            make_run(harvest, Poisoned).execute()
        rows(harvest).filter(pk=4).update(label="sound")
        with pytest.raises(RunbookError, match=r"1 row of harvest\.Sheaf could not be done"):
            make_run(harvest, Poisoned).execute()
        rows(harvest).update(label="sound")
        make_run(harvest, Poisoned).execute()
        assert counts(harvest) == [1] * 10

    def test_are_tolerated_up_to_a_number(self, harvest: Database):
        fill(harvest, 10)
        rows(harvest).filter(pk__in=(4, 9)).update(label="poison")
        pace = Pace(target=None, size=4, tolerate=2)
        assert make_run(harvest, Poisoned, pace=pace).execute()["quarantined"] == 2
        rows(harvest).update(label="sound")
        make_run(harvest, Poisoned, pace=pace).retry_quarantined()
        assert counts(harvest) == [1] * 10
        assert not ledger(harvest).quarantine.exists()

    def test_end_it_soon_if_all_rows_are(self, harvest: Database):
        fill(harvest, 200)
        rows(harvest).update(label="poison")
        with pytest.raises(RunbookError, match="could not be done") as raised:
            make_run(harvest, Poisoned, pace=IN_ONE).execute()
        assert "gave up" in raised.value.hint
        assert ledger(harvest).quarantine.count() == LISTED + 1
        assert counts(harvest) == [0] * 200

    def test_of_the_database_are_found_too(self, harvest: Database):
        class Stored(AddOne):
            def batch(self, rows: QuerySet[Any]) -> int:
                new = [Store(sheaf_id=pk) for pk in rows.values_list("pk", flat=True)]
                return len(Store._base_manager.using(rows.db).bulk_create(new))

        fill(harvest, 10)
        rows(harvest, Store).create(sheaf_id=6)
        with pytest.raises(RunbookError, match=r"(?s)1 row .*- 6: .*(UNIQUE|Duplicate|unique)"):
            make_run(harvest, Stored).execute()
        assert rows(harvest, Store).count() == 10


class TestWhatIsNoFaultOfARow:
    @pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
    def test_a_lost_connection(self, harvest: Database):
        class Cut(AddOne):
            def batch(self, rows: QuerySet[Any]) -> int:
                rows.update(n=F("n") + 1)
                harvest.connection.connection.close()
                return rows.update(n=F("n") + 1)

        fill(harvest, 5)
        with pytest.raises(SessionLost, match="connection to the database was lost in a batch"):
            make_run(harvest, Cut).execute()
        assert counts(harvest) == [0] * 5
        assert not ledger(harvest).quarantine.exists()

    def test_locks_of_others_that_are_let_go(self, harvest: Database):
        attempts: list[int] = []

        class Crowded(AddOne):
            def batch(self, rows: QuerySet[Any]) -> int:
                attempts.append(1)
                done = rows.update(n=F("n") + 1)
                if len(attempts) == 2:
                    raise IntegrityError("as a deadlock") from None
                return done

        fill(harvest, 5)
        harvest.is_transient = lambda error: isinstance(error, IntegrityError)  # type: ignore[method-assign]
        assert make_run(harvest, Crowded).execute()["rows"] == 5
        assert counts(harvest) == [1] * 5
        assert len(attempts) == 3


LABEL = (
    "UPDATE harvest_{table} SET n = n + 1, label = 'done'"
    " WHERE {key} BETWEEN %(first)s AND %(last)s AND label IS NULL"
)


@pytest.mark.parametrize(("table", "key"), [(Sheaf, "id"), (ByUuid, "id"), (ByMoment, "at")])
def test_a_statement_takes_the_place_of_a_batch(harvest: Database, table: type[Any], key: str):
    class Stated(Task):
        model = f"harvest.{table.__name__}"
        rows = Q(label__isnull=True)
        sql: ClassVar = {
            harvest.connection.vendor: LABEL.format(table=table._meta.model_name, key=key),
            "oracle": "UPDATE",
        }

    rows(harvest, table).bulk_create([table(**it) for it in KEYS[table.__name__]])
    last = rows(harvest, table).order_by("-pk").first()
    rows(harvest, table).filter(pk=last.pk).update(label="not this one")
    count = len(KEYS[table.__name__]) - 1
    assert make_run(harvest, Stated).execute()["rows"] == count
    assert counts(harvest, table) == [1] * count + [0]


def test_a_task_needs_no_return_value_for_its_count(harvest: Database):
    class Silent(Task):
        model = "harvest.Sheaf"
        rows = Q(id__gt=2)

        def batch(self, rows: QuerySet[Any]) -> None:
            rows.update(n=F("n") + 1)

    fill(harvest, 8)
    assert make_run(harvest, Silent).execute()["rows"] == 6


def test_what_somebody_has_taken_over_is_given_up_without_effect(harvest: Database):
    class Overtaken(AddOne):
        def batch(self, rows: QuerySet[Any]) -> int:
            if rows.filter(pk=4).exists():
                ledger(harvest).release()
            return rows.update(n=F("n") + 1)

    fill(harvest, 9)
    with pytest.raises(RunbookError):
        make_run(harvest, Overtaken).execute()
    assert counts(harvest)[:3] == [1] * 3
    assert counts(harvest)[6:] == [0] * 3
