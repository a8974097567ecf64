"""Where the rows of today are, whatever a plan renames, adds and drops before an operation."""

from __future__ import annotations

from typing import Any

import pytest
from coming_failures import Library, table
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.test import override_settings
from library import add

from django_runbook.databases import Database
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.layout import layout_of
from django_runbook.schema import state_at
from django_runbook.steps import Backfill, Migrate

NAME = models.CharField(max_length=20)
AUTHORS = table("Author", name=NAME, age=models.IntegerField(null=True))
BOOKS = table(
    "Book",
    author=models.ForeignKey("library.author", models.CASCADE),
    readers=models.ManyToManyField("library.author", related_name="+"),
)
KEY = ("library", "writer")
LAST = migrations.RunSQL(migrations.RunSQL.noop)
"""Something to stand before."""


@pytest.fixture
def library(database: Database) -> Library:
    library = Library(database, [AUTHORS], [BOOKS])
    anna = library.model("Author").create(name="Anna", age=31)
    library.model("Book").create(author_id=anna.pk).readers.add(anna.pk)
    return library


def before_last(library: Library, *operations: Operation) -> Coming:
    return library.comes(operations, [LAST]).operations()[-1]


on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.mark.parametrize(
    "operations",
    [
        [migrations.RenameModel("Author", "Writer"), migrations.RenameField("writer", "name", "called")],
        [
            migrations.RenameField("author", "name", "called"),
            migrations.AlterModelTable("author", "writers"),
            migrations.RenameModel("Author", "Writer"),
        ],
        [
            migrations.AlterField("author", "name", models.CharField(max_length=20, db_column="n")),
            migrations.RenameField("author", "name", "called"),
            migrations.RenameModel("Author", "Writer"),
        ],
        [
            migrations.SeparateDatabaseAndState(
                database_operations=[migrations.AlterModelTable("author", "library_writer")],
                state_operations=[
                    migrations.RenameModel("Author", "Writer"),
                    migrations.RenameField("writer", "name", "called"),
                    migrations.AlterField(
                        "writer", "called", models.CharField(max_length=20, db_column="name")
                    ),
                ],
            )
        ],
        [
            migrations.SeparateDatabaseAndState(
                state_operations=[
                    migrations.CreateModel(
                        "Writer",
                        [
                            ("id", models.BigAutoField(primary_key=True)),
                            ("called", models.CharField(max_length=20, db_column="name")),
                        ],
                        options={"db_table": "library_author"},
                    ),
                ],
            )
        ],
    ],
)
def test_rows_are_read_where_they_are_today(library: Library, operations: list[Operation]):
    it = before_last(library, *operations)
    assert it.is_here(KEY)
    assert it.today[KEY].table == "library_author"
    assert it.today[KEY].columns["called"] == "name"
    rows = it.rows_today(KEY)._base_manager.using(library.database.alias)
    assert list(rows.values_list("called", flat=True)) == ["Anna"]


@on_sqlite
def test_columns_that_a_plan_adds_are_not_here_and_have_their_default(library: Library):
    it = before_last(library, add("shelf", models.IntegerField(default=3)))
    here = it.today["library", "author"]
    assert set(here.columns) == {"id", "name", "age"}
    assert here.added["shelf"].default == 3
    rows = it.rows_today(("library", "author"))
    assert {field.name for field in rows._meta.fields} == {"id", "name", "age"}


@on_sqlite
def test_a_column_that_is_dropped_and_added_again_is_new(library: Library):
    it = before_last(
        library, migrations.RemoveField("author", "age"), add("age", models.TextField(null=True))
    )
    assert "age" not in it.today["library", "author"].columns
    assert "age" in it.today["library", "author"].added


@on_sqlite
def test_what_a_plan_creates_or_drops_is_not_here(library: Library):
    it = before_last(library, migrations.DeleteModel("Book"), table("Shelf"), table("Book", title=NAME))
    assert not it.is_here(("library", "book"))
    assert not it.is_here(("library", "shelf"))
    assert not it.is_here(("library", "nothing"))
    assert it.is_here(("library", "author"))


@on_sqlite
def test_unmanaged_models_and_proxies_are_not_here(library: Library):
    it = before_last(
        library,
        migrations.CreateModel("Old", [("id", models.AutoField(primary_key=True))], {"managed": False}),
        migrations.CreateModel("Friend", [], {"proxy": True}, bases=("library.author",)),
    )
    assert not it.is_here(("library", "old"))
    assert not it.is_here(("library", "friend"))


