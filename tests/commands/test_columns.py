"""Rows in columns, and what gives way in a narrow terminal."""

from __future__ import annotations

import pytest

from proxy.commands.columns import cut, fitted, line, widths


@pytest.mark.parametrize(
    ("room", "given"),
    [
        pytest.param(40, [10, 20, 4], id="there is room"),
        pytest.param(38, [10, 20, 4], id="there is just enough"),
        pytest.param(30, [10, 12, 4], id="the widest gives way"),
        pytest.param(24, [8, 8, 4], id="then both"),
        pytest.param(10, [5, 6, 4], id="down to their least"),
    ],
)
def test_widths_that_fit(room: int, given: list[int]) -> None:
    assert fitted([10, 20, 4], room, {0: 5, 1: 6}) == given


def test_a_line_fits_and_numbers_stay_whole() -> None:
    rows = [("id", "model", "ms"), ("req-65e915e3aaff-12", "groq/llama-3.3-70b", "1234567")]
    given = fitted(widths(rows), 32, {0: 8, 1: 8})
    assert line(rows[1], given, (False, False, True)) == "req…aff-12  gro…3.3-70b  1234567"
    assert line(("a", "b", "12345678"), given, (False, False, True)) == "a           b            12345678"


@pytest.mark.parametrize(
    ("text", "width", "said"), [("abcdef", 6, "abcdef"), ("abcdefgh", 6, "a…efgh"), ("abcdefgh", 1, "…")]
)
def test_what_is_too_long_loses_its_middle(text: str, width: int, said: str) -> None:
    assert cut(text, width) == said
