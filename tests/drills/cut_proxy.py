"""A network between a process and its server that can be cut."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from threading import Thread


class Proxy:
    """Passes on what comes at its own port to a server, and back."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.client_halves: list[socket.socket] = []
        self.server_halves: list[socket.socket] = []
        self.keeps_server_halves = False
        self.threads = [Thread(target=self._listen)]

    def cut(self) -> None:
        """Both sides see the end at once."""
        shut(self.client_halves + self.server_halves)

    def cut_on_one_side(self) -> None:
        """The server sees nothing of it, and its session lives on until all is cut."""
        self.keeps_server_halves = True
        shut(self.client_halves)

    def mend(self) -> None:
        """What is half cut is cut; connections that come now are whole again."""
        self.cut()
        self.keeps_server_halves = False

    def _listen(self) -> None:
        with suppress(OSError):  # shut at the end
            while True:
                client = self.listener.accept()[0]
                server = socket.create_connection(self.server)
                self.client_halves.append(client)
                self.server_halves.append(server)
                self.threads.append(Thread(target=self._connect, args=(client, server)))
                self.threads[-1].start()

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        with closing(client), closing(server):
            with suppress(OSError):  # a half that is gone before it was read to its end
                pass_on(client, server)
            with suppress(OSError):
                while self.keeps_server_halves and server.recv(65536):
                    pass
            self.client_halves.remove(client)
            self.server_halves.remove(server)


def pass_on(client: socket.socket, server: socket.socket) -> None:
    """Pass on both ways until one of them ends."""
    other = {client: server, server: client}
    while True:
        for half in select.select([client, server], [], [])[0]:
            data = half.recv(65536)
            if not data:
                return
            other[half].sendall(data)


def shut(halves: list[socket.socket]) -> None:
    for half in list(halves):
        with suppress(OSError):  # it has ended already
            half.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    proxy = Proxy((host, port))
    proxy.threads[0].start()
    with closing(proxy.listener):
        try:
            yield proxy
        finally:
            shut([proxy.listener])
            proxy.cut()
            for thread in proxy.threads:
                thread.join()
