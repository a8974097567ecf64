from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RunbookConfig(AppConfig):
    name = "django_runbook"
    verbose_name = _("Runbooks")

    def ready(self) -> None:
        from django_runbook import checks  # noqa: F401 - importing it registers the checks
