"""What the stub does with a request: small functions that make one `Reply` of it, and wrap each other.

    ok("hi")                        a good answer, whole or streamed as the request asks
    cut_after(3, ok("a b c d"))     the same, but the connection ends after three events
    byte_by_byte(cut_after(3))      and every byte of it is written on its own

A wrapper's last argument is what it spoils; left out, it is `ok()`. Events are counted from one and
include the first, which brings the role alone.
"""

from __future__ import annotations

import gzip as gz
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tests.stub.dialects import Content, Json, Kind, Piece, Tokens, Tool
from tests.stub.reply import Behaviour, End, Reply
from tests.stub.signals import Gate, Received

STORY = (
    "Once upon a time a small black cat lived in a lighthouse by the sea. Every evening it climbed "
    "the stairs, sat beside the great lamp and watched the ships go by. The sailors called it Kuro, "
    "and they said that no ship was ever lost while its two green eyes were shining there, just above "
    "the dark, wet rocks."
)
"""Sixty words that `prefill` and others tell, so that a test knows how every part of them goes on."""

Headers = Mapping[str, str]
_NONE: Headers = {}
COUNTED = Tokens()
"""What `ok` says that it used; with None it doesn't say."""


# --- good answers --------------------------------------------------------------------------------


def ok(
    text: str | None = None,
    *,
    events: Sequence[str] | None = None,
    tools: Sequence[Tool] = (),
    reasoning: str = "",
    usage: Tokens | None = COUNTED,
    finish_reason: str | None = None,
    delay: float = 0.0,
    first_delay: float = 0.0,
    pace: float = 0.0,
    framing: str | None = None,
    headers: Headers = _NONE,
) -> Behaviour:
    """A good answer. Streamed, each word is an event, or each of `events`."""

    def behave(received: Received) -> Reply:
        said = (f"Hello from {received.model}." if not tools else "") if text is None else text
        content = Content(
            deltas=tuple(events if events is not None else words(said)),
            tools=tuple(tools),
            reasoning=tuple(words(reasoning)),
            tokens=usage,
            finish=finish_reason or ("tool_calls" if tools else "stop"),
        )
        reply = render(content, received)
        return replace(
            reply,
            headers=reply.headers + tuple(headers.items()),
            framing=framing or reply.framing,
            head_delay=delay,
            first_delay=first_delay,
            pace=pace,
        )

    return behave


def prefill(text: str = STORY, **options: float) -> Behaviour:
    """Tells `text`; after an assistant turn that holds its beginning, only the rest of it."""

    def behave(received: Received) -> Reply:
        said = _last_assistant(received.json)
        rest = text.removeprefix(said) if said else text
        return ok(rest, **options)(received)  # type: ignore[arg-type]

    return behave


def render(content: Content, received: Received) -> Reply:
    """The content in the request's dialect, streamed where the request says so."""
    dialect = received.dialect
    if received.json.get("stream"):
        pieces = tuple(dialect.stream(content, received.json))
        return Reply(headers=(("content-type", "text/event-stream"),), pieces=pieces, framing="chunked")
    return _json(200, dialect.whole(content, received.json))


def words(text: str) -> list[str]:
    """The text cut before each space, so that joining gives it back."""
    cut = [part if at == 0 else " " + part for at, part in enumerate(text.split(" "))]
    return [part for part in cut if part]


# --- refusals ------------------------------------------------------------------------------------

ERRORS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request was not understood."),
    401: ("authentication_error", "invalid_api_key", "Incorrect API key provided: sk-secret."),
    402: ("insufficient_quota", "insufficient_quota", "Your credit balance is too low."),
    403: ("permission_error", None, "The key may not use this model."),
    404: ("not_found_error", "model_not_found", "The model does not exist."),
    413: ("request_too_large", None, "The request is too large."),
    429: ("rate_limit_error", "rate_limit_exceeded", "Rate limit reached."),
    500: ("api_error", None, "The server had an error."),
    502: ("api_error", None, "Bad gateway."),
    503: ("api_error", None, "The service is unavailable."),
    504: ("api_error", None, "Gateway timeout."),
    529: ("overloaded_error", None, "Overloaded"),
}
"""Status -> (type, code, message) of `fail` and `error_in_200`."""


def fail(
    status: int = 500,
    message: str | None = None,
    *,
    code: str | None = None,
    type: str | None = None,
    body: bytes | None = None,
    headers: Headers = _NONE,
    retry_after: float | str | None = None,
    delay: float = 0.0,
) -> Behaviour:
    """An error status with the dialect's error object, or with `body` instead of it."""

    def behave(received: Received) -> Reply:
        reply = _json(status, _error(received, status, message, code, type))
        if body is not None:
            reply = replace(reply, pieces=(Piece(Kind.OTHER, body),))
        extra = dict(headers) if retry_after is None else {"retry-after": str(retry_after), **headers}
        return replace(reply, headers=reply.headers + tuple(extra.items()), head_delay=delay)

    return behave


