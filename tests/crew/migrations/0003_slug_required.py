from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("crew", "0002_slug")]
    operations = [
        migrations.AlterField("sailor", "slug", models.CharField(max_length=80, db_index=True)),
    ]
