"""A release of the worked example that asks something of every table, to be broken in many ways.

Core 0035 comes behind 0033 and 0034. On the rows as they are it succeeds on every database.
"""

from __future__ import annotations

from pathlib import Path

MIGRATION = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0034_agent_sous_direction")]

    operations = [
        migrations.AlterField("service", "email", models.EmailField("courriel", max_length=100, blank=True)),
        migrations.AlterField(
            "service", "description", models.CharField("description", max_length=300, blank=True)
        ),
        migrations.AlterField("service", "effectif", models.PositiveSmallIntegerField("effectif", default=0)),
        migrations.AlterField("service", "telephone", models.BigIntegerField("téléphone", default=0)),
        migrations.AlterField(
            "agent",
            "service",
            models.ForeignKey("core.service", models.PROTECT, related_name="agents", verbose_name="service"),
        ),
        migrations.AddConstraint(
            "service",
            models.CheckConstraint(condition=models.Q(effectif__lte=500), name="service_effectif_max"),
        ),
        migrations.AddConstraint(
            "service",
            models.UniqueConstraint(fields=["email", "cree_le", "modifie_le"], name="service_unique"),
        ),
        migrations.AlterField("direction", "sigle", models.CharField("sigle", max_length=20, unique=True)),
        migrations.AddField("direction", "code", models.CharField("code", max_length=10, default="")),
        migrations.AddField(
            "agent",
            "accueil",
            models.ForeignKey("core.service", models.PROTECT, default=1, related_name="accueillis"),
        ),
        migrations.AddIndex("agent", models.Index(fields=["role"], name="agent_role")),
    ]
"""
MODELS = {
    'models.EmailField("courriel", blank=True)': 'models.EmailField("courriel", max_length=100, blank=True)',
    'models.TextField("description", blank=True)': (
        'models.CharField("description", max_length=300, blank=True)'
    ),
    'models.PositiveIntegerField("effectif", default=0)': (
        'models.PositiveSmallIntegerField("effectif", default=0)'
    ),
    'models.CharField("téléphone", max_length=20, blank=True)': (
        'models.BigIntegerField("téléphone", default=0)'
    ),
    """        Service, models.SET_NULL, null=True, blank=True, related_name="agents", verbose_name="service"
""": """        Service, models.PROTECT, related_name="agents", verbose_name="service"
""",
    '        unique_together = [("nom", "sous_direction")]\n': (
        '        unique_together = [("nom", "sous_direction")]\n'
        "        constraints = [\n"
        "            models.CheckConstraint(\n"
        '                condition=models.Q(effectif__lte=500), name="service_effectif_max"\n'
        "            ),\n"
        "            models.UniqueConstraint(\n"
        '                fields=["email", "cree_le", "modifie_le"], name="service_unique"\n'
        "            ),\n"
        "        ]\n"
    ),
    'models.CharField("sigle", max_length=20, blank=True)\n\n    class Meta:\n'
    '        verbose_name = "direction"\n': (
        'models.CharField("sigle", max_length=20, unique=True)\n'
        '    code = models.CharField("code", max_length=10, default="")\n\n'
        '    class Meta:\n        verbose_name = "direction"\n'
    ),
    '        verbose_name = "agent"\n': (
        '        verbose_name = "agent"\n'
        '        indexes = [models.Index(fields=["role"], name="agent_role")]\n'
    ),
    '    class Meta:\n        verbose_name = "agent"\n': (
        "    accueil = models.ForeignKey(\n"
        '        Service, models.PROTECT, default=1, related_name="accueillis"\n'
        "    )\n\n"
        '    class Meta:\n        verbose_name = "agent"\n'
    ),
}
"""What the models say before and after it."""
READY = (
    "UPDATE core_direction SET sigle = CAST(id AS CHAR(10))",
    "UPDATE core_agent SET service_id = 2 WHERE service_id IS NULL",
    "UPDATE core_service SET telephone = '0102030405'",
)
"""What the rows of the seed need for it."""
RUNBOOK = '''"""The release."""

from django_runbook import Backup, Migrate, Runbook, Verify


class Durcissement(Runbook):
    """Everything becomes stricter."""

    steps = [Backup(), Migrate.all(), Verify()]
'''


def write_release(project: Path) -> None:
    """Put the release into a copy of the example."""
    core = project / "core"
    (core / "migrations/0035_durcissement.py").write_text(MIGRATION)
    models = (core / "models.py").read_text()
    for before, after in MODELS.items():
        assert models.count(before) == 1, before
        models = models.replace(before, after)
    (core / "models.py").write_text(models)
    (core / "runbooks/sous_directions.py").unlink()
    (core / "runbooks/durcissement.py").write_text(RUNBOOK)
