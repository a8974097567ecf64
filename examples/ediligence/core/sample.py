"""Names and sizes of an administration that does not exist, in any number."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, count, pairwise, product
from random import Random

DOMAINS = [
    "des affaires juridiques",
    "des finances",
    "des ressources humaines",
    "de la commande publique",
    "des systèmes d'information",
    "de l'éducation",
    "de la santé",
    "de l'environnement",
    "de l'état civil",
    "de la culture",
    "de la jeunesse et des sports",
    "de l'urbanisme",
    "du logement",
    "de la voirie",
    "des mobilités",
    "de la cohésion sociale",
    "de l'autonomie",
    "de la petite enfance",
    "du développement économique",
    "de l'emploi et de l'insertion",
    "de la forêt et de l'eau",
    "des archives",
    "du patrimoine bâti",
    "de la sécurité civile",
    "des relations européennes",
    "de la qualité de l'air",
    "des moyens généraux",
    "de la communication",
    "du contrôle de gestion",
    "de la transformation numérique",
]
SERVICE_KINDS = ["Service", "Bureau", "Pôle", "Mission", "Cellule", "Département", "Unité", "Secrétariat"]
DIRECTION_KINDS = ["Direction", "Direction générale", "Direction régionale", "Direction départementale"]
PLACES = [
    "",
    " – Île-de-France",
    " – Provence-Alpes-Côte d'Azur",
    " – Auvergne-Rhône-Alpes",
    " – Bourgogne-Franche-Comté",
    " – Finistère",
    " – Hérault",
    " – Isère",
    " – Lozère",
    " – Nièvre",
    " – Corrèze",
    " – La Réunion",
]
FIRST_NAMES = ["Agnès", "Benoît", "Chloé", "Désiré", "Éloïse", "François", "Gaëlle", "Hervé", "Inès", "Zoé"]
LAST_NAMES = ["Lefèvre", "Müller", "Ça-Va", "Noël", "Guérin", "Bâtisse", "D'Hérouville", "Œuvrard", "Garçon"]


def direction_names() -> Iterator[str]:
    """Yield distinct names without end, the plainest ones first."""
    parts = product(PLACES, DIRECTION_KINDS, DOMAINS)
    return endless([f"{kind} {domain}{place}" for place, kind, domain in parts])


def service_names(rng: Random) -> Iterator[str]:
    """Yield the names of one direction's services, distinct, without end; other directions have them too."""
    names = [f"{kind} {domain}" for kind, domain in product(SERVICE_KINDS, DOMAINS)]
    rng.shuffle(names)
    return endless(names)


def endless(names: list[str]) -> Iterator[str]:
    """Yield each name, then each with a number, and so on."""
    yield from names
    for number in count(2):
        yield from (f"{name} n° {number}" for name in names)


def acronym(name: str) -> str:
    """Return the initials of the words that count: «Direction de la santé» is DS."""
    words = name.replace("d'", "").replace("l'", "").split()
    return "".join(word[0].upper() for word in words if len(word) > 3 and word[0].isalpha())


def sizes(total: int, groups: int, rng: Random) -> list[int]:
    """Share `total` out among `groups`, unevenly; every tenth group gets nothing."""
    weights = [0 if group % 10 == 9 else rng.uniform(0.2, 1.8) for group in range(groups)]
    sums = list(accumulate(weights))
    bounds = [round(total * part / sums[-1]) for part in sums]
    return [end - start for start, end in pairwise([0, *bounds])]
