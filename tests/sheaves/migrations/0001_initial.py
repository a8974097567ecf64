from django.db import migrations, models


class Migration(migrations.Migration):
    """The same table as `harvest.Sheaf`."""

    initial = True

    operations = [
        migrations.CreateModel(
            "Sheaf",
            [
                ("n", models.IntegerField(default=0)),
                ("label", models.CharField(max_length=40, null=True)),
                ("id", models.BigAutoField(primary_key=True)),
            ],
        )
    ]
