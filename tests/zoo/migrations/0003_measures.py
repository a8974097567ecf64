from django.db import migrations, models
from django.db.models import F


class Migration(migrations.Migration):
    dependencies = [("zoo", "0002_animals")]

    operations = [
        migrations.RenameField(model_name="animal", old_name="size", new_name="length"),
        migrations.AddField(
            model_name="animal",
            name="doubled",
            field=models.GeneratedField(
                db_persist=True, expression=F("length") * 2, output_field=models.FloatField()
            ),
        ),
        migrations.AddIndex(
            model_name="animal",
            index=models.Index(fields=["species", "name"], name="species_then_name"),
        ),
    ]
