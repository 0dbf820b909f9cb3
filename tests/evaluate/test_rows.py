"""What a file of rows may say, and every problem of one that may not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from proxy.errors import ConfigError
from proxy.evaluate.rows import TOLD, graded, labelled

INTENTS = ("math", "casual_chat")
GOOD = {"prompt": "p", "q": {"a": 1, "b": 0.5}, "cost": {"a": 0.1, "b": 0}}


def lines(*rows: object) -> list[bytes]:
    return [msgspec.json.encode(row) for row in rows]


def test_a_label_and_a_request_are_told_apart() -> None:
    (row,) = labelled(
        lines({"id": 1, "prompt": "p", "tools": [], "gold_intent": "math", "lang": "en"}), "f", INTENTS
    )
    assert (row.gold_intent, row.lang, row.source) == ("math", "en", "?")
    assert row.body == {"prompt": "p", "tools": []}


def test_labels_of_public_sets_become_ours_only_where_they_are_none_of_ours() -> None:
    row = {"prompt": "p", "gold_intent": "chat", "also_ok": ["math", "chat"]}
    (found,) = labelled(lines(row), "f", INTENTS)
    assert (found.gold_intent, found.also_ok) == ("casual_chat", ("math", "casual_chat"))
    (found,) = labelled(lines(row), "f", ("chat", "math"))
    assert found.gold_intent == "chat"


def test_outcomes_keep_the_request_and_blank_lines_are_passed_over() -> None:
    (row,) = graded([b"\n", *lines(GOOD), b"  "], "f")
    assert (row.q, row.cost, row.body) == ({"a": 1.0, "b": 0.5}, {"a": 0.1, "b": 0.0}, {"prompt": "p"})


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({**GOOD, "prompt": 1}, "expected `prompt` (a string) or `messages` (a list)"),
        ({**GOOD, "q": {"a": 1.1, "b": 0}}, "Expected `float` <= 1.0 - at `$.q[...]`"),
        ({**GOOD, "cost": {"a": -1, "b": 0}}, "Expected `float` >= 0.0 - at `$.cost[...]`"),
        ({"prompt": "p", "q": {"a": 1, "b": 1}}, "Object missing required field `cost`"),
        ({**GOOD, "q": {"a": 1}}, "q: expected the models of the first row, 'b' differs"),
        (
            {**GOOD, "cost": {"a": 1, "b": 1, "c": 1}},
            "cost: expected the models of the first row, 'c' differs",
        ),
        ([], "Expected `object`, got `array`"),
    ],
    ids=[
        "no request",
        "quality above 1",
        "a cost below 0",
        "no cost",
        "a model less",
        "a model more",
        "a list",
    ],
)
def test_a_bad_outcome_is_named_by_file_line_and_reason(row: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        graded(lines(GOOD, row, GOOD), "some.jsonl")
    assert refused.value.problems == (f"some.jsonl: line 2: {problem}",)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([], "f: holds no row"),
        ([b"{"], "f: line 1: Input data was truncated"),
        (
            lines({"prompt": "p", "gold_intent": "poetry"}),
            "f: line 1: gold_intent: 'poetry' is none of casual_chat, math",
        ),
        (lines({"prompt": "p"}), "f: line 1: Object missing required field `gold_intent`"),
    ],
    ids=["an empty file", "no JSON", "a label that is no intent", "no label"],
)
def test_a_bad_label_is_named_likewise(data: list[bytes], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        labelled(data, "f", INTENTS)
    assert refused.value.problems == (problem,)


def test_of_many_bad_rows_the_first_are_named_and_the_others_counted() -> None:
    with pytest.raises(ConfigError) as refused:
        graded([b"{"] * (TOLD + 5), "f")
    assert refused.value.problems[-1] == "f: 5 more rows are bad" and len(refused.value.problems) == TOLD + 1