def error_in_200(
    status: int = 500,
    message: str | None = None,
    *,
    code: str | None = None,
    type: str | None = None,
    after: int = 0,
    base: Behaviour | None = None,
) -> Behaviour:
    """Status 200 with an error inside: the JSON body, or the event after the first `after` good ones."""

    def behave(received: Received) -> Reply:
        error = _error(received, status, message, code, type)
        reply = (base or ok())(received)
        if not reply.streamed:
            return replace(_json(200, error), headers=reply.headers)
        data = b"data: " + json.dumps(error).encode() + b"\n\n"
        named = b"event: error\n" + data if received.dialect.path == "/v1/messages" else data
        return replace(reply, pieces=(*reply.pieces[:after], Piece(Kind.OTHER, named)))

    return behave


def refuse_prefill() -> Behaviour:
    """400 when the last message is an assistant turn, as newer models answer; else `ok()`."""
    refusal = fail(400, "This model does not support assistant message prefill.")
    return lambda received: (refusal if _last_assistant(received.json) else ok())(received)


# --- connections that fail before the head -------------------------------------------------------


def reset_before_headers() -> Behaviour:
    return lambda received: Reply(raw=True, end=End.RST)


def close_before_headers() -> Behaviour:
    return lambda received: Reply(raw=True, end=End.FIN)


def hang() -> Behaviour:
    """The request is read and never answered."""
    return lambda received: Reply(raw=True, end=End.SILENCE)


def raw(data: bytes, end: End = End.FIN) -> Behaviour:
    """These bytes and no others."""
    return lambda received: Reply(raw=True, pieces=(Piece(Kind.OTHER, data),), end=end)


def garbage() -> Behaviour:
    """Bytes that are not HTTP."""
    return raw(b"\x16\x03\x01\x00\xff\xfe this is not HTTP\r\n\r\n")


# --- streams that fail ---------------------------------------------------------------------------


def cut_after(events: int, base: Behaviour | None = None, *, end: End = End.FIN) -> Behaviour:
    """The connection ends after so many events, or, not streamed, in the middle of the body."""
    return _changed(base, lambda reply: _cut(reply, events, end))


def headers_then_silence(events: int = 0, base: Behaviour | None = None) -> Behaviour:
    """The head, so many events (or half a body), and nothing more."""
    return _changed(base, lambda reply: _cut(reply, events, End.SILENCE))


def role_only_then_silence() -> Behaviour:
    return headers_then_silence(1)


def no_done(base: Behaviour | None = None) -> Behaviour:
    """A finished stream without its `[DONE]` or message_stop."""
    return _without({Kind.DONE}, base)


def no_finish(base: Behaviour | None = None) -> Behaviour:
    """A stream that ends cleanly with neither finish_reason nor usage nor `[DONE]`."""
    return _without({Kind.FINISH, Kind.USAGE, Kind.DONE}, base)


def finish_everywhere(base: Behaviour | None = None) -> Behaviour:
    """A stream that says `stop` on every chunk, as translators of Gemini's own streams do."""

    def change(reply: Reply) -> Reply:
        said = [
            replace(piece, data=piece.data.replace(b'"finish_reason":null', b'"finish_reason":"stop"'))
            for piece in reply.pieces
        ]
        return replace(reply, pieces=tuple(said))

    return _changed(base, change)


def bad_json_event(at: int, base: Behaviour | None = None, *, data: bytes = b'{"choices": [') -> Behaviour:
    """An event that isn't JSON stands before event number `at`, counted from zero."""
    event = Piece(Kind.OTHER, b"data: " + data + b"\n\n")
    return _changed(
        base, lambda reply: replace(reply, pieces=(*reply.pieces[:at], event, *reply.pieces[at:]))
    )


def comments_only(pace: float = 0.05) -> Behaviour:
    """A stream of `: ping` without end."""
    ping = (Piece(Kind.OTHER, b": ping\n\n"),)
    return lambda received: Reply(
        headers=(("content-type", "text/event-stream"),),
        pieces=ping,
        framing="chunked",
        pace=pace,
        forever=True,
    )


def empty_stream(base: Behaviour | None = None) -> Behaviour:
    """A good head and an empty body, properly ended."""
    return _changed(base, lambda reply: replace(reply, pieces=()))


# --- answers of the wrong kind -------------------------------------------------------------------


