"""What a caller's headers say: the request's id, its deadline, its conversation, what upstreams may see.

Names are lower case, values latin-1, as ASGI servers hand them over.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Any

import msgspec

from proxy.errors import ApiError
from proxy.types import Provider

Headers = Mapping[str, str]
Pairs = tuple[tuple[bytes, bytes], ...]

# --- request id ----------------------------------------------------------------------------------

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch
_PROCESS = secrets.token_hex(6)
"""Keeps the ids of two processes apart; a counter behind it costs a tenth of a random id each time."""
_numbers = count(1)


def request_id(headers: Headers) -> str:
    """`x-request-id` if it is 1-128 of `[A-Za-z0-9._-]`, else a new one."""
    given = headers.get("x-request-id")
    if given is not None and _REQUEST_ID(given):
        return given
    return f"req-{_PROCESS}-{next(_numbers):x}"


# --- deadline ------------------------------------------------------------------------------------

_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?").fullmatch
_TIMEOUT = "x-request-timeout"


def deadline(headers: Headers) -> float | None:
    """Seconds that the caller will wait (`x-request-timeout`); None: it doesn't say. Raises ApiError 400."""
    given = headers.get(_TIMEOUT)
    if given is None:
        return None
    text = given.strip()
    seconds = float(text) if _SECONDS(text) else 0.0
    if not seconds:
        raise ApiError(
            400,
            f"`{_TIMEOUT}` must be a number of seconds above 0, such as 30 or 2.5, not {given[:40]!a}.",
            code="invalid_value",
            param=_TIMEOUT,
        )
    return seconds


# --- conversation --------------------------------------------------------------------------------

_INSTRUCTIONS = frozenset({"system", "developer"})
_NAMING = frozenset({"session_id", "prompt_cache_key", "metadata", "user"})
"""Fields of a body that may name its conversation."""
_RECORDED = re.compile("[0-9a-f]{24}").fullmatch
_EDGE = 4096
"""Characters at each end of a long text that tell it from others, together with its length."""


def session_of(
    headers: Headers, fields: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], key_id: str
) -> str:
    """A name for the conversation, 24 hex digits; "" when nothing tells it from others.

    The first of: `x-session-id`, `x-openwebui-chat-id`, `session_id`, `prompt_cache_key`,
    `metadata.session_id`, `user`, or what the conversation opened with. The key is part of it, so that no
    caller can enter another's.
    """
    named = _named_session(headers, fields)
    parts = [key_id, "named", named] if named else _opening(messages, key_id)
    return _digest(parts) if parts else ""


def recorded_session(name: str, keys: Sequence[str]) -> str:
    """Under which its calls are recorded: of what a caller calls its conversation, or of that itself.

    `keys`: the names of those whose it may be, "" where no keys are wanted. Raises ValueError: whose?
    """
    if _RECORDED(name):
        return name
    if len(keys) != 1:
        raise ValueError(
            f"{name[:40]!r} is a caller's word: say of which key, or give a record's 24 hex digits"
        )
    return _digest([*keys, "named", name])


def _named_session(headers: Headers, fields: Mapping[str, Any]) -> str:
    if name := headers.get("x-session-id") or headers.get("x-openwebui-chat-id"):
        return name
    if fields.keys().isdisjoint(_NAMING):
        return ""
    metadata = fields.get("metadata")
    candidates = (
        fields.get("session_id"),
        fields.get("prompt_cache_key"),
        metadata.get("session_id") if type(metadata) is dict else None,
        fields.get("user"),
    )
    return next((name for name in candidates if name and type(name) is str), "")


def _opening(messages: Sequence[Mapping[str, Any]], key_id: str) -> list[str]:
    """The instructions and the first user turn; [] when neither has text."""
    parts = [key_id, "opening"]
    said = False
    for message in messages:
        role = message.get("role")
        if role == "user" or role in _INSTRUCTIONS:
            content = message.get("content")
            text = content if type(content) is str else _text(content)
            parts.append(text)
            said = said or text != ""
            if role == "user":
                break
    return parts if said else []


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(part for part in parts if isinstance(part, str))


def _digest(parts: list[str]) -> str:
    # With its length, for of a long part the middle is left out.
    told = [(len(part), part if len(part) <= 2 * _EDGE else part[:_EDGE] + part[-_EDGE:]) for part in parts]
    return blake2b(_encode(told), digest_size=12).hexdigest()


_encode = msgspec.json.Encoder().encode

# --- what upstreams may see ----------------------------------------------------------------------

_NEVER = frozenset(
    {
        # one hop's own business (RFC 9110, section 7.6.1)
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # who the caller is
        "authorization",
        "cookie",
        "cookie2",
        "forwarded",
        "referer",
        "x-admin-key",
        "x-api-key",
        "x-real-ip",
        "x-session-id",
        # ours to say
        "accept",
        "accept-encoding",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-request-timeout",
    }
)
_NEVER_PREFIXES = ("x-forwarded-", "x-kuro-", "x-openwebui-", "x-stainless-")

_IDS = r"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT = re.compile(rf"00{_IDS}|(?!00|ff)[0-9a-f]{{2}}{_IDS}(-.*)?").fullmatch
"""https://www.w3.org/TR/trace-context/#traceparent-header: later versions may say more behind a dash."""


def traceparent(headers: Headers) -> str:
    """The trace that the call belongs to; nothing when there is none, or a broken one."""
    named = headers.get("traceparent", "")
    return named if _TRACEPARENT(named) else ""


def forwarder(headers: Headers) -> Callable[[Provider], Pairs]:
    """What a provider may see of these headers: its allow-list, and the trace that the call belongs to."""

    def forward(provider: Provider) -> Pairs:
        if not provider.forward_headers and "traceparent" not in headers:
            return ()
        return tuple(
            (name.encode("latin-1"), headers[name].encode("latin-1"))
            for name in _allowed(provider.forward_headers)
            if name in headers and (name != "traceparent" or _TRACEPARENT(headers[name]))
        )

    return forward


@lru_cache(maxsize=256)
def _allowed(names: tuple[str, ...]) -> tuple[str, ...]:
    """The allow-list without what never leaves, whatever an operator lists."""
    wanted = dict.fromkeys(("traceparent", *(name.lower() for name in names)))
    return tuple(n for n in wanted if n not in _NEVER and not n.startswith(_NEVER_PREFIXES))
