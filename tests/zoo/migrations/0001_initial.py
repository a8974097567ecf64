import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Keeper",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=50, unique=True)),
                ("hired", models.DateTimeField()),
                ("born", models.DateField(null=True)),
                ("shift", models.TimeField(null=True)),
                (
                    "mentor",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="pupils",
                        to="zoo.keeper",
                    ),
                ),
            ],
            options={"ordering": ["-name"]},
        ),
        migrations.CreateModel(
            name="Enclosure",
            fields=[
                ("code", models.CharField(max_length=20, primary_key=True, serialize=False)),
                ("closed", models.BooleanField(default=False)),
            ],
        ),
        migrations.CreateModel(
            name="Duty",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("since", models.DateField()),
                (
                    "enclosure",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="zoo.enclosure"),
                ),
                ("keeper", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="zoo.keeper")),
            ],
            options={"unique_together": {("keeper", "enclosure")}},
        ),
        migrations.AddField(
            model_name="enclosure",
            name="keepers",
            field=models.ManyToManyField(through="zoo.Duty", to="zoo.keeper"),
        ),
    ]
