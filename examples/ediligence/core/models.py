"""The organisation chart: Direction → Sous-direction → Service, and the people in it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone


class Direction(models.Model):
    nom = models.CharField("nom", max_length=200, unique=True)
    sigle = models.CharField("sigle", max_length=20, blank=True)

    class Meta:
        verbose_name = "direction"
        ordering = ["nom"]

    def __str__(self) -> str:
        return self.nom


class SousDirection(models.Model):
    nom = models.CharField("nom", max_length=200)
    direction = models.ForeignKey(
        Direction, models.PROTECT, related_name="sous_directions", verbose_name="direction"
    )

    class Meta:
        verbose_name = "sous-direction"
        verbose_name_plural = "sous-directions"
        ordering = ["nom"]
        unique_together = [("nom", "direction")]

    def __str__(self) -> str:
        return self.nom


class Service(models.Model):
    nom = models.CharField("nom", max_length=200)
    sigle = models.CharField("sigle", max_length=20, blank=True)
    description = models.TextField("description", blank=True)
    email = models.EmailField("courriel", blank=True)
    telephone = models.CharField("téléphone", max_length=20, blank=True)
    actif = models.BooleanField("actif", default=True)
    effectif = models.PositiveIntegerField("effectif", default=0)
    sous_direction = models.ForeignKey(
        SousDirection,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="services",
        verbose_name="sous-direction",
    )
    direction = models.ForeignKey(
        Direction,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="services",
        verbose_name="direction (obsolète)",
        help_text="Obsolète : la direction d'un service est celle de sa sous-direction.",
    )
    cree_le = models.DateTimeField("créé le", default=timezone.now, editable=False)
    modifie_le = models.DateTimeField("modifié le", auto_now=True)

    class Meta:
        verbose_name = "service"
        ordering = ["nom"]
        unique_together = [("nom", "sous_direction")]

    def __str__(self) -> str:
        return self.nom

    @property
    def direction_de_rattachement(self) -> Direction | None:
        """The direction of its sous-direction or, for a service not moved yet, the legacy one."""
        return self.sous_direction.direction if self.sous_direction else self.direction


class Agent(models.Model):
    """The profile of a user: a role, and the place where it is held."""

    class Role(models.TextChoices):
        AGENT = "agent", "agent"
        CHEF_DE_SERVICE = "chef_de_service", "chef de service"
        SOUS_DIRECTEUR = "sous_directeur", "sous-directeur"
        DIRECTEUR = "directeur", "directeur"
        ADMINISTRATEUR = "administrateur", "administrateur"

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="agent", verbose_name="utilisateur"
    )
    role = models.CharField("rôle", max_length=20, choices=Role, default=Role.AGENT)
    service = models.ForeignKey(
        Service, models.SET_NULL, null=True, blank=True, related_name="agents", verbose_name="service"
    )
    sous_direction = models.ForeignKey(
        SousDirection,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="agents",
        verbose_name="sous-direction",
    )
    direction = models.ForeignKey(
        Direction, models.SET_NULL, null=True, blank=True, related_name="agents", verbose_name="direction"
    )

    class Meta:
        verbose_name = "agent"
        ordering = ["user__last_name", "user__first_name"]

    def __str__(self) -> str:
        return f"{self.user.get_full_name() or self.user.get_username()} ({self.get_role_display()})"
