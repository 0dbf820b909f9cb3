"""Where one worker among several finds what the others write to it, and how it writes to them.

    DIRECTORY/1.mail  2.mail  3.mail      a socket each, by the worker's name; whoever starts finds the others

Datagrams, not the links to the parent: one comes whole or not at all, whoever is killed meanwhile, nobody
waits for anybody, the parent has no part in it, and what a worker doesn't read is the kernel's to bound. A
letter that finds no room stays with its writer.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

LARGEST = 1 << 16
"""Bytes of one letter at most."""
_ROOM = 1 << 18
"""Bytes that may be on their way to one worker, of ours; systems give less where they must."""
_AT_ONCE = 64
"""Letters that are read before calls go on: those are about to ask for what is in these."""
_NOBODY = frozenset({
    errno.ECONNREFUSED, errno.ECONNRESET, errno.EDESTADDRREQ, errno.EMSGSIZE, errno.ENOENT, errno.ENOTCONN,
    errno.EPIPE,
})  # fmt: skip
"""What is said of a mailbox whose worker is no more. Whatever else there is, passes."""
_SUFFIX = ".mail"


class Sent(Enum):
    """What became of a letter."""

    TAKEN = auto()
    FULL = auto()
    """Whom it is for hasn't read those before it: try later."""
    GONE = auto()
    """Nobody is there any more."""


class Mailbox:
    """One worker's. Belongs to one event loop, from `open` to `close`."""

    def __init__(self, place: Path, name: str, heard: Callable[[bytes], None]) -> None:
        """`heard` takes each letter, and doesn't raise."""
        self._place = place
        self.name = name
        self._heard = heard
        self._own: socket.socket | None = None
        self._ways: dict[str, socket.socket] = {}
        """To the others, a socket each: what one of them doesn't read fills its own."""

    def open(self) -> None:
        """From now on it is found, and read. Raises OSError."""
        self._own = _socket()
        self._own.bind(str(self._path(self.name)))
        asyncio.get_running_loop().add_reader(self._own.fileno(), self._read)

    def others(self) -> list[str]:
        """Who has one, and may be dead."""
        found = (path.stem for path in self._place.glob(f"*{_SUFFIX}"))
        return sorted((name for name in found if name != self.name), key=lambda name: (len(name), name))

    def send(self, name: str, letter: bytes) -> Sent:
        """Into that worker's."""
        try:
            way = self._ways.get(name)
            if way is None:
                way = self._ways[name] = _socket()
                way.connect(str(self._path(name)))
            way.send(letter)
        except OSError as error:
            if error.errno not in _NOBODY:
                return Sent.FULL
            self._forget(name)
            return Sent.GONE
        return Sent.TAKEN

    def close(self) -> None:
        """Nobody finds it any more."""
        if self._own is not None:
            asyncio.get_running_loop().remove_reader(self._own.fileno())
            self._path(self.name).unlink(missing_ok=True)
            self._own.close()
            self._own = None
        for way in self._ways.values():
            way.close()
        self._ways.clear()

    def _forget(self, name: str) -> None:
        self._ways.pop(name).close()
        self._path(name).unlink(missing_ok=True)  # of one that was killed

    def _path(self, name: str) -> Path:
        return self._place / f"{name}{_SUFFIX}"

    def _read(self) -> None:
        own = self._own
        for _ in range(_AT_ONCE):
            try:
                letter = own.recv(LARGEST) if own is not None else b""
            except OSError:  # all are read
                return
            if letter:
                self._heard(letter)


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        made.setsockopt(socket.SOL_SOCKET, option, _ROOM)
    return made
