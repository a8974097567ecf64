import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0033_sous_direction")]

    operations = [
        migrations.AlterField(
            model_name="agent",
            name="role",
            field=models.CharField(
                choices=[
                    ("agent", "agent"),
                    ("chef_de_service", "chef de service"),
                    ("sous_directeur", "sous-directeur"),
                    ("directeur", "directeur"),
                    ("administrateur", "administrateur"),
                ],
                default="agent",
                max_length=20,
                verbose_name="rôle",
            ),
        ),
        migrations.AddField(
            model_name="agent",
            name="sous_direction",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="agents",
                to="core.sousdirection",
                verbose_name="sous-direction",
            ),
        ),
    ]
