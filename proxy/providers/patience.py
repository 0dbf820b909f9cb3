"""How long an upstream asks to be left alone: headers first, then its words.

    retry-after-ms: 1500                     milliseconds
    retry-after: 7 | 1h2m3s | Wed, 21 Oct... seconds, a duration, or a date counted from the Date header
    "... Please try again in 7.66s."         in the message
    x-ratelimit-reset-tokens: 6m0s           when that is what ran out
    x-ratelimit-reset: 1741305600000         likewise, a Unix time (OpenRouter's free models)

RFC 9110, section 10.2.3; the rest as OpenAI, Groq and Google send it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

MAX_WAIT = 3600.0
"""Seconds: what asks for more is cut to it."""

_INSTANT = 1e9
"""Numbers from here on are Unix times, in seconds ..."""
_INSTANT_MS = 1e12
"""... or milliseconds."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNIT = r"(?:ms|milliseconds?|m|min(?:ute)?s?|h|h(?:ou)?rs?|d|days?|s|sec(?:ond)?s?)"
_PART = rf"\d{{1,12}}(?:\.\d{{1,12}})?\s?{_UNIT}(?![a-z])"
_PART_IN = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)\s?([a-z]+)", re.IGNORECASE)
_DURATION = re.compile(rf"\s*(?:{_PART}\s?)+", re.IGNORECASE)
_ASKED = re.compile(r"\b(?:again|retry|retrying|wait)(?:\s+(?:in|after|for))?\s+(?=\d)", re.IGNORECASE)


def asked_wait(headers: Mapping[str, str], words: str = "") -> float | None:
    """Seconds, 0..3600, or None when nothing was asked. Header names in lower case."""
    asked = (
        _number(headers.get("retry-after-ms"), 0.001)
        or _retry_after(headers.get("retry-after"), headers.get("date"))
        or _in_words(words)
        or _reset(headers)
    )
    return None if asked is None else _clamped(asked[0])


def _retry_after(value: str | None, date: str | None) -> tuple[float] | None:
    if not value:
        return None
    return _number(value, 1.0) or _duration(value) or _until(value, date)


def _number(value: str | None, unit: float) -> tuple[float] | None:
    """In a tuple, so that 0 is an answer."""
    try:
        number = float(value or "")
    except ValueError:
        return None
    return None if math.isnan(number) else (number * unit,)


def _duration(value: str) -> tuple[float] | None:
    match = _DURATION.match(value)
    if match is None:
        return None
    return (sum(float(number) * _seconds(unit) for number, unit in _PART_IN.findall(match[0])),)


def _seconds(unit: str) -> float:
    unit = unit.lower()
    if unit == "ms" or unit.startswith("milli"):
        return 0.001
    return _UNITS[unit[0]]


def _until(value: str, date: str | None) -> tuple[float] | None:
    try:
        then, now = (parsedate_to_datetime(text) for text in (value, date or ""))
        return ((then - now).total_seconds(),)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _in_words(words: str) -> tuple[float] | None:
    for asked in _ASKED.finditer(words):
        if (found := _duration(words[asked.end() : asked.end() + 60])) is not None:
            return found
    return None


def _reset(headers: Mapping[str, str]) -> tuple[float] | None:
    """The longest wait of what is used up: requests or tokens."""
    waits = [
        found[0]
        for what in ("", "-requests", "-tokens")
        if _number(headers.get(f"x-ratelimit-remaining{what}"), 1.0) == (0.0,)
        and (found := _reset_after(headers.get(f"x-ratelimit-reset{what}"), headers.get("date")))
    ]
    return (max(waits),) if waits else None


def _reset_after(value: str | None, date: str | None) -> tuple[float] | None:
    number = _number(value, 1.0)
    if number is None or number[0] < _INSTANT:
        return _retry_after(value, None)
    then = number[0] / 1000 if number[0] >= _INSTANT_MS else number[0]
    try:
        return (then - parsedate_to_datetime(date or "").timestamp(),)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _clamped(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_WAIT)
