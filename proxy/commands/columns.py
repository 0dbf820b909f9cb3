"""Rows in columns, as wide as they need to be or as the terminal allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def table(rows: Iterable[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Rows in columns; those that are `right` end at the same place, the others begin there."""
    rows = list(rows)
    needed = widths(rows)
    return [line(row, needed, right) for row in rows]


def widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """What each column needs."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def line(cells: Sequence[str], given: Sequence[int], right: Sequence[bool]) -> str:
    """One row. A word that is wider than its column loses its middle, for ids differ at their ends; what
    stands at the right is a number, and stays whole."""
    columns = zip(cells, given, right, strict=True)
    return "  ".join(
        cell.rjust(width) if at_right else cut(cell, width).ljust(width) for cell, width, at_right in columns
    ).rstrip()


def fitted(needed: Sequence[int], room: int, least: Mapping[int, int]) -> list[int]:
    """Widths whose line has `room`: the widest of the columns in `least` give way, down to what it says."""
    given = list(needed)
    over = sum(given) + 2 * (len(given) - 1) - room
    while over > 0 and (wide := [column for column in least if given[column] > least[column]]):
        given[max(wide, key=given.__getitem__)] -= 1
        over -= 1
    return given


def cut(text: str, width: int) -> str:
    """At most so wide."""
    if len(text) <= width:
        return text
    head = (width - 1) // 3
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
