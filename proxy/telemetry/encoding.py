"""A record as JSON, whatever a caller or an upstream has put into it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec

from proxy.record import CallRecord

_encoder = msgspec.json.Encoder(enc_hook=str)
_HEAD, _TAIL = b'{"event":"call",', b',"level":"info"'
"""How a record begins and, but for the brace, ends; those of former versions were kept without."""


def encode(value: Any) -> bytes:
    """JSON in UTF-8; what UTF-8 can't say becomes a question mark."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:  # half of a surrogate pair
        return _encoder.encode(_sound(msgspec.to_builtins(value, enc_hook=str)))


def encode_lines(values: Sequence[Any]) -> bytes:
    """Each as a line of JSON, with its end: in one piece, which takes a quarter less time than one by one."""
    try:
        return _encoder.encode_lines(values)
    except UnicodeEncodeError:
        return b"".join([encode(value) + b"\n" for value in values])


def unlogged(line: bytes) -> bytes:
    """A record without what makes it a line of the log."""
    if not line.startswith(_HEAD):
        return line
    return b"{%b}" % line[len(_HEAD) : -1].removesuffix(_TAIL)


class Batch(tuple[CallRecord, ...]):
    """Records on their way through the sinks, which get them one after the other."""

    @cached_property
    def lines(self) -> bytes:
        """A line of JSON for each: encoded when the first sink asks for it, once for all of them."""
        return encode_lines(self)


def _sound(value: Any) -> Any:
    """The same without what UTF-8 can't say."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_sound(key): _sound(item) for key, item in value.items()}
        case list() | tuple():
            return [_sound(item) for item in value]
    return value
