from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0001_squashed_0030_service_effectif")]

    operations = [
        migrations.AddField(
            model_name="service",
            name="telephone",
            field=models.CharField(blank=True, default="", max_length=20, verbose_name="téléphone"),
            preserve_default=False,
        ),
    ]
