"""Fixtures that are none: what is wrong, with file, line and object."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
import zstandard

from django_runbook.exceptions import Refused
from django_runbook.fixtures import reading
from django_runbook.fixtures.reading import read_objects

KEEPER = {"model": "zoo.keeper", "pk": 1, "fields": {"name": 'é " ]}, {[ \n', "hired": None}}
COMPRESSIONS: dict[str, Any] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".lzma": lambda text: lzma.compress(text, lzma.FORMAT_ALONE),
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_fixture_is_read_object_by_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str, indent: int | None
) -> None:
    """Whatever is in the buffer when it ends."""
    monkeypatch.setattr(reading, "CHUNK", 7)
    file = tmp_path / f"keepers.json{compression}"
    text = json.dumps([KEEPER] * 3, indent=indent, ensure_ascii=False).encode()
    file.write_bytes(COMPRESSIONS[compression](text))
    found = list(read_objects(file))
    assert [it.content for it in found] == [KEEPER] * 3
    assert [it.number for it in found] == [1, 2, 3]
    assert [it.line for it in found] == ([2, 10, 18] if indent else [1, 1, 1])


def test_json_lines_are_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "keepers.jsonl"
    file.write_text("".join(f"{json.dumps(KEEPER)}\n" for _number in range(3)))
    assert [(it.line, it.number) for it in read_objects(file)] == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("cut", range(1, 80, 3))
def test_a_fixture_that_is_cut_off_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "keepers.json"
    text = json.dumps([KEEPER, KEEPER])
    file.write_text(text[:-cut])
    with pytest.raises(Refused, match=r"line 1, object [123]: .*cut off"):
        list(read_objects(file))


@pytest.mark.parametrize("compression", [".gz", ".bz2", ".xz", ".zst"])
def test_a_compressed_fixture_that_is_cut_off_is_refused(tmp_path: Path, compression: str) -> None:
    file = tmp_path / f"keepers.json{compression}"
    file.write_bytes(COMPRESSIONS[compression](json.dumps([KEEPER]).encode())[:-12])
    with pytest.raises(Refused, match="object 1"):
        list(read_objects(file))


@pytest.mark.parametrize("name", ["keepers.xml", "keepers.json.zip", "keepers"])
def test_another_format_is_left_to_loaddata(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="loaddata"):
        list(read_objects(tmp_path / name))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"line 1, object 1: '\[' was expected, but it is cut off"),
        ("{}", r"'\[' was expected, but '\{' stands there"),
        ('[\n{"model": "zoo.keeper", "pk": 1, "fie', r"line 2, object 1: it is cut off"),
        ('[{"model": "zoo.keeper", "pk": 1, "fields": {}}', r"'\]' was expected|',' was expected"),
        ('[\n\n{"model": "zoo.keeper", "pk" 1}]', r"line 3, object 1: Expecting ':'"),
        ("[17]", "object 1: an object with a model was expected"),
        ('[{"model": "zoo.keeper", "pk": 1}]', "it has no fields"),
        ("[] []", "something follows behind the end"),
    ],
)
def test_what_is_no_fixture_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "broken.json"
    file.write_text(text)
    with pytest.raises(Refused, match=said):
        list(read_objects(file))
