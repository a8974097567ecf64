from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("crew", "0001_initial")]
    operations = [
        migrations.AddField("sailor", "slug", models.CharField(max_length=80, null=True, db_index=True)),
    ]
