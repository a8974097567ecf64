"""Database routers for DATABASE_ROUTERS."""

from typing import Any


class NoTickets:
    """Keeps one model off every database."""

    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **hints: Any
    ) -> bool | None:
        return False if (app_label, model_name) == ("zoo", "ticket") else None
