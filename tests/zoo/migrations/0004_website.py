from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("zoo", "0003_measures")]

    operations = [
        migrations.AddField(
            model_name="animal",
            name="website",
            field=models.URLField(blank=True, default=""),
            preserve_default=False,
        ),
        migrations.RemoveField(model_name="animal", name="legs"),
        migrations.AlterModelOptions(name="animal", options={"ordering": ["website", "pk"]}),
        migrations.CreateModel(
            name="Ticket",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField(unique=True)),
            ],
        ),
        migrations.DeleteModel(name="Sign"),
    ]
