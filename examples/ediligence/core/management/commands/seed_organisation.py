"""Fill the database with an organisation chart of any size, at whichever schema it is in."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Any

from django.apps.registry import Apps
from django.conf import settings
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model

from core import sample

BATCH_SIZE = 2000
MOST_AGENTS = 300
EPOCH = datetime(2024, 1, 2, 8, tzinfo=UTC)


class Command(BaseCommand):
    help = (
        "Remplit la base d'une organisation d'essai : directions, services, agents. "
        "Le même --seed donne les mêmes données. Refuse une base qui a déjà des services, sauf avec --append."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--services", type=int, default=5000, help="Nombre de services (5000).")
        parser.add_argument("--seed", type=int, default=1, help="Graine du hasard (1).")
        parser.add_argument("--append", action="store_true", help="Ajoute à ce qui existe.")

    @transaction.atomic
    def handle(self, *, services: int, seed: int, append: bool, **options: Any) -> None:
        try:
            seeder = Seeder(applied_apps(), Random(seed))
        except LookupError as error:
            raise CommandError("La table des services n'existe pas : lancez d'abord « migrate ».") from error
        if seeder.Service.objects.exists() and not append:
            raise CommandError("Il y a déjà des services ; --append en ajoute.")
        counts = seeder.seed(services)
        self.stdout.write(", ".join(f"{count} {what}" for what, count in counts.items()))


def applied_apps() -> Apps:
    """Return the models as the applied migrations leave them: those of the database, not of the code."""
    loader = MigrationLoader(connection)
    applied = [node for node in loader.applied_migrations if node in loader.graph.nodes]
    return loader.project_state(applied).apps


class Seeder:
    """Creates the rows. Raise LookupError if the database has no such tables yet."""

    def __init__(self, apps: Apps, rng: Random) -> None:
        self.Direction, self.Service, self.Agent = (
            apps.get_model("core", name) for name in ("Direction", "Service", "Agent")
        )
        self.User = apps.get_model(settings.AUTH_USER_MODEL)
        self.rng = rng
        # Dates come from the seed, not from the clock; this class is a copy made for this command.
        self.Service._meta.get_field("modifie_le").auto_now = False

    def seed(self, services: int) -> dict[str, int]:
        """Create services, and the directions and agents that go with them; count what was made."""
        directions = self.create_directions(max(3, services // 50))
        before = self.last_pk(self.Service)
        create(self.Service, self.services(directions, services))
        created = self.Service.objects.filter(pk__gt=before).order_by("pk").values_list("pk", flat=True)
        agents = min(MOST_AGENTS, max(5, services // 20))
        self.create_agents(agents, directions, list(created[:agents]))
        return {"directions": len(directions), "services": services, "agents": agents}

    def create_directions(self, number: int) -> list[int]:
        """Return the primary keys of `number` new directions."""
        before, existing = self.last_pk(self.Direction), self.Direction.objects.count()
        names = islice(sample.direction_names(), existing, existing + number)
        create(self.Direction, (self.Direction(nom=name, sigle=sample.acronym(name)) for name in names))
        created = self.Direction.objects.filter(pk__gt=before)
        return list(created.order_by("pk").values_list("pk", flat=True))

    def services(self, directions: list[int], total: int) -> Iterator[Model]:
        """Yield services under their directions and, where the schema allows it, a few under none."""
        orphans = self.Service._meta.get_field("direction").null
        for direction, size in zip(directions, sample.sizes(total, len(directions), self.rng), strict=True):
            for name in islice(sample.service_names(self.rng), size):
                orphan = orphans and self.rng.random() < 0.02
                yield self.service(name, None if orphan else direction)

    def service(self, name: str, direction: int | None) -> Model:
        created = EPOCH + timedelta(minutes=self.rng.randrange(500_000))
        sigle = sample.acronym(name)
        return self.Service(
            nom=name,
            sigle=sigle,
            description=f"{name} : accueil du public, instruction des dossiers et suivi des échéances.",
            email=f"{sigle.lower()}@ediligence.example",
            actif=self.rng.random() < 0.95,
            effectif=self.rng.randint(1, 60),
            direction_id=direction,
            cree_le=created,
            modifie_le=created + timedelta(minutes=self.rng.randrange(50_000)),
        )

    def create_agents(self, number: int, directions: list[int], services: list[int]) -> None:
        """Create users who cannot log in, each with a role and a place."""
        before = self.last_pk(self.User)
        create(self.User, (self.user(n) for n in range(before + 1, before + 1 + number)))
        users = self.User.objects.filter(pk__gt=before).order_by("pk").values_list("pk", flat=True)
        create(self.Agent, (self.agent(n, user, directions, services) for n, user in enumerate(users)))

    def user(self, number: int) -> Model:
        return self.User(
            username=f"agent{number:05}",
            first_name=self.rng.choice(sample.FIRST_NAMES),
            last_name=self.rng.choice(sample.LAST_NAMES),
            password=UNUSABLE_PASSWORD_PREFIX,
            date_joined=EPOCH,
        )

    def agent(self, number: int, user: int, directions: list[int], services: list[int]) -> Model:
        """The first one administers; then one in ten heads a direction, two in ten a service."""
        if number == 0:
            return self.Agent(user_id=user, role="administrateur")
        if number % 10 == 1:
            return self.Agent(user_id=user, role="directeur", direction_id=self.rng.choice(directions))
        role = "chef_de_service" if number % 10 in (2, 3) else "agent"
        return self.Agent(user_id=user, role=role, service_id=self.rng.choice(services))

    @staticmethod
    def last_pk(model: type[Model]) -> int:
        return model.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def create(model: type[Model], rows: Iterable[Model]) -> None:
    """Insert rows batch by batch: `bulk_create` alone would hold them all."""
    rows = iter(rows)
    while batch := list(islice(rows, BATCH_SIZE)):
        model.objects.bulk_create(batch)
