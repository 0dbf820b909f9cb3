"""Expressions shared among automata are found as by one."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.automata import SETS, Automata

LISTED = [r"\bab", "c+", "abc", r"\bd\b", "e$"]


def made(*expressions: str) -> Automata:
    automata = Automata()
    for expression in expressions:
        automata.add(expression)
    automata.compile()
    return automata


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(b"abc d", [0, 1, 2, 3], id="those that stand there, rising"),
        pytest.param(b"xab", [], id="nothing"),
        pytest.param(b"e", [4], id="the last one"),
    ],
)
def test_match(text: bytes, found: list[int]) -> None:
    automata = made(*LISTED)
    assert automata.numbers(automata.match(text)) == found


@given(st.integers(0, len(LISTED)), st.text("abcde ", max_size=12))
def test_they_find_what_each_would_find_alone(count: int, text: str) -> None:
    alone = [number for number, one in enumerate(LISTED[:count]) if re2.search(one, text)]
    automata = made(*LISTED[:count])
    assert automata.numbers(automata.match(text.encode())) == alone


@pytest.mark.parametrize("before", range(SETS))
def test_what_is_no_expression_is_said(before: int) -> None:
    automata = Automata()
    for _ in range(before):
        automata.add("x")
    with pytest.raises(re2.error):
        automata.add("(")
