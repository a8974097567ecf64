"""Settings with which Django's own test suite is run, as in its `test_sqlite.py`."""

import json
import os

DATABASES = json.loads(os.environ["PEER_DATABASES"])
TEST_RUNNER = os.environ["PEER_RUNNER"]
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
