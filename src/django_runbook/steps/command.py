"""Run a program."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.utils.translation import gettext as _

from django_runbook.programs import run_program
from django_runbook.steps.base import Context, Place, Problem, Step


class Command(Step):
    """Run a program with its arguments, without a shell. It fails if the exit code is not 0.

    Say `repeatable=True` if a second run is safe when the first was killed half way.
    """

    acts_outside = True

    def __init__(
        self, argv: Sequence[str], *, repeatable: bool = False, timeout: timedelta = timedelta(hours=1)
    ) -> None:
        self.argv = list(argv)
        self.repeatable = repeatable  # type: ignore[misc]
        self.timeout = timeout

    def declaration(self) -> str:
        return f"Command({self.argv!r}{', repeatable=True' if self.repeatable else ''})"

    @property
    def title(self) -> str:
        return f"Command {shlex.join(self.argv)}"

    def problems(self, place: Place) -> Iterator[Problem]:
        if not self.argv or not all(isinstance(word, str) for word in self.argv):
            yield Problem(message=_('It needs a list of words: Command(["program", "argument"]).'))

    def reason(self, place: Place) -> str:
        return _("acts outside the database: no undo and no restore takes it back")

    def run(self, context: Context) -> Mapping[str, Any]:
        output = run_program(self.argv, timeout=self.timeout, secrets=context.database.secrets)
        return {"output": output}
