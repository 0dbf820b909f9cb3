"""Rows in, decisions out, bad rows complained of by their line."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from proxy.commands.batch import Bar, Tally, explain_rows
from proxy.errors import ApiError


def explain(row: dict[str, Any]) -> dict[str, Any]:
    """Stands in for the router: echoes the prompt, refuses rows without one."""
    if "prompt" not in row:
        raise ApiError(400, "`prompt` or `messages` is missing", param="messages")
    return {"intent": "echo", "said": row["prompt"], "rest": sorted(row)}


def run(text: bytes) -> tuple[list[dict[str, Any]], list[str], Tally]:
    written: list[bytes] = []
    complaints: list[str] = []
    tally = explain_rows(io.BytesIO(text), explain, written.append, complaints.append)
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in written)
    return [json.loads(line) for line in written], complaints, tally


def test_a_row_is_explained_under_its_own_id() -> None:
    rows, complaints, tally = run(b'{"id": "x", "prompt": "hi", "tools": []}\n')
    assert rows == [{"id": "x", "intent": "echo", "said": "hi", "rest": ["prompt", "tools"]}]
    assert (complaints, tally.rows, tally.bad, tally.bytes) == ([], 1, 0, 41)


@pytest.mark.parametrize("id", [0, 17, "", None, [1], {"a": 1}])
def test_any_id_comes_back_unchanged(id: object) -> None:
    assert run(json.dumps({"id": id, "prompt": "p"}).encode())[0][0]["id"] == id


def test_without_an_id_the_number_of_the_line_stands_in_and_blank_lines_count() -> None:
    rows, _, tally = run(b'\n{"prompt": "a"}\n   \n{"prompt": "b"}')
    assert [row["id"] for row in rows] == [2, 4]
    assert tally.rows == 2


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{", "line 2: not JSON: Input data was truncated"),
        (b"[]", "line 2: expected an object with `prompt` or `messages`"),
        (b'"x"', "line 2: expected an object with `prompt` or `messages`"),
        (b"{}", "line 2: `prompt` or `messages` is missing"),
        (b'{"prompt": "\xff"}', "line 2: not JSON: "),
        (b'{"prompt": ' + b"[" * 5000 + b"]" * 5000 + b"}", "line 2: nested too deep"),
    ],
    ids=["cut off", "a list", "a string", "without a prompt", "not UTF-8", "too deep"],
)
def test_a_bad_row_is_complained_of_and_the_others_go_on(line: bytes, complaint: str) -> None:
    rows, complaints, tally = run(b'{"prompt": "a"}\n' + line + b'\n{"prompt": "b"}\n')
    assert [row["said"] for row in rows] == ["a", "b"]
    assert len(complaints) == 1 and complaints[0].startswith(complaint)
    assert (tally.rows, tally.bad) == (3, 1)


def test_rows_are_written_as_they_are_read() -> None:
    events: list[str] = []

    def lines() -> Any:
        for name in "ab":
            events.append(f"read {name}")
            yield json.dumps({"prompt": name}).encode()

    explain_rows(
        lines(), explain, lambda line: events.append(f"wrote {json.loads(line)['said']}"), events.append
    )
    assert events == ["read a", "wrote a", "read b", "wrote b"]


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("tally", "seconds", "total", "line"),
    [
        (Tally(rows=50, bytes=250), 2.0, 1000, "[======                  ]  25%  50 rows, 25/s, 0:06 left"),
        (Tally(rows=5000, bytes=1000), 100.0, 1000, "[" + "=" * 24 + "] 100%  5,000 rows, 50/s, 0:00 left"),
        (Tally(rows=1, bytes=1), 2.0, 1000, "[" + " " * 24 + "]   0%  1 rows, 0/s, 33:18 left"),
        (Tally(rows=50, bytes=250), 2.0, None, "50 rows, 25/s"),
    ],
)
def test_a_bar_says_how_far_it_is(tally: Tally, seconds: float, total: int | None, line: str) -> None:
    screen, clock = io.StringIO(), Clock()
    bar = Bar(screen, total, clock)
    clock.now += seconds
    bar(tally)
    assert screen.getvalue() == f"\r{line}\x1b[K"


def test_a_bar_is_drawn_ten_times_a_second_at_most_and_taken_away() -> None:
    screen, clock = io.StringIO(), Clock()
    bar = Bar(screen, None, clock)
    for _ in range(100):
        clock.now += 0.01
        bar(Tally(rows=1))
    assert 9 <= screen.getvalue().count("rows") <= 10
    bar.clear()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_a_bar_says_what_it_counts() -> None:
    screen, clock = io.StringIO(), Clock()
    bar = Bar(screen, 4, clock, "resamples")
    clock.now += 2.0
    bar(Tally(rows=2, bytes=2))
    assert "2 resamples, 1/s" in screen.getvalue()
