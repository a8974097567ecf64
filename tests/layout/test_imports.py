"""Imports point down only, in the order of the layers."""

from __future__ import annotations

import ast
from pathlib import Path

import django_runbook

PACKAGE = Path(django_runbook.__file__).parent
LAYERS = [
    ["management", "tasks"],
    ["report"],
    ["planning", "recovery", "rehearsals", "engine", "quarantine"],
    ["preflight", "runs"],
    ["plan", "suggest", "ways_back"],
    ["runbooks"],
    ["steps"],
    ["backfills", "fixtures", "schema", "backups"],
    ["ledger", "backfill_ledger"],
    ["databases", "journal"],
    ["programs", "files", "conf", "checks", "interrupts", "age"],
    ["exceptions"],
]
"""From top to bottom; the modules of one layer may import each other."""
PUBLIC = {"__init__", "apps"}
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The top-level names of this package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in names if name.startswith("django_runbook.")}
    return found


def test_every_module_has_a_layer():
    modules = {layer_of(path) for path in PACKAGE.rglob("*.py")}
    assert modules - PUBLIC == set(DEPTH)


def test_imports_point_down_only():
    upwards = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in PACKAGE.rglob("*.py")
        if layer_of(path) not in PUBLIC
        for name in imported(path)
        if DEPTH[name] < DEPTH[layer_of(path)]
    ]
    assert upwards == []


def test_only_the_databases_know_vendors():
    speakers = {
        layer_of(path)
        for path in PACKAGE.rglob("*.py")
        if ".vendor" in path.read_text() or "mysql_is_mariadb" in path.read_text()
    }
    assert speakers <= {"databases", "schema"}
