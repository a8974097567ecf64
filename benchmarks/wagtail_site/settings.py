"""A site of Wagtail's apps and nothing of its own: only its history of migrations matters."""

import json
import os
from pathlib import Path

SECRET_KEY = "benchmarks only"
DATABASES = {"default": json.loads(os.environ["BENCH_DATABASE"])}
INSTALLED_APPS = [
    "django_runbook",
    "wagtail.contrib.forms",
    "wagtail.contrib.redirects",
    "wagtail.contrib.search_promotions",
    "wagtail.contrib.settings",
    "wagtail.embeds",
    "wagtail.sites",
    "wagtail.users",
    "wagtail.snippets",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.admin",
    "wagtail",
    "modelcluster",
    "taggit",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ROOT_URLCONF = "wagtail_site.urls"
STATIC_URL = "/static/"
BASE_DIR = Path(__file__).parent
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
WAGTAIL_SITE_NAME = "Benchmark"
WAGTAILADMIN_BASE_URL = "http://localhost"
