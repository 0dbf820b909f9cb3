"""A decision as a sheet of text."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.commands.columns import table
from proxy.commands.sheet import EIGHTHS, HASHES, bar, sheet

DECISION: dict[str, Any] = {
    "intents": {"code": 0.75, "writing": 0.25},
    "difficulty": 0.4,
    "effort": {"level": "high", "why": "a hard ask", "models": {"b/small": "medium"}},
    "evidence": ["code:function", "code:python", "writing:write"],
    "step": "score",
    "profile": "cheap",
    "plan": ["a/large", "b/small"],
    "origins": {"a/large": "the choice", "b/small": "ranking"},
    "scores": {
        "a/large": {"quality": 0.9, "cost": 0.25, "total": 2.0},
        "b/small": {"quality": 0.5, "cost": 0.0, "total": 1.0},
    },
    "weights": {"quality": 1.5, "cost": 3.0},
    "steering": {"allowed": ["a/large", "b/small"], "tradeoff": 7},
    "filtered": {"c/blind": "does not support vision"},
    "features": {
        "prompt_tokens": 1234,
        "completion_tokens": 50,
        "expected_tokens": 40,
        "needs": ["tools", "vision"],
        "turns": 3,
        "code_share": 0.25,
        "language": "de",
        "tool_loop": False,
        "background": None,
    },
    "rungs": [
        {"step": "cache", "answer": "passed: nothing is remembered here", "took_us": 0.8},
        {"step": "scoring", "answer": "a/large (score)", "took_us": 37.8},
    ],
}

SHEET = """\
about 1,234 tokens, an answer of about 40, at most 50, language de, 3 turns, code 25%, \
needs tools, vision, allowed a/large b/small, tradeoff 7

Intents
  code        0.75  ######################
  writing     0.25  ########
  difficulty  0.40
  effort      high: a hard ask

What spoke for and against
  code     function, python
  writing  write

Ladder
  cache     1 us  passed: nothing is remembered here
  scoring  38 us  a/large (score)

Scores
  model            quality   cost  total  behind
  weights (cheap)    x 1.5    x 3
  a/large            0.900  0.250  2.000   0.000  ##############################
  b/small            0.500  0.000  1.000   1.000  ###############

Left out
  c/blind: does not support vision

Plan, by score
  1.  a/large  the choice
  2.  b/small  ranking     effort medium"""


def test_all_of_a_decision_is_on_the_sheet() -> None:
    assert sheet(DECISION, 100, HASHES) == SHEET


@pytest.mark.parametrize("width", [0, 40, 60, 79, 80, 200])
def test_it_keeps_to_the_width(width: int) -> None:
    evidence = {"evidence": [f"code:pattern-{n}" for n in range(60)]}
    lines = sheet({**DECISION, **evidence}, width).splitlines()[1:]
    widest_of_the_tables = len("  cache     1 us  passed: nothing is remembered here")
    assert max(map(len, lines)) <= max(width, widest_of_the_tables)


def test_a_model_that_was_named_has_neither_intents_nor_scores() -> None:
    bare: dict[str, Any] = {"intents": {}, "evidence": [], "scores": {}, "rungs": [], "filtered": {}}
    bare |= {"steering": {}, "effort": None}
    features = {**DECISION["features"], "language": "und", "turns": 1, "needs": [], "code_share": 0.0}
    features["expected_tokens"] = 0
    found = sheet({**DECISION, **bare, "features": features, "step": "explicit", "difficulty": None})
    assert found == (
        "about 1,234 tokens, an answer of at most 50\n\n"
        "Plan, by the caller\n  1.  a/large  the choice\n  2.  b/small  ranking"
    )


def test_totals_below_zero_have_bars_from_the_least() -> None:
    scores = {name: {"quality": 0.1, "total": total} for name, total in (("a", 1.0), ("b", 0.0), ("c", -1.0))}
    drawn = [
        line for line in sheet({**DECISION, "scores": scores}, 100, HASHES).splitlines() if "0.100" in line
    ]
    assert [line.count("#") for line in drawn] == [30, 15, 0]


@pytest.mark.parametrize(
    ("share", "marks", "expected"),
    [
        (0.0, EIGHTHS, ""),
        (1.0, EIGHTHS, "████"),
        (0.5, EIGHTHS, "██"),
        (0.28, EIGHTHS, "█▏"),
        (2.0, EIGHTHS, "████"),
        (-1.0, EIGHTHS, ""),
        (0.6, HASHES, "##"),
    ],
)
def test_a_bar(share: float, marks: str, expected: str) -> None:
    assert bar(share, 4, marks) == expected


def test_a_table_has_columns() -> None:
    assert table([("a", "1"), ("long", "22")], (False, True)) == ["a      1", "long  22"]
