"""A small pooler for tests: what PgBouncer and its kin do, in transaction or session mode, trust only.

In transaction mode a client has a server connection from the first message of a transaction until the server says
that it is idle again; the connection used last is given out first, as PgBouncer does. Process ids are made up.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


class TransactionPooler:
    """`sessions`: keep a client on one server connection until it leaves."""

    def __init__(self, server_port: int, *, sessions: bool) -> None:
        self._server_port = server_port
        self._sessions = sessions
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()
        self._clients: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="pooler", daemon=True)]

    def __enter__(self) -> TransactionPooler:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._clients):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)
        for server in self._idle:
            server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        with contextlib.suppress(OSError, EOFError):
            startup = self._read_startup(client)
            server, greeting = self._take(startup)
            client.sendall(greeting)
            if not self._sessions:
                self._give_back(server)
                server = None
            while True:
                message = read_message(client)
                if message[:1] == b"X":
                    break
                if server is None:
                    server, _ = self._take(startup)
                server.sendall(message)
                if message[:1] in b"QS" and self._answer(client, server) and not self._sessions:
                    self._give_back(server)
                    server = None
        if server is not None:
            server.close()

    def _answer(self, client: socket.socket, server: socket.socket) -> bool:
        """Pass on everything up to ReadyForQuery; whether no transaction is open then."""
        while True:
            message = read_message(server)
            client.sendall(message)
            if message[:1] == b"Z":
                return message[5:6] == b"I"
            if message[:1] == b"G":  # COPY in: the client speaks next
                return False

    def _read_startup(self, client: socket.socket) -> bytes:
        while True:
            length, code = struct.unpack("!ii", _read_exactly(client, 8))
            body = _read_exactly(client, length - 8)
            if code not in (_SSL_REQUEST, _GSS_REQUEST):
                return struct.pack("!ii", length, code) + body
            client.sendall(b"N")

    def _take(self, startup: bytes) -> tuple[socket.socket, bytes]:
        with self._lock:
            if self._idle:
                return self._idle.pop(), _made_up_greeting()
        server = socket.create_connection(("127.0.0.1", self._server_port))
        server.sendall(startup)
        greeting = b""
        while True:
            message = read_message(server)
            greeting += b"K" + struct.pack("!iii", 12, 4711, 4711) if message[:1] == b"K" else message
            if message[:1] in b"ZE":
                return server, greeting

    def _give_back(self, server: socket.socket) -> None:
        with self._lock:
            self._idle.append(server)


def _made_up_greeting() -> bytes:
    status = [(b"server_version", b"18.0"), (b"client_encoding", b"UTF8"), (b"server_encoding", b"UTF8")]
    status += [(b"standard_conforming_strings", b"on"), (b"integer_datetimes", b"on")]
    parts = [b"R" + struct.pack("!ii", 8, 0)]
    parts += [b"S" + struct.pack("!i", 6 + len(k) + len(v)) + k + b"\0" + v + b"\0" for k, v in status]
    parts += [b"K" + struct.pack("!iii", 12, 4711, 4711), b"Z" + struct.pack("!i", 5) + b"I"]
    return b"".join(parts)


def read_message(connection: socket.socket) -> bytes:
    """One whole message of the protocol; `EOFError` when there are no more."""
    head = _read_exactly(connection, 5)
    return head + _read_exactly(connection, struct.unpack("!i", head[1:])[0] - 4)


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data
