"""Threads with sessions of their own that see the state which a snapshot shows to the session beside them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from django.db import Error as AnyDatabaseError
from django.db import connections

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2
"""Items that each reader may be ahead of the one whose result is wanted: what bounds the memory."""


class Readers:
    """As many as could be had: a server may have no session left to give."""

    def __init__(self, alias: str, wanted: int, statements: Sequence[str]) -> None:
        """`statements` begin a transaction that sees the snapshot."""
        self._alias = alias
        self._wanted = wanted
        self._statements = statements
        self._threads: list[ThreadPoolExecutor] = []

    def __enter__(self) -> Self:
        for number in range(self._wanted):
            thread = ThreadPoolExecutor(1, thread_name_prefix=f"reader-{number}")
            self._threads.append(thread)
            try:
                thread.submit(self._begin).result()
            except AnyDatabaseError:
                self._end(self._threads.pop())
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for thread in self._threads:
            self._end(thread)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """The results in the order of the items. Without a reader, this thread does it."""
        if not self._threads:
            yield from map(function, items)
            return
        begun: deque[Future[Result]] = deque()
        for number, item in enumerate(items):
            begun.append(self._threads[number % len(self._threads)].submit(function, item))
            if len(begun) > AHEAD * len(self._threads):
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()

    def _begin(self) -> None:
        with connections[self._alias].cursor() as cursor:
            for statement in self._statements:
                cursor.execute(statement)

    def _end(self, thread: ThreadPoolExecutor) -> None:
        def close() -> Any:
            with suppress(AnyDatabaseError):
                connections[self._alias].close()

        thread.submit(close)
        thread.shutdown()
