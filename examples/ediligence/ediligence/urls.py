"""Addresses: administration, REST API, health."""

from core.api import router
from core.health import health
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include(router.urls)),
    path("sante/", health),
    path("health/", health),
]
