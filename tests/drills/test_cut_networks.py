"""Wagtail's whole history, by processes whose network is cut, on both sides or only on theirs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

import pytest
from cut_proxy import Proxy, proxy_to
from drills import Drill, Reference
from private_server import PrivateServer
from sampling import some_cases_in_ci
from witnesses import WITNESSES, MariaDBWitness

REACH = {"mariadb": 800, "postgresql": 300}
"""Moments that each process has at most until its network is cut."""
ALTER = r"\bALTER TABLE `\w+` ADD COLUMN\b"
PATIENCE = 120
"""Seconds until a handshake has failed, and for which the statement waits."""

MakeDrill = Callable[[str], Drill]
KnowReference = Callable[[str], Reference]


@pytest.mark.parametrize("kind", some_cases_in_ci(list(REACH)))
def test_a_history_whose_network_is_cut_ends_as_if_it_had_not_been(
    make_drill: MakeDrill,
    reference: KnowReference,
    start_logging_server: Callable[[str], PrivateServer],
    kind: str,
):
    """While the server has not seen the cut, the session holds the lock, and a resume is refused."""
    wanted, drill, server = reference(kind), make_drill(kind), start_logging_server(kind)
    witness = WITNESSES[kind](drill.database)
    on_one_side = 0
    with proxy_to(server.host, server.port) as proxy:
        cut = proxy.cut
        while drill.disturb(REACH[kind], cut, place={"PORT": str(proxy.port)}):
            if proxy.keeps_server_halves:
                refuse_to_resume(drill)
                on_one_side += 1
                proxy.mend()
            cut = drill.random.choice([proxy.cut, proxy.cut_on_one_side])
    drill.finish()
    print(drill, "on one side:", on_one_side)  # noqa: T201 - for pytest -rP
    wanted.assert_same(drill, witness.effects())
    assert len(drill.cuts) >= 5
    assert on_one_side >= 2


def refuse_to_resume(drill: Drill) -> None:
    with drill.process(patience=0) as process:
        end = process.hear_the_end()
    assert "LockHeld" in end["kinds"], f"{drill}: {end}"


def test_a_statement_that_outlives_its_network_takes_effect_once(
    make_drill: MakeDrill,
    reference: KnowReference,
    start_logging_server: Callable[[str], PrivateServer],
):
    """The server is still busy with it when the next process comes; that waits, and does not repeat it."""
    wanted, drill, server = reference("mariadb"), make_drill("mariadb"), start_logging_server("mariadb")
    witness = MariaDBWitness(drill.database)
    with reading(drill) as reader, proxy_to(server.host, server.port) as proxy:
        stop = leave_behind(drill, proxy, reader)
        with drill.process(patience=PATIENCE) as process:
            assert "waiting" in process.hear()
            assert drill.in_flight_now(stop["session"])
            reader.rollback()
            proxy.mend()
            assert "finished" in process.hear_the_end()
    wanted.assert_same(drill, witness.effects())
    [statement] = witness.statements([stop["sql"]])
    assert witness.sent()[statement] == 1


def leave_behind(drill: Drill, proxy: Proxy, reader: Any) -> dict[str, Any]:
    """Have a process send a statement that waits for the reader, and cut its network."""
    place, stop_at = {"PORT": str(proxy.port)}, drill.random.randint(2000, 3000)
    with drill.process(place, stop_at=stop_at, before=ALTER, lock_timeout=PATIENCE) as process:
        stop = process.hear()
        read(reader, stop["sql"])
        process.go_on()
        wait_until_blocked(drill, stop["session"])
        proxy.cut_on_one_side()
        assert "RunbookError" in process.hear_the_end()["kinds"]
    return stop


@contextmanager
def reading(drill: Drill) -> Iterator[Any]:
    """Another session, which can read a table in a transaction: an ALTER of it waits until that ends."""
    connection: Any = drill.database.connection
    with closing(connection.get_new_connection(connection.get_connection_params())) as reader:
        reader.autocommit(False)
        yield reader


def read(reader: Any, statement: str) -> None:
    table = re.findall(r"`\w+`", statement)[0]
    with closing(reader.cursor()) as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {table}")
        cursor.fetchall()


def wait_until_blocked(drill: Drill, session: int) -> None:
    until = monotonic() + PATIENCE
    query = "SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = %s"
    while "metadata lock" not in str(drill.database.ask(query, [session])):
        assert monotonic() < until, "the statement does not wait for the table"
