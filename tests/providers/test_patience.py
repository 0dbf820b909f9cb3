"""Retry-After in all its spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.patience import MAX_WAIT, asked_wait

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
LATER = "Wed, 21 Oct 2015 07:28:30 GMT"
OPENROUTER = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1445412570000"}
"""A minute and a half after DATE."""


def used_up(what: str, reset: str) -> dict[str, str]:
    return {f"x-ratelimit-remaining-{what}": "0", f"x-ratelimit-reset-{what}": reset}


@pytest.mark.parametrize(
    ("headers", "words", "seconds"),
    [
        pytest.param({}, "", None, id="nothing asked"),
        pytest.param({"retry-after": "7"}, "", 7, id="seconds"),
        pytest.param({"retry-after": "0"}, "", 0, id="no time at all"),
        pytest.param({"retry-after": "1.5"}, "", 1.5, id="a fraction"),
        pytest.param({"retry-after": " 7 "}, "", 7, id="with spaces"),
        pytest.param({"retry-after": "-3"}, "", 0, id="the past"),
        pytest.param({"retry-after": "86400"}, "", MAX_WAIT, id="a day is cut to an hour"),
        pytest.param({"retry-after": "inf"}, "", MAX_WAIT, id="forever is cut to an hour"),
        pytest.param({"retry-after": "nan"}, "", None, id="not a number"),
        pytest.param({"retry-after": "soon"}, "", None, id="a word"),
        pytest.param({"retry-after": ""}, "", None, id="empty"),
        pytest.param({"retry-after-ms": "1500"}, "", 1.5, id="milliseconds"),
        pytest.param({"retry-after-ms": "1500", "retry-after": "2"}, "", 1.5, id="milliseconds are finer"),
        pytest.param({"retry-after": LATER, "date": DATE}, "", 30, id="a date, counted from Date"),
        pytest.param({"retry-after": DATE, "date": LATER}, "", 0, id="a date that is over"),
        pytest.param({"retry-after": LATER}, "", None, id="a date without a Date"),
        pytest.param({"retry-after": "1h2m3s"}, "", MAX_WAIT, id="more than an hour in parts"),
        pytest.param({"retry-after": "2m3.5s"}, "", 123.5, id="minutes and seconds"),
        pytest.param({"retry-after": "120ms"}, "", 0.12, id="milliseconds by unit"),
        pytest.param({"retry-after": "6m0s"}, "", 360, id="no seconds"),
        pytest.param({}, "Please try again in 7.66s. Thanks", 7.66, id="words: try again in"),
        pytest.param({}, "Please try again in 20ms.", 0.02, id="words: milliseconds"),
        pytest.param({}, "try again in 1m2.5s", 62.5, id="words: minutes"),
        pytest.param({}, "Please retry after 20 seconds.", 20, id="words: retry after"),
        pytest.param({}, "please wait 2 minutes", 120, id="words: wait"),
        pytest.param({}, "retry in 37s", 37, id="words: retry in"),
        pytest.param({}, "try again later, 5 times at most", None, id="words: a number that is no time"),
        pytest.param({}, "again 3 things", None, id="words: a number of things"),
        pytest.param({"retry-after": "1"}, "try again in 9s", 1, id="headers before words"),
        pytest.param(used_up("tokens", "6m0s"), "", 360, id="the tokens are used up"),
        pytest.param(used_up("requests", "1s") | used_up("tokens", "3s"), "", 3, id="both are used up"),
        pytest.param({"x-ratelimit-reset-tokens": "6m0s"}, "", None, id="nothing is used up"),
        pytest.param(used_up("requests", "1s"), "try again in 9s", 9, id="words before resets"),
        pytest.param(OPENROUTER | {"date": DATE}, "", 90, id="a Unix time in milliseconds"),
        pytest.param(OPENROUTER | {"x-ratelimit-reset": "1445412570", "date": DATE}, "", 90, id="in seconds"),
        pytest.param(OPENROUTER, "", None, id="a Unix time without a Date"),
    ],
)
def test_asked_wait(headers: dict[str, str], words: str, seconds: float | None) -> None:
    assert asked_wait(headers, words) == (None if seconds is None else pytest.approx(seconds))


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=80))
def test_anything_is_survived_and_clamped(after: str, date: str, words: str) -> None:
    asked = asked_wait({"retry-after": after, "retry-after-ms": words, "date": date}, f"try again in {words}")
    assert asked is None or 0 <= asked <= MAX_WAIT
