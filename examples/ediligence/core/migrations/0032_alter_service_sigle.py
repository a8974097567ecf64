from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0031_service_telephone")]

    operations = [
        migrations.AlterField(
            model_name="service",
            name="sigle",
            field=models.CharField(blank=True, max_length=20, verbose_name="sigle"),
        ),
    ]