def test_tables_between_two_models_are_followed(library: Library):
    through = migrations.SeparateDatabaseAndState(
        state_operations=[
            migrations.CreateModel(
                "Reading",
                [
                    ("id", models.BigAutoField(primary_key=True)),
                    ("writer", models.ForeignKey("library.writer", models.CASCADE, related_name="+")),
                    ("tome", models.ForeignKey("library.tome", models.CASCADE, related_name="+")),
                ],
                options={"db_table": "library_tome_fans"},
            )
        ]
    )
    it = before_last(
        library,
        migrations.RenameModel("Author", "Writer"),
        migrations.RenameModel("Book", "Tome"),
        migrations.RenameField("tome", "readers", "fans"),
        through,
    )
    here = it.today["library", "reading"]
    assert here.table == "library_book_readers"
    assert here.columns == {"id": "id", "writer": "author_id", "tome": "book_id"}
    rows = it.rows_today(("library", "reading"))._base_manager.using(library.database.alias)
    assert rows.count() == 1
    assert rows.get().writer_id == 1


def test_a_child_is_read_with_its_parent(database: Database):
    poet = migrations.CreateModel(
        "Poet",
        [
            (
                "author_ptr",
                models.OneToOneField(
                    "library.author", models.CASCADE, parent_link=True, primary_key=True, serialize=False
                ),
            ),
            ("style", NAME),
        ],
        bases=("library.author",),
    )
    library = Library(database, [AUTHORS], [poet])
    library.model("Poet").create(name="Anna", style="terse")
    it = before_last(library, migrations.RenameField("author", "name", "called"))
    rows = it.rows_today(("library", "poet"))._base_manager.using(database.alias)
    assert list(rows.values_list("called", "style")) == [("Anna", "terse")]


@on_sqlite
def test_an_order_by_relation_is_a_column(database: Database):
    ordered = migrations.AlterOrderWithRespectTo("book", "author")
    library = Library(database, [AUTHORS], [BOOKS])
    it = before_last(library, ordered)
    assert "_order" in it.today["library", "book"].added
    library = Library.__new__(Library)
    library.database, library.coming = database, []
    library.applied = [("0001_past", [AUTHORS, BOOKS, ordered])]
    it = before_last(library)
    assert "_order" in it.today["library", "book"].columns
    assert "_order" in {field.name for field in it.rows_today(("library", "book"))._meta.fields}


@on_sqlite
def test_the_layout_of_today_is_that_of_the_rendered_models(database: Database):
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(None)
    state = state_at(loader, frozenset(loader.graph.nodes))
    rendered = {
        model._meta.db_table: {field.column for field in model._meta.local_concrete_fields if field.column}
        for model in state.apps.get_models(include_auto_created=True)
        if not model._meta.proxy and model._meta.app_label not in state.real_apps
    }
    layout = layout_of(state)
    assert {name: set(layout[name].columns) for name in rendered} == rendered


@on_sqlite
def test_what_may_change_rows_before_an_operation_is_named(library: Library):
    fill = migrations.RunPython(migrations.RunPython.noop)
    it = library.comes([fill], [migrations.RenameModel("Author", "Writer"), LAST]).operations()[-1]
    assert it.rewritten_by(KEY) == "library.0003_coming: Raw Python operation"
    it = library.comes([migrations.RenameModel("Author", "Writer"), LAST]).operations()[-1]
    assert it.rewritten_by(KEY) == ""


@on_sqlite
def test_nothing_is_rendered_before_it_is_asked_for(library: Library):
    for it in library.comes([add("shelf", NAME)], [LAST]).operations():
        assert "apps" not in vars(it.unit.before)
        assert "apps" not in vars(it.unit.after)


class NotHere:
    """A router that keeps authors elsewhere."""

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: object) -> bool:
        return model_name != "author"


@on_sqlite
def test_a_model_that_a_router_keeps_elsewhere_is_not_here(library: Library):
    it = before_last(library)
    with override_settings(DATABASE_ROUTERS=[NotHere()]):
        assert not it.is_here(("library", "author"))
        assert it.is_here(("library", "book"))


@on_sqlite
def test_a_model_that_is_swapped_out_has_no_table(database: Database):
    user = migrations.CreateModel(
        "User", [("id", models.AutoField(primary_key=True))], options={"swappable": "LIBRARY_USER"}
    )
    with override_settings(LIBRARY_USER="library.Author"):
        it = before_last(Library(database, [AUTHORS, user]))
        assert not it.is_here(("library", "user"))


@on_sqlite
def test_a_backfill_is_known_by_the_name_its_model_has_then(library: Library):
    rename = migrations.RenameModel("Author", "Writer")
    library.comes([rename], [LAST])
    [*_first, it] = library.operations(Migrate("library", "0003"), Backfill(Fill), Migrate.all())
    assert it.rewritten_by(KEY) == "Backfill(Fill)"
    assert it.rewritten_by(("library", "shelf")) == ""


class Fill(Backfill):
    model = "library.Writer"

    def batch(self, rows: Any) -> None:
        """Nothing."""
