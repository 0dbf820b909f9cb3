"""Calls that are kept as one piece: how they are written, and what is read of them.

    the batch that the sinks got --Segment--> rows of `calls`; lines of JSON, as they were logged
    lines --read--> Lines: one of them, with all that is kept beside it; Trends: what many come to

One insertion for some forty calls, of bytes that were made for the log line anyway, takes half as long as one
for each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from proxy.record import Row, Trend
from proxy.telemetry.encoding import unlogged

Columns = tuple[Any, ...]
"""What is shown of a call: the values of `archive.COLUMNS`."""


class Segment(NamedTuple):
    """Calls that are kept as one piece: of each a row, and a line in all else that is there."""

    rows: Sequence[Columns]
    records: bytes
    """JSON, as they are logged."""
    grounds: bytes | None = None
    """JSON, but for ..."""
    standings: bytes | None = None
    """... the standings: JSON, or the number of the line that says the same, or `null`."""
    prompts: Sequence[str | None] | None = None
    """What was asked."""


class Latest:
    """The latest calls, for who asks: at least so many, where there were as many.

    What is shown of each, and its line of the log: a whole record with all that hangs on it is five times
    as much memory, through which the processor's cache would go.
    """

    def __init__(self, least: int) -> None:
        self.least = least
        self._segments: deque[Segment] = deque()
        self._held = 0

    def add(self, segment: Segment) -> None:
        """They have just ended."""
        self._segments.append(Segment(segment.rows, segment.records))
        self._held += len(segment.rows)
        self.forget()

    def forget(self) -> None:
        """The oldest that needn't be there."""
        segments = self._segments
        while segments and self._held - len(segments[0].rows) >= self.least:
            self._held -= len(segments.popleft().rows)

    def calls(self) -> list[tuple[Columns, bytes]]:
        """The latest first. From any thread."""
        found = [
            pair
            for segment in list(self._segments)
            for pair in zip(segment.rows, segment.records.splitlines(), strict=True)
        ]
        return found[::-1][: self.least]


class Lines(NamedTuple):
    """A segment that was read, as lines."""

    first: int
    """Id of its first call."""
    records: Sequence[bytes]
    grounds: Sequence[bytes] | None
    standings: Sequence[bytes] | None
    prompts: Sequence[bytes] | None

    def __contains__(self, id: object) -> bool:
        return isinstance(id, int) and 0 <= id - self.first < len(self.records)

    def logged(self, id: int) -> bytes:
        """One of its records, as it was logged."""
        return self.records[id - self.first]

    def whole(self, id: int) -> bytes:
        """One of its records, with all that is kept beside it."""
        number = id - self.first
        whole = unlogged(self.records[number])
        grounds = _line(self.grounds, number)
        if grounds is not None:
            whole = _with(whole, b"grounds", _with(grounds, b"standing", self._standing(number)))
        return _with(whole, b"prompt", _line(self.prompts, number))

    def _standing(self, number: int) -> bytes | None:
        line = _line(self.standings, number)
        return _line(self.standings, int(line)) if line is not None and line.isdigit() else line


def read(last: int, *parts: bytes | None) -> Lines:
    """The segment that ends with this id, and has these parts, in the order of `Lines`."""
    records, grounds, standings, prompts = (part and part.splitlines() for part in parts)
    records = records or []
    return Lines(last + 1 - len(records), records, grounds or None, standings or None, prompts or None)


def _line(lines: Sequence[bytes] | None, number: int) -> bytes | None:
    return None if lines is None or lines[number] == b"null" else lines[number]


def _with(whole: bytes, name: bytes, value: bytes | None) -> bytes:
    """A JSON object with another member."""
    return whole if value is None else b'%b,"%b":%b}' % (whole[:-1], name, value)


class Trends:
    """How attempts went, by model and `step` seconds since then."""

    def __init__(self, since: float, step: float) -> None:
        self._since, self._step = since, step
        self._tried: dict[tuple[str, int], _Tried] = {}

    def count(self, line: bytes) -> None:
        """A record, as it was logged."""
        record = _decode(line)
        number = int((record.time - self._since) / self._step)
        for attempt in record.attempts:
            if attempt.outcome in _TRIED:
                self._tried.setdefault((attempt.model, number), _Tried()).count(attempt)

    def told(self) -> list[Trend]:
        """By model, and then by time."""
        found: dict[str, list[Row]] = {}
        for (model, number), tried in sorted(self._tried.items()):
            found.setdefault(model, []).append({"at": self._since + number * self._step, **tried.told()})
        return [Trend(model, points) for model, points in found.items()]


class _Attempt(Struct):
    """What is asked of an attempt ..."""

    model: str = ""
    outcome: str = ""
    ttft_ms: float | None = None


class _Record(Struct):
    """... and of a record."""

    time: float = 0.0
    attempts: list[_Attempt] = []


class _Tried(Struct):
    """What attempts come to."""

    attempts: int = 0
    ok: int = 0
    begun: int = 0
    ttft_ms: float = 0.0

    def count(self, attempt: _Attempt) -> None:
        self.attempts += 1
        self.ok += attempt.outcome in _WORKED
        if attempt.ttft_ms is not None:
            self.begun += 1
            self.ttft_ms += attempt.ttft_ms

    def told(self) -> Row:
        ttft = self.ttft_ms / self.begun if self.begun else None
        return {"attempts": self.attempts, "ok": self.ok, "ttft_ms": ttft}


NOTHING = Lines(0, (), None, None, None)
"""No segment."""
_WORKED = ("ok", "cut")
_TRIED = (*_WORKED, "failed")
_decode = msgspec.json.Decoder(_Record).decode
