"""Upstream text -> text that may leave the house: no secrets, no addresses, bounded.

scrub   by what secrets look like, wherever a text is read         hide   by value, once it is a Failure
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import msgspec

from proxy.errors import MESSAGE_LIMIT
from proxy.types import Failure, Provider

_READ_LIMIT = 4 * MESSAGE_LIMIT
"""Characters that are looked at: what is removed makes room for as much again."""

_NAMED = r"(?:api[-_ ]?key|x-api-key|access[-_ ]?token|authorization|token|secret|password"
_PREFIXED = r"\b(?:sk|pk|rk|gsk|xai|hf|r8|nvapi|fw|pplx|csk|tgp|key)[-_][\w*.-]{6,}"


def _cut(pattern: str, instead: str) -> tuple[re.Pattern[str], str]:
    return re.compile(pattern, re.IGNORECASE), instead


_CUTS = (
    _cut(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>)\]}]+", "[url]"),
    _cut(r"\b(Bearer|Basic)\s+[^\s\"',;]{6,}", r"\1 [secret]"),
    # Providers mask a refused key in their own ways: sk-ab***wxyz, abc...xyz.
    _cut(r"(key provided:?\s*)[^\s\"',;]+", r"\1[secret]"),
    _cut(rf"({_NAMED}|\bkey)[\"']?\s?=\s?[\"']?)[^\s\"'&,;]{{4,}}", r"\1[secret]"),
    _cut(rf"({_NAMED})[\"']?\s?:\s?[\"']?)[^\s\"'&,;]{{8,}}", r"\1[secret]"),
    _cut(_PREFIXED, "[secret]"),
    _cut(r"\bAIza[\w-]{20,}", "[secret]"),
    _cut(r"\beyJ[\w-]{10,}\.[\w-]+\.?[\w-]*", "[secret]"),
    # Account ids hold a digit; words like user-friendly don't.
    _cut(r"\b(?:org|proj|user|acct|cus|wrkspc)[-_](?=[a-z]*\d)[a-z0-9]{6,}", "[id]"),
)
"""In this order: what a URL or a header carries goes with it."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


SHORTEST_SECRET = 8
"""Characters: shorter keys (`none`, `EMPTY`, `ollama`) are words."""
_FRAGMENT = 12
"""Characters of a secret that aren't said either: a text may have been cut in its middle."""
_TELLING = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)
"""Names of configured headers whose values are secret."""

Secrets = tuple[tuple[str, str], ...]
"""(what must not be said, what is said instead), the longest first."""


def secrets_of(provider: Provider) -> Secrets:
    """What must not be said of a provider, whatever it looks like: its key, secret headers, its address."""
    address = urlsplit(provider.base_url)
    headers = [value for name, value in provider.headers.items() if _TELLING.search(name)]
    # `Bearer abc` is secret in its last word.
    hidden = [
        (word.split()[-1], "[secret]") for word in (provider.api_key, *headers) if word and word.strip()
    ]
    hidden += [(unquote(address.password), "[secret]")] if address.password else []
    # A bare word would be one in other sentences, too.
    hidden += [(address.netloc, "[url]")] if re.search(r"[.:\]]", address.netloc) else []
    long = [pair for pair in dict.fromkeys(hidden) if len(pair[0]) >= SHORTEST_SECRET]
    return tuple(sorted(long, key=lambda pair: -len(pair[0])))


def hide(failure: Failure, secrets: Secrets) -> Failure:
    """The failure with nothing of `secrets` in what its upstream said. For failures only: it takes 20 us."""
    said = (failure.message, failure.code, failure.type, failure.param)
    kept = [None if text is None else _without(text, secrets) for text in said]
    if tuple(kept) == said:
        return failure
    message, code, type_, param = kept
    return msgspec.structs.replace(failure, message=message or "", code=code, type=type_, param=param)


def _without(text: str, secrets: Secrets) -> str:
    for secret, instead in secrets:
        text = text.replace(secret, instead)
        for at in range(len(secret) - _FRAGMENT + 1):
            text = text.replace(secret[at : at + _FRAGMENT], instead)
    return text


def scrub(text: str, *secrets: str | None) -> str:
    """The text without keys, tokens, account ids, URLs and the given `secrets`, at most 4,000 characters."""
    text = text[:_READ_LIMIT]
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[secret]")
    for pattern, instead in _CUTS:
        text = pattern.sub(instead, text)
    return _CONTROL.sub(" ", text).strip()[:MESSAGE_LIMIT]
