"""Migration files on disk, of the apps `zoo` and `nomig`, that a test writes itself."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = "written"
APPS = ("zoo", "nomig")


@dataclass(frozen=True, slots=True)
class Disk:
    """The current directory, with the migrations of some apps in `written/APP/`."""

    path: Path

    def folder(self, app: str) -> Path:
        return self.path / ROOT / app

    def write(
        self,
        app: str,
        name: str,
        *parents: str | tuple[str, str],
        operations: str = "",
        run_before: Sequence[tuple[str, str]] = (),
        replaces: Sequence[str] = (),
    ) -> Path:
        """A migration; a parent without an app is of the same one."""
        dependencies = [(app, it) if isinstance(it, str) else it for it in parents]
        return self.write_text(
            app,
            name,
            "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n"
            f"    dependencies = {dependencies!r}\n"
            f"    run_before = {list(run_before)!r}\n"
            f"    replaces = {[(app, it) for it in replaces]!r}\n"
            f"    operations = [{operations}]\n",
        )

    def write_text(self, app: str, name: str, text: str) -> Path:
        path = self.folder(app) / f"{name}.py"
        path.write_text(text)
        self.forget()
        return path

    def remove(self, app: str, name: str) -> None:
        (self.folder(app) / f"{name}.py").unlink()
        self.forget()

    def forget(self) -> None:
        """Let the next look read the files anew."""
        for name in [it for it in sys.modules if it.split(".")[0] == ROOT]:
            del sys.modules[name]
        importlib.invalidate_caches()


def table(name: str, *fields: str) -> str:
    """The text of a CreateModel."""
    columns = ", ".join(['("id", models.BigAutoField(primary_key=True))', *fields])
    return f'migrations.CreateModel("{name}", [{columns}])'


def column(model: str, name: str) -> str:
    return f'migrations.AddField("{model}", "{name}", models.IntegerField(null=True))'
