"""Points in time as people write them."""

from __future__ import annotations

import pytest

from proxy.wire.when import moment

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
