"""Bring the zoo to any migration, and fill it with every kind of row that a fixture can hold."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

from django.apps.registry import Apps
from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader

from django_runbook.databases import Database
from django_runbook.schema import applied_migrations, state_at

LAST = "0004"


def migrate(database: Database, migration: str = LAST) -> None:
    """Bring `zoo` to a migration, everything else to its last, and `nomig` to what it is."""
    options: dict[str, Any] = {"database": database.alias, "verbosity": 0}
    call_command("migrate", "zoo", migration, **options)
    call_command("migrate", "auth", **options)
    if migration != "0001":
        call_command("migrate", "nomig", run_syncdb=True, **options)


def matching_apps(database: Database) -> Apps:
    """The models as the database has them."""
    loader = MigrationLoader(database.connection)
    return state_at(loader, applied_migrations(database.connection)).apps


def fill(database: Database) -> None:
    """Put rows into every table, by the models that match it."""
    apps = matching_apps(database)
    keepers = fill_people(apps, database.alias)
    if ("zoo", "0002_animals") in applied_migrations(database.connection):
        fill_animals(apps, database, keepers)


def fill_people(apps: Apps, alias: str) -> list[Any]:
    keeper = apps.get_model("zoo", "Keeper").objects.using(alias)
    enclosure = apps.get_model("zoo", "Enclosure").objects.using(alias)
    duty = apps.get_model("zoo", "Duty").objects.using(alias)
    keepers: list[Any] = []
    for number, name in enumerate(["Zoé", "Ahmed", "“Bob”\n\\ \u2028", "日本 🦩"]):
        keepers.append(
            keeper.create(
                id=uuid.uuid5(uuid.NAMESPACE_URL, name),
                name=name,
                hired=dt.datetime(2020, 2, 29, 23, 59, number, 123456 * (number % 2), tzinfo=dt.UTC),
                born=dt.date(1999, 12, 31) if number else None,
                shift=dt.time(7, 30, 0, 500000) if number else None,
                mentor=keepers[-1] if keepers else None,
            )
        )
    for number, code in enumerate(["north", "South", "côté-est"]):
        enclosure.create(code=code, closed=number == 1)
        duty.create(keeper=keepers[number], enclosure_id=code, since=dt.date(2021, 1, number + 1))
    return keepers


def fill_animals(apps: Apps, database: Database, keepers: list[Any]) -> None:
    alias = database.alias
    animal, bird = apps.get_model("zoo", "Animal"), apps.get_model("zoo", "Bird")
    length = "length" if hasattr(animal, "length") else "size"
    website = {"website": "https://b.example"} if hasattr(animal, "website") else {}
    lion = animal.objects.using(alias).create(
        name="Lion",
        enclosure_id="north",
        weight=Decimal("190.125"),
        notes={"b": [1, 2.5, None, "é"], "a": {}},
        photo=b"\x00\xff\x10",
        nap=dt.timedelta(days=1, hours=2, microseconds=7),
        **{length: 1.1},
        **website,
    )
    mouse = animal.objects.using(alias).create(name="Mouse", enclosure_id="South", species="mouse")
    birds = [
        bird.objects.using(alias).create(name=f"Bird {number}", enclosure_id="côté-est", wingspan=number)
        for number in range(3)
    ]
    if hasattr(animal, "seen"):
        # Django's JSON has a time below a millisecond as ".000", and what loaddata makes of it without.
        animal.objects.using(alias).update(seen=dt.datetime(2024, 5, 1, 12, 30, 0, 250000, tzinfo=dt.UTC))
    lion.fans.set([keepers[2], keepers[0], keepers[3]])
    # A historical model has no symmetry: both directions are put down by hand.
    for friend in (mouse, birds[0].animal_ptr):
        lion.friends.add(friend)
        friend.friends.add(lion)
    for rival in birds[:2]:
        birds[2].rivals.add(rival)
        rival.rivals.add(birds[2])
    feeding = apps.get_model("zoo", "Feeding").objects.using(alias)
    for day, code in [(1, "north"), (2, "north"), (1, "South")]:
        feeding.create(enclosure_id=code, day=dt.date(2024, 1, day), kilos=day)
    fill_the_rest(apps, database, lion, keepers)


def fill_the_rest(apps: Apps, database: Database, lion: Any, keepers: list[Any]) -> None:
    """The models that come and go, the table of another program, and the app without migrations."""
    from nomig.models import Poster, Print

    names = {model._meta.object_name for model in apps.get_app_config("zoo").get_models()}
    if "Sign" in names:
        apps.get_model("zoo", "Sign").objects.using(database.alias).create(text="Do not feed")
    if "Ticket" in names:
        apps.get_model("zoo", "Ticket").objects.using(database.alias).create(number=7)
    with database.connection.cursor() as cursor:
        cursor.execute("INSERT INTO zoo_old (id, label) VALUES (1, 'kept')")
    poster = Poster.objects.using(database.alias).create(title="Roar", animal_id=lion.pk)
    links = Poster.artists.through._base_manager.using(database.alias)
    for keeper in keepers[:2]:
        links.create(poster=poster, keeper_id=keeper.pk)
    Print.objects.using(database.alias).create(poster=poster, copies=100)
