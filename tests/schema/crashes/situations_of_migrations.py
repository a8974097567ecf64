"""Migrations to be killed in: every operation of Django's, alone and in company."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from bench import APP, Case
from django.contrib.postgres import operations as postgresql
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import IntegerRangeField
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models import F, Q
from django.db.models.functions import Upper

SERVERS = ("mysql", "postgresql")
AWKWARD = "100% o'clock \"\\ é %s"


def model(name: str, /, *, options: dict[str, Any] | None = None, **fields: models.Field) -> Operation:
    key = (
        []
        if any(field.primary_key for field in fields.values())
        else [("id", models.BigAutoField(primary_key=True))]
    )
    return migrations.CreateModel(name, [*key, *fields.items()], options=options or {})


def add(name: str, field: models.Field, to: str = "author", **words: Any) -> Operation:
    return migrations.AddField(to, name, field, **words)


def alter(name: str, field: models.Field, of: str = "author", **words: Any) -> Operation:
    return migrations.AlterField(of, name, field, **words)


def text(length: int = 80, **words: Any) -> models.Field:
    return models.CharField(max_length=length, **words)


def key(to: str = "author", **words: Any) -> models.Field:
    if to != "self":
        to = f"{APP}.{to}"
    return models.ForeignKey(to, on_delete=models.CASCADE, **words)


def many(to: str = "tag", **words: Any) -> models.Field:
    if to != "self":
        to = f"{APP}.{to}"
    return models.ManyToManyField(to, **words)


# Tables to begin with


def authors() -> list[Operation]:
    return [model("Author", name=text(), slug=text(null=True), age=models.IntegerField(default=0))]


AUTHORS = (
    "INSERT INTO library_author (id, name, slug, age) VALUES (1, 'Ann', 'ann', 30)",
    "INSERT INTO library_author (id, name, slug, age) VALUES (2, 'Bob', NULL, 40)",
)


def books() -> list[Operation]:
    return [*authors(), model("Book", title=text(), author=key())]


BOOKS = (
    *AUTHORS,
    "INSERT INTO library_book (id, title, author_id) VALUES (1, 'A', 1)",
    "INSERT INTO library_book (id, title, author_id) VALUES (2, 'B', 2)",
)


def tagged() -> list[Operation]:
    return [
        model("Tag", word=text()),
        model("Author", name=text(), mentor=key("self", null=True), tags=many(), friends=many("self")),
        model("Book", title=text(), author=key()),
    ]


TAGGED = (
    "INSERT INTO library_tag (id, word) VALUES (1, 'x')",
    "INSERT INTO library_author (id, name, mentor_id) VALUES (1, 'Ann', NULL)",
    "INSERT INTO library_author (id, name, mentor_id) VALUES (2, 'Bob', 1)",
    "INSERT INTO library_author_tags (id, author_id, tag_id) VALUES (1, 2, 1)",
    "INSERT INTO library_author_friends (id, from_author_id, to_author_id) VALUES (1, 1, 2)",
    "INSERT INTO library_book (id, title, author_id) VALUES (1, 'A', 1)",
)


def organisation() -> list[Operation]:
    """The worked case before its migration 0033: direction → service."""
    return [
        model("Direction", nom=text(200)),
        model(
            "Service",
            nom=text(200),
            direction=key("direction"),
            options={"unique_together": {("nom", "direction")}},
        ),
    ]


ORGANISATION = (
    "INSERT INTO library_direction (id, nom) VALUES (1, 'D')",
    "INSERT INTO library_service (id, nom, direction_id) VALUES (1, 'S', 1)",
    "INSERT INTO library_service (id, nom, direction_id) VALUES (2, 'T', 1)",
)


def organisation_gains_a_level() -> list[Operation]:
    return [
        model(
            "SousDirection",
            nom=text(200),
            direction=key("direction"),
            options={"unique_together": {("nom", "direction")}},
        ),
        alter("direction", key("direction", null=True), of="service"),
        migrations.AlterUniqueTogether("service", set()),
        add("sous_direction", key("sousdirection", null=True), to="service"),
        migrations.AlterUniqueTogether("service", {("nom", "sous_direction")}),
    ]


ORGANISATION_GAINS_A_LEVEL = Case(
    name="an organisation gains a level",
    setup=organisation,
    rows=ORGANISATION,
    operations=organisation_gains_a_level,
)


def indexed(**options: Any) -> Any:
    def setup() -> list[Operation]:
        return [
            model(
                "Author",
                name=text(),
                slug=text(null=True),
                age=models.IntegerField(default=0),
                options=options,
            )
        ]

    return setup


def alone(name: str, operations: Any, setup: Any = authors, rows: Any = AUTHORS, **words: Any) -> Case:
    return Case(name=name, setup=setup, rows=rows, operations=operations, **words)


def each(name: str, setup: Any, rows: Any, operations: dict[str, Any], **words: Any) -> list[Case]:
    """A case for each operation, which are named."""
    return [
        alone(f"{name} ({detail})", lambda operation=operation: [operation()], setup, rows, **words)
        for detail, operation in operations.items()
    ]


# Functions of RunPython


def grow(apps: Any, editor: Any) -> None:
    model = apps.get_model(APP, "Author")
    model.objects.using(editor.connection.alias).update(age=F("age") + 1)
    model.objects.using(editor.connection.alias).filter(name="Ann").update(age=F("age") + 100)


def settle(apps: Any, editor: Any) -> None:
    apps.get_model(APP, "Author").objects.using(editor.connection.alias).update(age=7)


def fill_slugs(apps: Any, editor: Any) -> None:
    apps.get_model(APP, "Author").objects.using(editor.connection.alias).filter(slug=None).update(slug="none")


def fixed_uuid() -> uuid.UUID:
    return uuid.UUID(int=7)


def a_moment() -> datetime:
    return datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def generated() -> models.Field:
    return models.GeneratedField(expression=F("age") * 2, output_field=models.IntegerField(), db_persist=True)


def seven() -> int:
    return 7


MODELS = [
    alone(
        "CreateModel with everything",
        lambda: [
            model("Tag", word=text(unique=True)),
            model(
                "Poem",
                title=text(db_index=True),
                slug=models.SlugField(),
                author=key(),
                reviewer=models.OneToOneField(f"{APP}.author", models.CASCADE, related_name="+", null=True),
                answer_to=key("self", null=True),
                tags=many(),
                related=many("self"),
                year=models.IntegerField(default=5, db_default=6),
                options={
                    "unique_together": {("title", "author"), ("slug", "year")},
                    "indexes": [models.Index(fields=["year", "-title"], name="poem_year")],
                    "constraints": [
                        models.CheckConstraint(condition=Q(year__gte=0), name="poem_year_positive"),
                        models.UniqueConstraint(fields=["year", "slug"], name="poem_slug"),
                    ],
                    "db_table_comment": "What it's about",
                },
            ),
        ],
    ),
    alone(
        "CreateModel with a through model",
        lambda: [
            model("Tag", word=text()),
            model("Use", author=key(), tag=key("tag")),
            add("tags", many(through=f"{APP}.Use")),
        ],
    ),
    alone(
        "CreateModel that inherits",
        lambda: [
            migrations.CreateModel(
                "Poet",
                [
                    (
                        "author_ptr",
                        models.OneToOneField(
                            f"{APP}.author",
                            models.CASCADE,
                            parent_link=True,
                            primary_key=True,
                            serialize=False,
                        ),
                    ),
                    ("verse", text()),
                ],
                bases=(f"{APP}.author",),
            ),
            migrations.CreateModel("Proxy", [], options={"proxy": True}, bases=(f"{APP}.author",)),
        ],
    ),
    alone("DeleteModel", lambda: [migrations.DeleteModel("book")], books, BOOKS),
    alone(
        "DeleteModel with many-to-many",
        lambda: [migrations.DeleteModel("book"), migrations.DeleteModel("author")],
        tagged,
        TAGGED,
    ),
    alone(
        "RenameModel that is pointed at", lambda: [migrations.RenameModel("author", "writer")], tagged, TAGGED
    ),
    alone("RenameModel of the other side", lambda: [migrations.RenameModel("tag", "label")], tagged, TAGGED),
    alone(
        "RenameModel twice and back",
        lambda: [
            migrations.RenameModel("author", "writer"),
            migrations.RenameField("writer", "name", "title"),
            migrations.RenameModel("writer", "poet"),
            migrations.RenameModel("poet", "author"),
        ],
        books,
        BOOKS,
    ),
    alone("AlterModelTable", lambda: [migrations.AlterModelTable("author", "people")], tagged, TAGGED),
    alone(
        "AlterModelTableComment",
        lambda: [
            migrations.AlterModelTableComment("author", "It's all"),
            migrations.AlterModelTableComment("author", None),
            migrations.AlterModelTableComment("author", "Both"),
        ],
        only=SERVERS,
    ),
    alone(
        "AlterUniqueTogether",
        lambda: [
            migrations.AlterUniqueTogether("author", {("name", "slug"), ("name", "age")}),
            migrations.AlterUniqueTogether("author", {("slug", "age")}),
        ],
        indexed(unique_together={("name", "slug")}),
    ),
    alone(
        "AlterUniqueTogether under a foreign key",
        lambda: [
            migrations.AlterUniqueTogether("book", set()),
            migrations.AlterUniqueTogether("book", {("author", "title")}),
        ],
        lambda: [
            *authors(),
            model("Book", title=text(), author=key(), options={"unique_together": {("author", "title")}}),
        ],
        BOOKS,
    ),
    alone(
        "AlterIndexTogether",
        lambda: [
            migrations.AlterIndexTogether("author", {("name", "slug")}),
            migrations.AlterIndexTogether("author", {("age", "slug")}),
        ],
    ),
    alone(
        "AlterOrderWithRespectTo",
        lambda: [migrations.AlterOrderWithRespectTo("book", "author")],
        books,
        BOOKS,
    ),
    alone(
        "AlterOrderWithRespectTo to none",
        lambda: [migrations.AlterOrderWithRespectTo("book", None)],
        lambda: [
            *authors(),
            model("Book", title=text(), author=key(), options={"order_with_respect_to": "author"}),
        ],
        [*AUTHORS, "INSERT INTO library_book (id, title, author_id, _order) VALUES (1, 'A', 1, 3)"],
    ),
    alone(
        "AlterModelOptions and AlterModelManagers",
        lambda: [
            migrations.AlterModelOptions("author", {"verbose_name": "writer"}),
            migrations.AlterModelManagers("author", [("all_of_them", models.Manager())]),
        ],
    ),
]

INDEXES = [
    alone(
        "AddIndex",
        lambda: [
            migrations.AddIndex("author", models.Index(fields=["name", "-age"], name="by_name")),
            migrations.AddIndex("author", models.Index(fields=["slug"], condition=Q(age=1), name="some")),
            migrations.AddIndex("author", models.Index(Upper("name"), name="by_upper")),
        ],
    ),
    alone(
        "RemoveIndex",
        lambda: [migrations.RemoveIndex("author", "by_name"), migrations.RemoveIndex("author", "by_age")],
        indexed(
            indexes=[
                models.Index(fields=["name"], name="by_name"),
                models.Index(fields=["age"], name="by_age"),
            ]
        ),
    ),
    alone(
        "RenameIndex",
        lambda: [
            migrations.RenameIndex("author", new_name="by_title", old_name="by_name"),
            migrations.RenameIndex("author", new_name="by_slug", old_fields=("slug", "age")),
        ],
        lambda: [
            *indexed(indexes=[models.Index(fields=["name"], name="by_name")])(),
            migrations.AlterIndexTogether("author", {("slug", "age")}),
        ],
    ),
    alone(
        "AddConstraint",
        lambda: [
            migrations.AddConstraint(
                "author", models.CheckConstraint(condition=Q(age__gte=0), name="positive")
            ),
            migrations.AddConstraint("author", models.UniqueConstraint(fields=["name", "age"], name="one")),
            migrations.AddConstraint(
                "author", models.UniqueConstraint(fields=["name"], condition=Q(age__gt=5), name="some")
            ),
            migrations.AddConstraint(
                "author", models.CheckConstraint(condition=~Q(name__contains="100%'"), name="percent")
            ),
        ],
    ),
    alone(
        "RemoveConstraint",
        lambda: [
            migrations.RemoveConstraint("author", "positive"),
            migrations.RemoveConstraint("author", "one"),
        ],
        indexed(
            constraints=[
                models.CheckConstraint(condition=Q(age__gte=0), name="positive"),
                models.UniqueConstraint(fields=["name", "age"], name="one"),
            ]
        ),
    ),
    alone(
        "a constraint is removed and added under its name",
        lambda: [
            migrations.RemoveConstraint("author", "positive"),
            migrations.AddConstraint(
                "author", models.CheckConstraint(condition=Q(age__gte=1), name="positive")
            ),
        ],
        indexed(constraints=[models.CheckConstraint(condition=Q(age__gte=0), name="positive")]),
    ),
    alone(
        "AlterConstraint",
        lambda: [
            migrations.AlterConstraint(
                "author",
                "positive",
                models.CheckConstraint(
                    condition=Q(age__gte=0), name="positive", violation_error_message="no"
                ),
            )
        ],
        indexed(constraints=[models.CheckConstraint(condition=Q(age__gte=0), name="positive")]),
    ),
]

FIELDS = [
    *each(
        "AddField",
        authors,
        AUTHORS,
        {
            "null": lambda: add("note", text(null=True)),
            "default": lambda: add("motto", text(default=AWKWARD)),
            "called": lambda: add("number", models.IntegerField(default=seven)),
            "UUID": lambda: add("code", models.UUIDField(default=fixed_uuid)),
            "bytes": lambda: add("raw", models.BinaryField(default=b"\x00'%\xff")),
            "decimal": lambda: add(
                "price", models.DecimalField(max_digits=6, decimal_places=2, default="1.50")
            ),
            "JSON": lambda: add("extra", models.JSONField(default=dict)),
            "date": lambda: add("born", models.DateTimeField(default=a_moment)),
            "one-off": lambda: add("sure", models.BooleanField(default=True), preserve_default=False),
            "default in the database": lambda: add("rank", models.IntegerField(db_default=3)),
            "text in the database": lambda: add("remark", text(db_default="50% o'clock", db_comment="It's")),
            "unique": lambda: add("unique", text(null=True, unique=True)),
            "indexed": lambda: add("indexed", models.SlugField(null=True)),
            "positive": lambda: add("positive", models.PositiveIntegerField(default=1)),
            "generated": lambda: add("double", generated()),
            "self": lambda: add("mentor", key("self", null=True)),
            "many to self": lambda: add("friends", many("self")),
        },
    ),
    *each(
        "AddField",
        books,
        BOOKS,
        {
            "foreign key": lambda: add("editor", key(null=True, related_name="+"), to="book"),
            "one to one": lambda: add(
                "only",
                models.OneToOneField(f"{APP}.author", models.CASCADE, null=True, related_name="+"),
                to="book",
            ),
            "no constraint": lambda: add(
                "loose", key(null=True, db_constraint=False, related_name="+"), to="book"
            ),
            "no index": lambda: add("bare", key(null=True, db_index=False, related_name="+"), to="book"),
            "many to many": lambda: add("others", many("author", related_name="+"), to="book"),
            "required": lambda: add(
                "second", key(default=1, related_name="+"), to="book", preserve_default=False
            ),
        },
    ),
    *each(
        "RemoveField",
        tagged,
        TAGGED,
        {
            "foreign key": lambda: migrations.RemoveField("book", "author"),
            "many to many": lambda: migrations.RemoveField("author", "tags"),
            "many to self": lambda: migrations.RemoveField("author", "friends"),
            "self": lambda: migrations.RemoveField("author", "mentor"),
        },
    ),
    alone(
        "RemoveField that is indexed",
        lambda: [
            migrations.RemoveField("author", "name"),
            migrations.RemoveField("author", "slug"),
        ],
        lambda: [
            model(
                "Author",
                name=text(db_index=True),
                slug=text(unique=True, null=True),
                age=models.IntegerField(),
            )
        ],
    ),
    *each(
        "AlterField",
        authors,
        AUTHORS,
        {
            "null to not null": lambda: alter("slug", text(default=AWKWARD)),
            "one-off default": lambda: alter("slug", text(default="x"), preserve_default=False),
            "not null to null": lambda: alter("name", text(null=True)),
            "longer": lambda: alter("name", text(200)),
            "number": lambda: alter("age", models.BigIntegerField(default=1)),
            "number to text": lambda: alter("age", text(default="")),
            "unlimited": lambda: alter("slug", models.TextField(null=True)),
            "unique": lambda: alter("name", text(unique=True)),
            "indexed": lambda: alter("slug", text(null=True, db_index=True)),
            "column": lambda: alter("name", text(db_column="title")),
            "column and all": lambda: alter("slug", text(90, db_column="word", default="x", db_index=True)),
            "comment": lambda: alter("name", text(db_comment="It's")),
            "comment and null": lambda: alter("name", text(db_comment="Other", null=True)),
            "default in the database": lambda: alter("age", models.IntegerField(db_default=5)),
            "check": lambda: alter("age", models.PositiveIntegerField(default=0)),
        },
    ),
    *each(
        "AlterField",
        lambda: [
            model(
                "Author",
                name=text(unique=True),
                slug=text(null=True, db_index=True),
                age=models.PositiveIntegerField(db_default=3),
            )
        ],
        AUTHORS,
        {
            "not unique": lambda: alter("name", text()),
            "unique to indexed": lambda: alter("name", text(db_index=True)),
            "indexed to unique": lambda: alter("slug", text(null=True, unique=True)),
            "not indexed": lambda: alter("slug", text(null=True)),
            "other check": lambda: alter("age", models.PositiveSmallIntegerField(db_default=3)),
            "no check": lambda: alter("age", models.IntegerField(default=0)),
        },
    ),
    alone(
        "AlterField of a primary key with foreign keys",
        lambda: [alter("id", models.BigAutoField(primary_key=True), of="author")],
        lambda: [
            model(
                "Author", id=models.AutoField(primary_key=True), name=text(), mentor=key("self", null=True)
            ),
            model("Book", title=text(), author=key(), others=many("author", related_name="+")),
        ],
        (
            "INSERT INTO library_author (id, name, mentor_id) VALUES (1, 'Ann', NULL)",
            "INSERT INTO library_book (id, title, author_id) VALUES (1, 'A', 1)",
            "INSERT INTO library_book_others (id, book_id, author_id) VALUES (1, 1, 1)",
        ),
    ),
    alone(
        "AlterField of a to_field",
        lambda: [alter("code", text(20, unique=True))],
        lambda: [
            model("Author", name=text(), code=text(10, unique=True)),
            model("Book", title=text(), author=key(to_field="code")),
        ],
        (
            "INSERT INTO library_author (id, name, code) VALUES (1, 'Ann', 'a')",
            "INSERT INTO library_book (id, title, author_id) VALUES (1, 'A', 'a')",
        ),
    ),
    alone(
        "AlterField to another to_field",
        lambda: [alter("author", key(to_field="code"), of="book")],
        lambda: [
            model("Author", name=text(), code=models.BigIntegerField(unique=True)),
            model("Book", title=text(), author=key()),
        ],
        (
            "INSERT INTO library_author (id, name, code) VALUES (1, 'Ann', 1)",
            "INSERT INTO library_book (id, title, author_id) VALUES (1, 'A', 1)",
        ),
    ),
    *each(
        "AlterField of a foreign key",
        books,
        BOOKS,
        {
            "null": lambda: alter("author", key(null=True), of="book"),
            "no constraint": lambda: alter("author", key(db_constraint=False), of="book"),
            "no index": lambda: alter("author", key(db_index=False), of="book"),
            "one to one": lambda: alter(
                "author", models.OneToOneField(f"{APP}.author", models.CASCADE), of="book"
            ),
            "number": lambda: alter("author", models.BigIntegerField(), of="book"),
        },
    ),
    *each(
        "AlterField of a foreign key",
        lambda: [*authors(), model("Book", title=text(), author=key(null=True, db_constraint=False))],
        BOOKS,
        {
            "not null": lambda: alter("author", key(default=1), of="book"),
            "column": lambda: alter("author", key(null=True, db_column="poet"), of="book"),
        },
    ),
    alone(
        "AlterField from number to foreign key",
        lambda: [alter("author", key(db_column="author"), of="book")],
        lambda: [*authors(), model("Book", author=models.BigIntegerField(default=1))],
        [*AUTHORS, "INSERT INTO library_book (id, author) VALUES (1, 1)"],
    ),
    *(
        alone(
            f"AlterField of collation ({collation})",
            lambda collation=collation: [alter("name", text(db_collation=collation)), alter("name", text())],
            only=[vendor],
        )
        for vendor, collation in (("mysql", "utf8mb4_bin"), ("postgresql", "C"), ("sqlite", "nocase"))
    ),
    *each(
        "AlterField of a many-to-many",
        tagged,
        TAGGED,
        {
            "its name": lambda: alter("tags", many(related_name="writers")),
            "its table": lambda: alter("tags", many(db_table="author_to_tag")),
            "its own": lambda: alter("friends", many("author", related_name="liked_by")),
        },
    ),
    alone(
        "RenameField",
        lambda: [
            migrations.RenameField("author", "name", "title"),
            migrations.RenameField("author", "age", "years"),
        ],
        lambda: [
            model(
                "Author",
                name=text(db_index=True),
                slug=text(null=True, unique=True),
                age=models.PositiveIntegerField(),
                options={"unique_together": {("name", "age")}},
            )
        ],
    ),
    alone(
        "RenameField that is pointed at",
        lambda: [
            migrations.RenameField("author", "code", "sign"),
            migrations.RenameField("book", "author", "writer"),
        ],
        lambda: [
            model("Author", name=text(), code=text(10, unique=True)),
            model("Book", title=text(), author=key(to_field="code"), others=many("author", related_name="+")),
        ],
        (
            "INSERT INTO library_author (id, name, code) VALUES (1, 'Ann', 'a')",
            "INSERT INTO library_book (id, title, author_id) VALUES (1, 'A', 'a')",
        ),
    ),
]

SPECIAL = [
    alone("RunPython", lambda: [migrations.RunPython(grow), migrations.RunPython(grow)]),
    alone(
        "RunPython between schema operations",
        lambda: [
            add("note", text(null=True, db_index=True)),
            migrations.RunPython(fill_slugs),
            migrations.RunPython(grow),
            alter("slug", text()),
            migrations.RunPython(grow),
        ],
    ),
    alone(
        "RunPython outside of a transaction, which may run again",
        lambda: [
            add("note", text(null=True)),
            migrations.RunPython(settle, atomic=False),
            migrations.RunPython(grow),
        ],
        repeats="SET .?age.? = (7|%s)",
    ),
    alone(
        "RunSQL that counts",
        lambda: [
            migrations.RunSQL(
                "UPDATE library_author SET age = age + 1; -- a remark\n"
                "CREATE TABLE shelf (id integer PRIMARY KEY);\n"
                "INSERT INTO shelf (id) VALUES (1);\n"
                "UPDATE library_author SET age = age + 10;\n"
                "ALTER TABLE library_author ADD COLUMN note varchar(10);\n"
                "CREATE INDEX by_note ON library_author (note);\n"
                "UPDATE library_author SET age = age * 2, note = '100% %s';\n"
                "CREATE VIEW old_people AS SELECT name FROM library_author WHERE age > 50;\n"
                "DROP TABLE shelf;",
                state_operations=[add("note", text(10, null=True))],
            )
        ],
    ),
    alone(
        "RunSQL with parameters",
        lambda: [
            migrations.RunSQL(
                [
                    ("UPDATE library_author SET name = %s, age = age + %s WHERE id = %s", [AWKWARD, 1, 1]),
                    ("UPDATE library_author SET slug = %s WHERE name LIKE '100%%' AND id = %s", [None, 1]),
                    "UPDATE library_author SET name = '50%' WHERE id = 2",
                    "/* counts */ UPDATE library_author SET age = age + 1",
                    "-- counts\nUPDATE library_author SET age = age + 1",
                    "  UPDATE library_author SET age = age + 1 -- and on",
                ]
            )
        ],
    ),
    alone(
        "RunSQL with triggers",
        lambda: [
            migrations.RunSQL(
                [
                    "CREATE TRIGGER aging BEFORE UPDATE ON library_author"
                    " FOR EACH ROW SET NEW.age = OLD.age + 5",
                    "UPDATE library_author SET age = 0",
                    "CREATE PROCEDURE twice() UPDATE library_author SET age = age * 2",
                    "CALL twice()",
                    "DROP TRIGGER aging",
                    "CALL twice()",
                    "CREATE TRIGGER old BEFORE INSERT ON library_author"
                    " FOR EACH ROW BEGIN SET NEW.age = 1; END;",
                    "DROP PROCEDURE twice",
                    "CREATE SEQUENCE numbers",
                    "CREATE TABLE copied AS SELECT * FROM library_author",
                    "RENAME TABLE copied TO copies",
                    "TRUNCATE TABLE copies",
                ]
            )
        ],
        only=["mysql"],
    ),
    alone(
        "RunSQL with variables of the session",
        lambda: [
            migrations.RunSQL(
                "SET @n = 10; UPDATE library_author SET age = (@n := @n + 1) ORDER BY id;"
                "SET @m = 5; ALTER TABLE library_author ADD COLUMN m integer;"
                "UPDATE library_author SET m = @m + 1"
            ),
            migrations.RunSQL("SET foreign_key_checks = 0"),
            add("note", text(null=True)),
            migrations.RunSQL("INSERT INTO library_book (id, title, author_id) VALUES (9, 'x', 99)"),
            migrations.RunSQL("SET foreign_key_checks = 1"),
        ],
        books,
        BOOKS,
        only=["mysql"],
        repeats="SET ",
    ),
    alone(
        "RunSQL with triggers and functions",
        lambda: [
            migrations.RunSQL(
                "CREATE FUNCTION age() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN NEW.age = OLD.age + 5; RETURN NEW; END $$;"
                "CREATE TRIGGER aging BEFORE UPDATE ON library_author FOR EACH ROW EXECUTE FUNCTION age();"
                "UPDATE library_author SET age = 0;"
                "DO $$ BEGIN UPDATE library_author SET age = 1; END $$;"
                "ALTER TABLE library_author DISABLE TRIGGER aging"
            )
        ],
        only=["postgresql"],
    ),
    alone(
        "SeparateDatabaseAndState",
        lambda: [
            migrations.SeparateDatabaseAndState(
                database_operations=[
                    add("note", text(null=True, db_index=True)),
                    migrations.RunPython(grow),
                    migrations.SeparateDatabaseAndState(
                        database_operations=[alter("note", text(90, null=True)), migrations.RunPython(grow)],
                        state_operations=[migrations.DeleteModel("author")],
                    ),
                    migrations.RunSQL("UPDATE library_author SET age = age + 1"),
                ],
                state_operations=[add("note", text(90, null=True, db_index=True))],
            ),
            migrations.RenameField("author", "note", "remark"),
        ],
    ),
    alone(
        "SeparateDatabaseAndState that splits a many-to-many",
        lambda: [
            migrations.SeparateDatabaseAndState(
                state_operations=[
                    migrations.CreateModel(
                        "AuthorTag",
                        [
                            ("id", models.BigAutoField(primary_key=True)),
                            ("author", key()),
                            ("tag", key("tag")),
                        ],
                        options={"db_table": "library_author_tags"},
                    ),
                    alter("tags", many(through=f"{APP}.AuthorTag")),
                ]
            ),
            add("since", models.IntegerField(default=1990), to="authortag"),
        ],
        tagged,
        TAGGED,
    ),
]


def poems() -> Operation:
    return model(
        "Poem",
        title=text(db_index=True),
        author=key(),
        second=key(related_name="+", null=True),
        options={"indexes": [models.Index(fields=["title"], name="poem_title")]},
    )


DEFERRED = [
    alone(
        "what is deferred is renamed with its model",
        lambda: [poems(), migrations.RenameModel("poem", "verse")],
    ),
    alone(
        "what is deferred is renamed with the model it points at",
        lambda: [poems(), migrations.RenameModel("author", "writer")],
    ),
    alone(
        "what is deferred is renamed with its field",
        lambda: [poems(), migrations.RenameField("poem", "author", "poet")],
    ),
    alone(
        "what is deferred is dropped with its field",
        lambda: [poems(), migrations.RemoveField("poem", "second")],
    ),
    alone("what is deferred is dropped with its model", lambda: [poems(), migrations.DeleteModel("poem")]),
    alone(
        "what is deferred moves with its table",
        lambda: [
            poems(),
            migrations.AlterModelTable("poem", "verses"),
            add("note", models.SlugField(), to="poem"),
        ],
    ),
    alone(
        "what is deferred is altered",
        lambda: [
            poems(),
            alter("second", key(related_name="+", default=1), of="poem"),
            alter("title", text(70, db_index=True), of="poem"),
            alter("id", models.AutoField(primary_key=True), of="poem"),
        ],
    ),
    alone(
        "what points at a primary key is deferred while that is altered",
        lambda: [
            model("Tag", id=models.AutoField(primary_key=True), word=text()),
            model("Use", author=key(), tag=key("tag")),
            alter("id", models.BigAutoField(primary_key=True), of="tag"),
        ],
    ),
    alone(
        "what is deferred waits for the data",
        lambda: [
            model("Use", author=models.ForeignKey(f"{APP}.author", models.CASCADE)),
            migrations.RunSQL("INSERT INTO library_use (id, author_id) VALUES (1, 99)"),
            migrations.RunPython(grow),
            migrations.RunSQL("UPDATE library_use SET author_id = 1"),
        ],
    ),
    alone(
        "many operations",
        lambda: [
            poems(),
            add("tags", many("poem")),
            migrations.RunPython(grow),
            migrations.RenameModel("poem", "verse"),
            migrations.RenameField("verse", "author", "poet"),
            model("Note", verse=key("verse"), word=models.SlugField()),
            migrations.RunSQL("UPDATE library_author SET age = age + 1"),
            migrations.RenameModel("author", "writer"),
            migrations.RemoveField("verse", "second"),
            migrations.AddIndex("note", models.Index(fields=["word", "verse"], name="notes")),
        ],
    ),
]

NOT_ATOMIC = [
    alone(
        "a migration that is not atomic",
        lambda: [
            poems(),
            migrations.RunSQL(
                "UPDATE library_author SET age = age + 1; UPDATE library_author SET age = age + 1"
            ),
            migrations.RunPython(grow, atomic=True),
            alter("slug", text(default="x"), preserve_default=False),
            migrations.RenameModel("poem", "verse"),
            migrations.SeparateDatabaseAndState(
                database_operations=[migrations.RunPython(grow, atomic=True)]
            ),
        ],
        atomic=False,
    ),
    alone(
        "tables that are pointed at, in a migration that is not atomic",
        lambda: [
            alter("name", text(90, null=True)),
            alter("word", text(90, unique=True), of="tag"),
            migrations.RemoveField("author", "mentor"),
            migrations.RenameModel("author", "writer"),
        ],
        tagged,
        TAGGED,
        atomic=False,
        only=("postgresql", "sqlite"),
    ),
    alone(
        "RunPython in a migration that is not atomic, which may run again",
        lambda: [migrations.RunPython(settle), migrations.RunPython(grow, atomic=True)],
        atomic=False,
        repeats="SET .?age.? = (7|%s)",
    ),
]


def schedule() -> list[Operation]:
    return [
        *authors(),
        postgresql.BtreeGistExtension(),
        model("Slot", room=models.IntegerField(), hours=IntegerRangeField()),
    ]


POSTGRESQL = [
    alone(
        "AddIndexConcurrently",
        lambda: [
            migrations.RunSQL("UPDATE library_author SET age = age + 1"),
            postgresql.AddIndexConcurrently("author", models.Index(fields=["name", "age"], name="by_name")),
            postgresql.AddIndexConcurrently(
                "author", models.Index(fields=["slug"], condition=Q(name__contains="100%'"), name="some")
            ),
            migrations.RunSQL("UPDATE library_author SET age = age + 1"),
        ],
        atomic=False,
        only=["postgresql"],
    ),
    alone(
        "RemoveIndexConcurrently",
        lambda: [
            postgresql.RemoveIndexConcurrently("author", "by_name"),
            add("note", text(db_index=True, null=True)),
            postgresql.AddIndexConcurrently("author", models.Index(fields=["age"], name="by_name")),
        ],
        indexed(indexes=[models.Index(fields=["name"], name="by_name")]),
        atomic=False,
        only=["postgresql"],
    ),
    alone(
        "concurrent indexes and data in one RunSQL",
        lambda: [
            migrations.RunSQL(
                [
                    "SET lock_timeout = '10s'",
                    "UPDATE library_author SET age = age + 1",
                    "CREATE UNIQUE INDEX CONCURRENTLY by_name ON library_author (name)",
                    "INSERT INTO library_author (id, name, age) VALUES (9, 'concurrently', 1)",
                    "DO $$ BEGIN UPDATE library_author SET age = age + 10; END $$",
                    "ALTER TABLE library_author ADD CONSTRAINT one UNIQUE USING INDEX by_name",
                    "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_age ON library_author (age)",
                    "DROP INDEX CONCURRENTLY IF EXISTS by_age",
                    "SET lock_timeout = 0; UPDATE library_author SET age = age + 100",
                ]
            )
        ],
        atomic=False,
        only=["postgresql"],
        repeats="^SET ",
    ),
    *(
        alone(
            f"constraints in two steps, atomic={atomic}",
            lambda: [
                postgresql.AddConstraintNotValid(
                    "author", models.CheckConstraint(condition=Q(age__gte=0), name="positive")
                ),
                postgresql.ValidateConstraint("author", "positive"),
            ],
            atomic=atomic,
            only=["postgresql"],
        )
        for atomic in (True, False)
    ),
    *(
        alone(
            f"extensions and collations, atomic={atomic}",
            lambda: [
                postgresql.TrigramExtension(),
                postgresql.CreateCollation("german", "C", provider="libc"),
                alter("name", text(db_collation="german")),
                alter("name", text()),
                postgresql.RemoveCollation("german", "C", provider="libc"),
                postgresql.CreateCollation("french", "C", provider="libc"),
            ],
            atomic=atomic,
            only=["postgresql"],
        )
        for atomic in (True, False)
    ),
    alone(
        "ExclusionConstraint",
        lambda: [
            migrations.AddConstraint(
                "slot",
                ExclusionConstraint(name="no_overlap", expressions=[("room", "="), ("hours", "&&")]),
            ),
            add("note", text(null=True), to="slot"),
        ],
        schedule,
        only=["postgresql"],
    ),
]

CASES = [
    ORGANISATION_GAINS_A_LEVEL,
    *MODELS,
    *INDEXES,
    *FIELDS,
    *SPECIAL,
    *DEFERRED,
    *NOT_ATOMIC,
    *POSTGRESQL,
]


def cases_on(vendor: str) -> list[Case]:
    return [case for case in CASES if vendor in case.only]
