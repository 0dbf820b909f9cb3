"""A record as JSON, whatever a caller or an upstream has put into it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import msgspec

from proxy.record import CallRecord

_encoder = msgspec.json.Encoder(enc_hook=str)


def encode(value: Any) -> bytes:
    """JSON in UTF-8; what UTF-8 can't say becomes a question mark."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:  # half of a surrogate pair
        return _encoder.encode(_sound(msgspec.to_builtins(value, enc_hook=str)))


class Batch(tuple[CallRecord, ...]):
    """Records on their way through the sinks, which get them one after the other."""

    @cached_property
    def lines(self) -> list[bytes]:
        """Each as JSON: encoded when the first sink asks for it, once for all of them."""
        return [encode(record) for record in self]


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
