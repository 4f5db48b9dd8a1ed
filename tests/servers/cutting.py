"""A line that breaks: a TCP relay before a server, which can swallow answers or cut them short."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CuttingLine:
    """Relays to `port`. While `cuts` is above 0, an answer is cut after `keep_bytes`, and counted down."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self.cuts = 0
        self.keep_bytes = 0
        self.swallowed = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                with self._lock:
                    self._open |= {client, server}
                self._spawn(self._relay, client, server)
                self._spawn(self._relay_answers, server, client)

    def close_listener(self) -> None:
        """`run` ends; what is connected goes on."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self) -> None:
        """Ends every connection, once `run` has ended."""
        with self._lock:
            for each in self._open:
                _end(each)
        for thread in self._threads:
            thread.join()
        for each in self._open:
            each.close()

    def _spawn(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                sink.sendall(part)
        _end(sink)

    def _relay_answers(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while part := server.recv(65536):
                if self._is_cut():
                    client.sendall(part[: self.keep_bytes])
                    _end(client)
                    _end(server)
                    return
                client.sendall(part)
        _end(client)

    def _is_cut(self) -> bool:
        with self._lock:
            if self.cuts == 0:
                return False
            self.cuts -= 1
            self.swallowed += 1
            return True


@contextmanager
def cutting_line(port: int) -> Iterator[CuttingLine]:
    line = CuttingLine(port)
    thread = threading.Thread(target=line.run, daemon=True)
    thread.start()
    try:
        yield line
    finally:
        line.close_listener()
        thread.join()
        line.close()


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
