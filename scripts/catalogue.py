"""Keep the French catalogue: `python scripts/catalogue.py` collects messages from src/ and compiles them.

New messages appear untranslated in src/django_runbook/locale/fr/LC_MESSAGES/django.po; translate them there
and run it again. A test fails while a message is untranslated, fuzzy, or not compiled.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

PACKAGE = Path(__file__).parent.parent / "src" / "django_runbook"
PO = PACKAGE / "locale" / "fr" / "LC_MESSAGES" / "django.po"
MO = PO.with_suffix(".mo")
KEYWORDS = {**DEFAULT_KEYWORDS, "gettext_lazy": None, "ngettext_lazy": (1, 2)}


def extracted() -> Catalog:
    """Every message of the package, with the files it stands in."""
    catalog = Catalog(project="django-runbook", charset="utf-8")
    found = extract_from_dir(str(PACKAGE), method_map=[("**.py", "python")], keywords=KEYWORDS)
    for file, _line, message, comments, _context in found:
        catalog.add(message, locations=[(file, None)], auto_comments=comments)
    return catalog


def french() -> Catalog:
    """The catalogue as it is committed."""
    with PO.open("rb") as file:
        return read_po(file, locale="fr")


def compiled(catalog: Catalog) -> bytes:
    """The catalogue as Django reads it."""
    file = BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def update() -> int:
    """Bring the committed catalogue up to date and compile it. Return how many messages wait for French."""
    catalog = french() if PO.exists() else Catalog(locale="fr", project="django-runbook", charset="utf-8")
    catalog.update(extracted(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.fuzzy = False
    catalog.last_translator = catalog.language_team = "django-runbook"
    catalog.header_comment = "# French messages of django-runbook, under its licence."
    PO.parent.mkdir(parents=True, exist_ok=True)
    with PO.open("wb") as file:
        write_po(file, catalog, sort_output=True, omit_header=False, width=100)
    MO.write_bytes(compiled(catalog))
    return sum(1 for message in catalog if message.id and not translated(message.string))


def translated(string: str | tuple[str, ...] | list[str]) -> bool:
    return all(string) if isinstance(string, tuple | list) else bool(string)


if __name__ == "__main__":
    print(f"{update()} messages are not translated yet.")
