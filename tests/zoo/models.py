"""Every kind of field and relation that a fixture can hold, as the release of tomorrow has them."""

# ruff: noqa: DJ008 -- fixtures never show these objects to people

import uuid

from django.db import models
from django.db.models.functions import Now


class OpenManager(models.Manager):
    """Hides closed enclosures, as a soft delete would."""

    def get_queryset(self):
        return super().get_queryset().filter(closed=False)


class Keeper(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50, unique=True)
    hired = models.DateTimeField()
    born = models.DateField(null=True)
    shift = models.TimeField(null=True)
    mentor = models.ForeignKey("self", models.SET_NULL, null=True, related_name="pupils")

    class Meta:
        ordering = ["-name"]


class Enclosure(models.Model):
    code = models.CharField(max_length=20, primary_key=True)
    closed = models.BooleanField(default=False)
    keepers = models.ManyToManyField(Keeper, through="Duty")

    objects = OpenManager()


class Duty(models.Model):
    keeper = models.ForeignKey(Keeper, models.CASCADE)
    enclosure = models.ForeignKey(Enclosure, models.CASCADE)
    since = models.DateField()

    class Meta:
        unique_together = [("keeper", "enclosure")]


class Animal(models.Model):
    name = models.CharField(max_length=50)
    species = models.CharField(max_length=50, db_default="unknown")
    enclosure = models.ForeignKey(Enclosure, models.PROTECT)
    fans = models.ManyToManyField(Keeper, related_name="favourites")
    friends = models.ManyToManyField("self")
    weight = models.DecimalField(max_digits=12, decimal_places=3, null=True)
    length = models.FloatField(null=True)
    notes = models.JSONField(default=dict)
    photo = models.BinaryField(default=b"")
    nap = models.DurationField(null=True)
    doubled = models.GeneratedField(
        expression=models.F("length") * 2, output_field=models.FloatField(), db_persist=True
    )
    seen = models.DateTimeField(db_default=Now())
    website = models.URLField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "enclosure"], name="one_name_per_enclosure")]
        indexes = [models.Index(fields=["species", "name"], name="species_then_name")]
        ordering = ["website", "pk"]


class Bird(Animal):
    wingspan = models.IntegerField(default=0)
    rivals = models.ManyToManyField("self")


class LoudAnimal(Animal):
    class Meta:
        proxy = True


class Feeding(models.Model):
    pk = models.CompositePrimaryKey("enclosure_id", "day")
    enclosure = models.ForeignKey(Enclosure, models.CASCADE)
    day = models.DateField()
    kilos = models.IntegerField()


class Old(models.Model):
    """A table that another program owns."""

    label = models.CharField(max_length=20)

    class Meta:
        managed = False
        db_table = "zoo_old"


class Ticket(models.Model):
    """Comes with the last migration."""

    number = models.IntegerField(unique=True)
