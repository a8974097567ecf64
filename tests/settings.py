"""Django settings of the test suite.

No database here can be reached: the `database` fixture fills in where, per test, and a child process gets it
from the environment (see `children.py`).
"""

import json
import os
from typing import Any

SECRET_KEY = "tests only"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_runbook",
    "zoo",
    "nomig",
]
DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ""},
    "mariadb": {"ENGINE": "django.db.backends.mysql", "NAME": "", "OPTIONS": {"charset": "utf8mb4"}},
    "postgresql": {"ENGINE": "django.db.backends.postgresql", "NAME": ""},
}
DATABASES_FROM_PARENT = "TEST_DATABASES"
"""The environment variable with what a child process is to change in DATABASES, as JSON."""
for alias, changes in json.loads(os.environ.get(DATABASES_FROM_PARENT, "{}")).items():
    DATABASES[alias].update(changes)

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

SETTINGS_FROM_PARENT = "TEST_SETTINGS"
"""The environment variable with what a child process is to have otherwise, as JSON."""
globals().update(json.loads(os.environ.get(SETTINGS_FROM_PARENT, "{}")))
