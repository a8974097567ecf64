"""A small app with an upgrade: expand, backfill, contract."""

from django.db import models


class Sailor(models.Model):
    name = models.CharField(max_length=80)
    voyages = models.IntegerField(default=0)
    slug = models.CharField(max_length=80, db_index=True)

    def __str__(self) -> str:
        return self.name