def html(status: int = 200) -> Behaviour:
    """A page, as gateways and captive portals send them."""
    page = b"<!doctype html><html><body><h1>Please sign in</h1></body></html>"
    return lambda received: Reply(
        status, (("content-type", "text/html; charset=utf-8"),), (Piece(Kind.OTHER, page),)
    )


def redirect(location: str = "http://127.0.0.1:9/elsewhere", status: int = 307) -> Behaviour:
    return lambda received: Reply(status, (("location", location),))


def wrong_type(content_type: str = "application/octet-stream", base: Behaviour | None = None) -> Behaviour:
    """A good body under the wrong name."""

    def change(reply: Reply) -> Reply:
        others = tuple(pair for pair in reply.headers if pair[0] != "content-type")
        return replace(reply, headers=(("content-type", content_type), *others))

    return _changed(base, change)


def unstreamed(base: Behaviour | None = None) -> Behaviour:
    """A whole JSON reply, though a stream was asked for."""
    return lambda received: (base or ok())(replace(received, json=received.json | {"stream": False}))


def streamed_anyway(base: Behaviour | None = None) -> Behaviour:
    """A stream, though a whole reply was asked for."""
    return lambda received: (base or ok())(replace(received, json=received.json | {"stream": True}))


def gzipped(base: Behaviour | None = None) -> Behaviour:
    """A good body, compressed without having been asked."""

    def change(reply: Reply) -> Reply:
        packed = (Piece(Kind.OTHER, gz.compress(reply.body, mtime=0)),)
        return replace(reply, headers=(*reply.headers, ("content-encoding", "gzip")), pieces=packed)

    return _changed(base, change)


def bad_gzip(base: Behaviour | None = None) -> Behaviour:
    """Says gzip, and isn't."""
    return _changed(
        base, lambda reply: replace(reply, headers=(*reply.headers, ("content-encoding", "gzip")))
    )


# --- good answers, oddly delivered ---------------------------------------------------------------


def slow_body(pace: float, base: Behaviour | None = None, *, size: int = 16) -> Behaviour:
    """So many bytes at a time, so many seconds apart."""
    return _changed(base, lambda reply: replace(reply, split=size, split_pace=pace))


def in_halves(pace: float, base: Behaviour | None = None) -> Behaviour:
    """The head, half of the body, and so many seconds later the other half."""

    def change(reply: Reply) -> Reply:
        half = len(reply.body) // 2
        halves = (Piece(Kind.OTHER, reply.body[:half]), Piece(Kind.OTHER, reply.body[half:]))
        return replace(reply, pieces=halves, pace=pace)

    return _changed(base, change)


def byte_by_byte(base: Behaviour | None = None) -> Behaviour:
    return slow_body(0.0, base, size=1)


def interim(base: Behaviour | None = None) -> Behaviour:
    """Two interim responses before the real one (RFC 9110, section 15.2)."""
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    return _changed(base, lambda reply: replace(reply, preface=hints))


def gated(gate: Gate, base: Behaviour | None = None, *, at: int = -1) -> Behaviour:
    """Waits at the gate before the head, or before event number `at`, counted from zero."""
    return _changed(base, lambda reply: replace(reply, gates={**reply.gates, at: gate}))


# --- how they are made ---------------------------------------------------------------------------


def _changed(base: Behaviour | None, change: Callable[[Reply], Reply]) -> Behaviour:
    """The base (or `ok()`) with a change made to its reply."""
    return lambda received: change((base or ok())(received))


def _without(kinds: set[Kind], base: Behaviour | None) -> Behaviour:
    def change(reply: Reply) -> Reply:
        return replace(reply, pieces=tuple(piece for piece in reply.pieces if piece.kind not in kinds))

    return _changed(base, change)


def _cut(reply: Reply, events: int, end: End) -> Reply:
    if reply.streamed:
        return replace(reply, pieces=reply.pieces[:events], end=end)
    length = ("content-length", str(len(reply.body)))
    half = Piece(Kind.OTHER, reply.body[: len(reply.body) // 2])
    return replace(reply, headers=(*reply.headers, length), pieces=(half,), end=end)


def _json(status: int, value: Json) -> Reply:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(status, (("content-type", "application/json"),), (Piece(Kind.OTHER, body),))


def _error(received: Received, status: int, message: str | None, code: str | None, kind: str | None) -> Json:
    default_kind, default_code, default_message = ERRORS.get(status, ERRORS[400 if status < 500 else 500])
    error: Json = received.dialect.error(
        message or default_message, kind or default_kind, code or default_code
    )
    return error


def _last_assistant(body: Json) -> str:
    """The text of a closing assistant turn, else nothing."""
    last = (body.get("messages") or [{}])[-1]
    content = last.get("content") if last.get("role") == "assistant" else ""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""
