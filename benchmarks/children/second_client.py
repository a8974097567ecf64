"""Update one service after the other until standard input ends, and write how long each took."""

import random
import select
import sys
import time
from pathlib import Path

import django

django.setup()

from django.db import OperationalError, connection

PAUSE = 0.002


def update(number):
    """Wait as long as it takes: servers give up waiting for a lock after a while."""
    while True:
        try:
            with connection.cursor() as cursor:
                cursor.execute("UPDATE core_service SET effectif = effectif + 1 WHERE id = %s", [number])
            return
        except OperationalError as error:
            if "lock" not in str(error).lower():
                raise


with connection.cursor() as cursor:
    cursor.execute("SELECT MIN(id), MAX(id) FROM core_service")
    first, last = cursor.fetchone()
drawn = random.Random(1)
with Path(sys.argv[1]).open("w", buffering=1) as log:
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        at, began = time.time(), time.monotonic()
        update(drawn.randint(first, last))
        log.write(f"{at:.6f} {time.monotonic() - began:.6f}\n")
