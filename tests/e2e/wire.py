"""A caller with nothing but a socket: sends what stands there, and takes apart what comes back."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.e2e.kuro import PATIENCE

HELLO: dict[str, Any] = {"model": "primary", "messages": [{"role": "user", "content": "Hello there"}]}
SHAPE = {"message", "type", "param", "code"}


class Response(NamedTuple):
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error object, whose shape is checked."""
        assert self.headers["content-type"] == "application/json", self
        value = json.loads(self.body)
        assert set(value) == {"error"}
        assert set(value["error"]) == SHAPE
        assert isinstance(value["error"]["message"], str) and value["error"]["message"]
        error: dict[str, Any] = value["error"]
        return error

    @property
    def closes(self) -> bool:
        """Whether it says that the connection ends."""
        return self.headers.get("connection", "").lower() == "close"


class Wire:
    """One connection."""

    def __init__(self, port: int, timeout: float = PATIENCE, receive_buffer: int = 0) -> None:
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(timeout)
        self._socket.connect(("127.0.0.1", port))
        self._read = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> Wire:
        """All of it, or as much as the other side takes before it closes."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(data)
        return self

    def answer(self) -> Response:
        """The next whole answer; 100 Continue is one, too. Raises EOFError when there is none."""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split(" ")[1])
        if headers.get("transfer-encoding") == "chunked":
            return Response(status, headers, self._chunks())
        size = 0 if status < 200 or status in (204, 304) else int(headers["content-length"])
        return Response(status, headers, self.take(size))

    def take(self, size: int) -> bytes:
        """So many bytes."""
        while len(self._read) < size:
            self._more()
        data, self._read = self._read[:size], self._read[size:]
        return data

    def drain(self, ending: bytes) -> int:
        """Reads until `ending` has come, keeping nothing; how many bytes that were."""
        size = len(self._read)
        while ending not in self._read:
            self._read = self._read[-len(ending) :]
            kept = len(self._read)
            self._more()
            size += len(self._read) - kept
        self._read = b""
        return size

    def ended(self) -> bool:
        """Waits for the end: nothing else comes any more."""
        try:
            self._more()
        except EOFError:
            return not self._read
        return False

    def _chunks(self) -> bytes:
        parts = []
        while True:
            while b"\r\n" not in self._read:
                self._more()
            size, _, self._read = self._read.partition(b"\r\n")
            parts.append(self.take(int(size, 16)))
            assert self.take(2) == b"\r\n"
            if not int(size, 16):
                return b"".join(parts)

    def _more(self) -> None:
        try:
            data = self._socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError(self._read)
        self._read += data


def request(
    body: bytes | Mapping[str, Any],
    *,
    first: bytes = b"POST /v1/chat/completions HTTP/1.1",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A request that is right, except for what is told otherwise."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(raw))}
    fields |= headers or {}
    lines = [f"{name}: {value}".encode("latin-1") for name, value in fields.items()]
    return b"\r\n".join([first, *lines, b"", raw])


class Case(NamedTuple):
    """One request, the status that it must get, and the field that must be named."""

    name: str
    data: bytes
    status: int = 400
    param: str | None = None
    code: str | None = None
    param_told: bool = True
    """`param` is compared."""
