"""Rows of JSON Lines in, decisions out, one by one: what `kuro explain --input` does.

    line --decode--> row --explain--> decision --encode--> line
               \\---------\\------------------------------> complaint with the line's number

A bad row is complained of and left out; the others go on. Nothing is kept but counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import IO, Any

import msgspec
from msgspec import Struct

from proxy.errors import ApiError

Explain = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a chat body or `{"prompt"}`, gives the decision. Raises ApiError."""

Render = Callable[[dict[str, Any]], bytes]
"""A decision with its row's `id` -> what is written of it."""


def json_line(decision: dict[str, Any]) -> bytes:
    """One line of JSON."""
    return _encode(decision) + b"\n"


class Tally(Struct):
    """How far a run has come."""

    rows: int = 0
    bad: int = 0
    bytes: int = 0
    """Read so far."""


def explain_rows(
    lines: Iterable[bytes],
    explain: Explain,
    write: Callable[[bytes], object],
    complain: Callable[[str], None],
    progress: Callable[[Tally], None] = lambda _: None,
    render: Render = json_line,
) -> Tally:
    """Writes a line for each good row and complains of each bad one. Blank lines are passed over.

    A row's `id` comes back unchanged; one without has the number of its line. `render` may make more than a
    line of it.
    """
    tally = Tally()
    for number, line in enumerate(lines, start=1):
        tally.bytes += len(line)
        if line.strip():
            tally.rows += 1
            try:
                write(render(_explained(line, number, explain)))
            except (msgspec.DecodeError, RecursionError, ApiError, UnicodeDecodeError) as error:
                tally.bad += 1
                complain(f"line {number}: {_reason(error)}")
        progress(tally)
    return tally


def _explained(line: bytes, number: int, explain: Explain) -> dict[str, Any]:
    row = _decode(line)
    name = row.pop("id", number)
    return {"id": name, **explain(row)}


def _reason(error: Exception) -> str:
    if isinstance(error, ApiError):
        return error.message
    if isinstance(error, msgspec.ValidationError):
        return "expected an object with `prompt` or `messages`"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return f"not JSON: {error}"


_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Bar:
    """A line on a terminal that says how far it is, drawn anew ten times a second at most."""

    def __init__(
        self, screen: IO[str], total: int | None, clock: Callable[[], float], unit: str = "rows"
    ) -> None:
        """`total` bytes are to be read; None: nobody knows. `unit`: what is counted."""
        self._unit = unit
        self._screen = screen
        self._total = total
        self._clock = clock
        self._began = self._drawn = clock()

    def __call__(self, tally: Tally) -> None:
        """Draws, if it is time."""
        now = self._clock()
        if now - self._drawn >= 0.1:
            self._drawn = now
            self._screen.write(f"\r{self._line(tally, now - self._began)}\x1b[K")
            self._screen.flush()

    def clear(self) -> None:
        """Takes the line away."""
        self._screen.write("\r\x1b[K")
        self._screen.flush()

    def _line(self, tally: Tally, seconds: float) -> str:
        pace = f"{tally.rows:,} {self._unit}, {tally.rows / seconds:,.0f}/s"
        if not self._total:
            return pace
        share = min(tally.bytes / self._total, 1.0)
        left = seconds / share - seconds if share else 0.0
        return f"{_gauge(share)} {share:4.0%}  {pace}, {int(left) // 60}:{int(left) % 60:02d} left"


def _gauge(share: float) -> str:
    full = round(share * 24)
    return "[" + "=" * full + " " * (24 - full) + "]"
