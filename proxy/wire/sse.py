"""Server-sent events: bytes, split anywhere -> whole events with the bytes they came in.

    feed(data) --Reader--> block of whole events --joined--> the payloads, when all are plain `data: ...`
          (the rest waits)                       --events--> Event, Event, ...   in every other case

Follows the event stream rules of the WHATWG HTML standard (section 9.2), with five liberties: `id` and
`retry` are not interpreted, an event whose data is empty is none, a last event without its blank line
counts, byte order marks at the start are skipped however many there are (else a reader of what is relayed
would skip the second), and an event whose lines end in a lone CR is seen when the byte after it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from proxy.errors import UpstreamError
from proxy.types import Failure, FailureKind

MAX_EVENT = 8 * 1024 * 1024
"""Bytes of one event, unless a reader is told otherwise."""

LF, CR = b"\n\r"
"""As numbers: a byte is found in bytes three times as fast as bytes are."""
_BOM = b"\xef\xbb\xbf"
_EOL = rb"(?>\r\n?|\n)"
_BLANK = re.compile(_EOL + _EOL)
_BLANKS = (b"\n\n", b"\r\n\r\n")
_EVENT = re.compile(rb"((?:[^\r\n]++" + _EOL + rb")*+)" + _EOL)


class Event(Struct):
    """One event. `data` is empty for comments and for events that say nothing."""

    raw: bytes
    """As it came, to the end of its blank line; without `id` lines, if it had any."""
    data: bytes = b""
    """The data lines' values, joined by LF."""
    name: bytes = b""
    """The `event` field."""


class Reader:
    """Cuts a stream of bytes into blocks of whole events."""

    __slots__ = ("_fresh", "_limit", "_tail")

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._tail = bytearray()
        self._fresh = True

    def feed(self, data: bytes) -> bytes:
        """All events that are complete now, or nothing; raises UpstreamError on an endless one."""
        if not self._tail and not self._fresh and data.endswith(_BLANKS):
            return data
        seen = len(self._tail)
        self._tail += data
        if self._fresh and not self._skip_bom():
            return b""
        return self._take(max(0, seen - 3))

    def close(self) -> bytes:
        """What is left, as a block: the last event when it lacks only its blank line."""
        if not self._tail:
            return b""
        rest = bytes(self._tail)
        self._tail.clear()
        return rest + (b"\n" if rest.endswith(b"\n") else b"\n\n")

    def _skip_bom(self) -> bool:
        while self._tail.startswith(_BOM):
            del self._tail[:3]
        if _BOM.startswith(self._tail):
            return False
        self._fresh = False
        return True

    def _take(self, start: int) -> bytes:
        end = _last_blank(self._tail, start)
        if len(self._tail) - end > self._limit:
            self._tail.clear()
            raise UpstreamError(_too_large(self._limit))
        if end == 0:
            return b""
        block = bytes(self._tail[:end])
        del self._tail[:end]
        return block


def joined(block: bytes, separator: bytes) -> tuple[bytes, int] | None:
    """All payloads of a block with `separator`, a byte, between them, and their number, without a loop.

    None when any event of the block is more than one `data` line.
    """
    eol = b"\r\n" if CR in block else b"\n"
    field = b"data: " if block.startswith(b"data: ") else b"data:"
    blank = eol + eol
    if not (block.startswith(field) and block.endswith(blank)):
        return None
    parts = block[len(field) : -len(blank)].split(blank + field)
    payloads = parts[0] if len(parts) == 1 else separator.join(parts)
    # Any line end that is left, or a space after the colon, isn't a payload's.
    if LF in payloads or CR in payloads or (field == b"data:" and blank + b"data: " in block):
        return None
    return payloads, len(parts)


def events(block: bytes) -> Iterator[Event]:
    """The events of a block, one by one; blank lines alone are none."""
    for match in _EVENT.finditer(block):
        lines = match[1]
        if lines:
            yield _event(match[0], lines)


def last_event(block: bytes) -> int:
    """Where the last event of a block that `joined` accepted begins."""
    blank = b"\r\n\r\n" if CR in block else b"\n\n"
    before = block.rfind(blank, 0, len(block) - len(blank))
    return 0 if before < 0 else before + len(blank)


def _event(raw: bytes, lines: bytes) -> Event:
    data: list[bytes] = []
    name = b""
    numbered = False
    for line in lines.splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
        elif field == b"id":
            numbered = True
    return Event(_without_ids(raw) if numbered else raw, b"\n".join(data), name)


def _without_ids(raw: bytes) -> bytes:
    # All line ends become LF: what was taken out may have kept a CR and an LF from being one.
    return b"".join(line + b"\n" for line in raw.splitlines() if line.partition(b":")[0] != b"id")


def _last_blank(buffer: bytearray, start: int) -> int:
    """Where the last blank line that reaches past `start` ends, or 0."""
    if buffer.endswith(_BLANKS):
        return len(buffer)
    if buffer.find(b"\r", start) < 0:
        found = buffer.rfind(b"\n\n", start)
        return 0 if found < 0 else found + 2
    end = 0
    # An LF may still follow a CR at the very end.
    for match in _BLANK.finditer(buffer, start, len(buffer) - buffer.endswith(b"\r")):
        end = match.end()
    return end


def _too_large(limit: int) -> Failure:
    return Failure(FailureKind.BAD_RESPONSE, f"The upstream sent an event of more than {limit} bytes.")
