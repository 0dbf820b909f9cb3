"""Upstream text -> text that may leave the house: no secrets, no addresses, bounded."""

from __future__ import annotations

import re

from proxy.errors import MESSAGE_LIMIT

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


def scrub(text: str, *secrets: str | None) -> str:
    """The text without keys, tokens, account ids, URLs and the given `secrets`, at most 4,000 characters."""
    text = text[:_READ_LIMIT]
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[secret]")
    for pattern, instead in _CUTS:
        text = pattern.sub(instead, text)
    return _CONTROL.sub(" ", text).strip()[:MESSAGE_LIMIT]
