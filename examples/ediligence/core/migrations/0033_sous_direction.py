import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0032_alter_service_sigle")]

    operations = [
        migrations.CreateModel(
            name="SousDirection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("nom", models.CharField(max_length=200, verbose_name="nom")),
                (
                    "direction",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="sous_directions",
                        to="core.direction",
                        verbose_name="direction",
                    ),
                ),
            ],
            options={
                "verbose_name": "sous-direction",
                "verbose_name_plural": "sous-directions",
                "ordering": ["nom"],
                "unique_together": {("nom", "direction")},
            },
        ),
        migrations.AlterField(
            model_name="service",
            name="direction",
            field=models.ForeignKey(
                blank=True,
                help_text="Obsolète : la direction d'un service est celle de sa sous-direction.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="services",
                to="core.direction",
                verbose_name="direction (obsolète)",
            ),
        ),
        migrations.AlterUniqueTogether(name="service", unique_together=set()),
        migrations.AddField(
            model_name="service",
            name="sous_direction",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="services",
                to="core.sousdirection",
                verbose_name="sous-direction",
            ),
        ),
        migrations.AlterUniqueTogether(name="service", unique_together={("nom", "sous_direction")}),
    ]
