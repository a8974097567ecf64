"""Settings with which Django's own test suite is run: those of its `test_sqlite.py`, with other databases."""

import json
import os

from test_sqlite import *  # noqa: F403 - of the Django that is tested: they differ from version to version

DATABASES = json.loads(os.environ["PEER_DATABASES"])
TEST_RUNNER = os.environ["PEER_RUNNER"]
