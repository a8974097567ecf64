"""gunicorn's settings: `gunicorn` in this folder serves the project."""

import os
from pathlib import Path

chdir = str(Path(__file__).resolve().parent)
wsgi_app = "ediligence.wsgi:application"
bind = os.environ.get("GUNICORN_BIND", "127.0.0.1:8000")
workers = 2
preload_app = False  # a HUP then starts workers on the new code
pidfile = os.environ.get("GUNICORN_PID_FILE", f"{chdir}/var/gunicorn.pid")

Path(pidfile).parent.mkdir(parents=True, exist_ok=True)
