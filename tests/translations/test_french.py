"""The French catalogue is complete: operators read every message in their language."""

from __future__ import annotations

import re

import pytest
from babel.messages.catalog import Message
from catalogue import MO, compiled, extracted, french, translated
from django.utils import translation

MESSAGES = [message for message in extracted() if message.id]
PLACEHOLDER = re.compile(r"%\(\w+\)[sdr]")


def first(value: str | tuple[str, ...] | list[str]) -> str:
    return value if isinstance(value, str) else value[0]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: first(message.id)[:60])
def test_every_message_is_translated_with_the_same_placeholders(message: Message):
    ours = french().get(message.id)
    assert ours is not None
    assert not ours.fuzzy
    assert translated(ours.string)
    strings = [ours.string] if isinstance(ours.string, str) else list(ours.string)
    for string in strings:
        assert set(PLACEHOLDER.findall(string)) == set(PLACEHOLDER.findall(first(message.id)))


def test_no_message_is_left_over():
    known = {first(message.id) for message in MESSAGES}
    assert {first(message.id) for message in french() if message.id} - known == set()


def test_the_compiled_catalogue_is_that_of_the_source():
    assert MO.read_bytes() == compiled(french())


def test_django_finds_the_catalogue():
    with translation.override("fr"):
        assert translation.gettext("Run it?") != "Run it?"
