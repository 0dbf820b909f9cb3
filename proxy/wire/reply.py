"""What is said back beside the upstream's own bytes: errors, and the decision trace.

error body    {"error": {"message", "type", "param", "code"}}
error event   data: {"error": {...}}
trace         "kuro": {...} as the last member of a reply, or of a stream's first event
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from proxy.errors import ApiError
from proxy.wire.crowd import many_values

_TRACE = "kuro"

_EVENT = re.compile(rb"(?:[^\r\n]+(?:\r\n|\n|\r))+")
"""The lines of one event, without the blank line that ends it."""

_DATA = re.compile(rb"(?:\A|(?<=[\r\n]))data(?::[ ]?|(?=[\r\n]))([^\r\n]*)(?:\r\n|\n|\r)")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def error_body(error: ApiError) -> bytes:
    """The JSON body of a refusal."""
    return _encode(error.as_dict())


def error_event(error: ApiError) -> bytes:
    """The event that ends a stream which can't be finished; every SDK raises on it."""
    return b"data: " + error_body(error) + b"\n\n"


def with_trace(reply: bytes, trace: Mapping[str, Any]) -> bytes:
    """A JSON reply with `kuro` as its last member, all other bytes as they came.

    A reply that isn't an object is returned as it is; a `kuro` of the upstream's own is replaced.
    """
    fields = _object(reply)
    if fields is None:
        return reply
    if _TRACE in fields:
        return _encode({**fields, _TRACE: trace})
    closing = reply.rindex(b"}")
    comma = b"," if fields else b""
    return b'%b%b"kuro":%b%b' % (reply[:closing], comma, _encode(trace), reply[closing:])


def with_trace_event(events: bytes, trace: Mapping[str, Any]) -> bytes:
    """Complete SSE events, the first that holds a JSON object with `kuro` as its last member.

    The very same bytes object comes back when none does (comments only, `[DONE]`): try the next read.
    """
    for event in _EVENT.finditer(events):
        lines = event.group()
        payload = b"\n".join(_DATA.findall(lines))
        traced = with_trace(payload, trace)
        if traced is not payload:
            return events[: event.start()] + _replaced(lines, traced) + events[event.end() :]
    return events


def _replaced(lines: bytes, payload: bytes) -> bytes:
    """The event's other lines, then the payload on as many data lines as it has."""
    ending = b"\r\n" if lines.endswith(b"\r\n") else lines[-1:]
    data = b"".join(b"data: " + line + ending for line in payload.split(b"\n"))
    return _DATA.sub(b"", lines) + data


def _object(data: bytes) -> dict[str, Any] | None:
    if many_values(data):
        return None
    try:
        fields = _decode(data)
    except (ValueError, RecursionError):
        return None
    return fields if type(fields) is dict else None
