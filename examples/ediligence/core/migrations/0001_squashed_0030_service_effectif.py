"""The state after the project's first thirty migrations; every database has long had them."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.CreateModel(
            name="Direction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("nom", models.CharField(max_length=200, unique=True, verbose_name="nom")),
                ("sigle", models.CharField(blank=True, max_length=20, verbose_name="sigle")),
            ],
            options={"verbose_name": "direction", "ordering": ["nom"]},
        ),
        migrations.CreateModel(
            name="Service",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("nom", models.CharField(max_length=200, verbose_name="nom")),
                ("sigle", models.CharField(blank=True, max_length=12, verbose_name="sigle")),
                ("description", models.TextField(blank=True, verbose_name="description")),
                ("email", models.EmailField(blank=True, max_length=254, verbose_name="courriel")),
                ("actif", models.BooleanField(default=True, verbose_name="actif")),
                ("effectif", models.PositiveIntegerField(default=0, verbose_name="effectif")),
                (
                    "direction",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="services",
                        to="core.direction",
                        verbose_name="direction",
                    ),
                ),
                (
                    "cree_le",
                    models.DateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="créé le"
                    ),
                ),
                ("modifie_le", models.DateTimeField(auto_now=True, verbose_name="modifié le")),
            ],
            options={
                "verbose_name": "service",
                "ordering": ["nom"],
                "unique_together": {("nom", "direction")},
            },
        ),
        migrations.CreateModel(
            name="Agent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("agent", "agent"),
                            ("chef_de_service", "chef de service"),
                            ("directeur", "directeur"),
                            ("administrateur", "administrateur"),
                        ],
                        default="agent",
                        max_length=20,
                        verbose_name="rôle",
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="agent",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="utilisateur",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="agents",
                        to="core.service",
                        verbose_name="service",
                    ),
                ),
                (
                    "direction",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="agents",
                        to="core.direction",
                        verbose_name="direction",
                    ),
                ),
            ],
            options={"verbose_name": "agent", "ordering": ["user__last_name", "user__first_name"]},
        ),
    ]
