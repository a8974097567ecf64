"""An app without migrations whose models point into one that has them."""

# ruff: noqa: DJ008 -- fixtures never show these objects to people

from django.db import models


class Poster(models.Model):
    title = models.CharField(max_length=50)
    animal = models.ForeignKey("zoo.Animal", models.CASCADE)
    artists = models.ManyToManyField("zoo.Keeper")


class Print(models.Model):
    poster = models.ForeignKey(Poster, models.CASCADE)
    copies = models.IntegerField()
