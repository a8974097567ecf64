import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("zoo", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Animal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=50)),
                ("species", models.CharField(db_default="unknown", max_length=50)),
                ("legs", models.IntegerField(null=True)),
                ("weight", models.DecimalField(decimal_places=3, max_digits=12, null=True)),
                ("size", models.FloatField(null=True)),
                ("notes", models.JSONField(default=dict)),
                ("photo", models.BinaryField(default=b"")),
                ("nap", models.DurationField(null=True)),
                ("friends", models.ManyToManyField(to="zoo.animal")),
                ("fans", models.ManyToManyField(related_name="favourites", to="zoo.keeper")),
            ],
        ),
        migrations.AddField(
            model_name="animal",
            name="enclosure",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="zoo.enclosure"),
        ),
        migrations.AddField(model_name="animal", name="seen", field=models.DateTimeField(db_default=Now())),
        migrations.CreateModel(
            name="LoudAnimal",
            fields=[],
            options={"proxy": True, "indexes": [], "constraints": []},
            bases=("zoo.animal",),
        ),
        migrations.CreateModel(
            name="Bird",
            fields=[
                (
                    "animal_ptr",
                    models.OneToOneField(
                        auto_created=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        parent_link=True,
                        primary_key=True,
                        serialize=False,
                        to="zoo.animal",
                    ),
                ),
                ("wingspan", models.IntegerField(default=0)),
                ("rivals", models.ManyToManyField(to="zoo.bird")),
            ],
            bases=("zoo.animal",),
        ),
        migrations.CreateModel(
            name="Feeding",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "enclosure_id",
                        "day",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("day", models.DateField()),
                ("kilos", models.IntegerField()),
                (
                    "enclosure",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="zoo.enclosure"),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Sign",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("text", models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name="Old",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("label", models.CharField(max_length=20)),
            ],
            options={"db_table": "zoo_old", "managed": False},
        ),
        migrations.RunSQL(
            "CREATE TABLE zoo_old (id bigint NOT NULL PRIMARY KEY, label varchar(20) NOT NULL)",
            "DROP TABLE zoo_old",
        ),
        migrations.AddConstraint(
            model_name="animal",
            constraint=models.UniqueConstraint(fields=("name", "enclosure"), name="one_name_per_enclosure"),
        ),
    ]
