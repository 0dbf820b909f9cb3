"""Points in time and spans as people write them: how long ago, a date, Unix time; seconds, `15m`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}

_AGO = re.compile(r"(\d{1,9}(?:\.\d+)?)([smhdw])", re.ASCII)
_UNIX = re.compile(r"\d{1,12}(?:\.\d+)?", re.ASCII)

SPANS = "seconds, or 90s, 15m, 1h, 7d, 2w"
FORMS = "90s, 15m, 1h, 7d (ago), 2026-11-26, 2026-11-26T08:30:00Z, or Unix time"


def moment(text: str, now: float) -> float:
    """Unix time of `15m` (ago), of a date or time (ISO 8601; UTC unless it says otherwise), of Unix time.

    Raises ValueError, which says what is understood.
    """
    text = text.strip()
    if ago := _AGO.fullmatch(text):
        return now - float(ago[1]) * UNITS[ago[2]]
    if _UNIX.fullmatch(text):
        return float(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no point in time: write {FORMS}") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def span(text: str) -> float:
    """Seconds of `90s`, `1h`, or of a bare number. Raises ValueError, which says what is understood."""
    text = text.strip()
    if found := _AGO.fullmatch(text):
        return float(found[1]) * UNITS[found[2]]
    if _UNIX.fullmatch(text):
        return float(text)
    raise ValueError(f"{text[:40]!r} is no span of time: write {SPANS}")
