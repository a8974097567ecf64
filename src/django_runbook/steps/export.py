"""Write fixtures of the models as they are at this place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from django.db.models import Q
from django.utils.translation import gettext as _

from django_runbook.fixtures import export
from django_runbook.steps.base import Context, Place, Problem, Step, names_problems

Format = Literal["json", "jsonl"]


class Export(Step):
    """Write into the run folder what `dumpdata` would write with the models of this place."""

    repeatable = True
    reversible = True

    def __init__(self, *labels: str, format: Format = "json", compress: bool = False) -> None:
        self.labels = labels
        self.format: Format = format
        self.compress = compress

    def declaration(self) -> str:
        words = [f'"{label}"' for label in self.labels]
        words += [f'format="{self.format}"'] if self.format != "json" else []
        words += ["compress=True"] if self.compress else []
        return f"Export({', '.join(words)})"

    def problems(self, place: Place) -> Iterator[Problem]:
        if not self.labels:
            yield Problem(
                message=_('It names nothing to export: write Export("app.Model") or Export("app").')
            )
        for label in self.labels:
            if "." in label:
                yield from names_problems(place, label, Q())
            elif label not in place.apps.app_configs:
                yield Problem(message=_("No app has the label '%(label)s' here.") % {"label": label})

    def reason(self, place: Place) -> str:
        return _("reads with the models that match the database here")

    def run(self, context: Context) -> Mapping[str, Any]:
        folder = context.folder / "exports"
        folder.mkdir(mode=0o700, exist_ok=True)
        name = f"{context.step_key}.{self.format}{'.zst' if self.compress else ''}"
        result = export(
            context.database,
            self.labels,
            folder / name,
            format=self.format,
            progress=lambda label, count: context.progress(model=label, rows=count),
        )
        return {"file": str(result.path), "sha256": result.sha256, "objects": dict(result.objects)}
