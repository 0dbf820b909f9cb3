"""Points in time as people write them."""

from __future__ import annotations

import pytest

from proxy.wire.when import moment, span

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90s", NOW - 90),
        ("15m", NOW - 900),
        ("1h", NOW - 3600),
        ("1.5h", NOW - 5400),
        (" 7d ", NOW - 604800),
        ("2w", NOW - 1209600),
        ("1799999999.5", 1799999999.5),
        ("0", 0.0),
        ("2027-01-15", 1799971200.0),
        ("2027-01-15T08:00:00Z", NOW),
        ("2027-01-15 09:00:00+01:00", NOW),
        ("2027-01-15T08:00", NOW),
    ],
)
def test_a_moment(text: str, at: float) -> None:
    assert moment(text, NOW) == at


@pytest.mark.parametrize(
    "text", ["", "yesterday", "1y", "-1h", "1e400", "2027-13-01", "inf", "١٥m", "9" * 40]
)
def test_what_is_none_says_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no point in time: write 90s, 15m"):
        moment(text, NOW)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("1.5", 1.5), ("90s", 90.0), (" 15m ", 900.0), ("2w", 1209600.0)]
)
def test_a_span(text: str, seconds: float) -> None:
    assert span(text) == seconds


@pytest.mark.parametrize("text", ["", "-5", "1y", "2026-11-26", "inf", "1e3", "5 m"])
def test_what_is_no_span_says_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no span of time: write seconds, or 90s"):
        span(text)
