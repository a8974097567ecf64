"""Apply core 0033 and move the services in one of the ways that people write; print the seconds as JSON."""

import json
import sys
import time

import django

django.setup()

from core.models import Direction, Service, SousDirection
from core.organisation import STILL_TO_MOVE, attach_services, create_default_sous_directions
from django.core.management import call_command
from django.db import connection, transaction

BATCH = 1000

if connection.vendor == "sqlite":  # its own five seconds are too short beside the other client
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 60000")


def to_move():
    return Service.objects.filter(STILL_TO_MOVE)


def targets():
    """The default sous-direction of each direction."""
    return dict(SousDirection.objects.values_list("direction_id", "pk"))


def save(count):
    """Return the seconds that all rows would take."""
    total, found = to_move().count(), targets()
    began = time.monotonic()
    for service in to_move().order_by("pk")[:count]:
        service.sous_direction_id = found[service.direction_id]
        service.save()
    return (time.monotonic() - began) * total / min(count, total)


def bulk_update(count):
    began, found, last = time.monotonic(), targets(), 0
    while services := list(to_move().filter(pk__gt=last).order_by("pk")[:BATCH]):
        for service in services:
            service.sous_direction_id = found[service.direction_id]
        Service.objects.bulk_update(services, ["sous_direction"])
        last = services[-1].pk
    return time.monotonic() - began


def batches(count):
    began, last = time.monotonic(), 0
    while keys := list(to_move().filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]):
        attach_services(to_move().filter(pk__gt=last, pk__lte=keys[-1]))
        last = keys[-1]
    return time.monotonic() - began


def directions(count):
    began = time.monotonic()
    for direction, target in targets().items():
        to_move().filter(direction=direction).update(sous_direction=target)
    return time.monotonic() - began


def single(count):
    began = time.monotonic()
    with transaction.atomic():
        attach_services(to_move())
    return time.monotonic() - began


parts, began = [("migrate", time.time())], time.monotonic()
call_command("migrate", "core", "0033", verbosity=0)
create_default_sous_directions(SousDirection, Direction, Service)
prepared = time.monotonic() - began
parts.append(("move", time.time()))
seconds = prepared + globals()[sys.argv[1]](int(sys.argv[2]))
print(json.dumps({"seconds": seconds, "parts": parts, "ended": time.time()}))
