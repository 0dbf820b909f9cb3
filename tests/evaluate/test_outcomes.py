"""Graded outcomes' models, told by quality and price, and what is chosen among them."""

from __future__ import annotations

import pytest

from proxy.evaluate.field import gather
from proxy.evaluate.rows import Graded
from proxy.routing.features import extract
from proxy.routing.policy import Weights
from proxy.types import ChatRequest, Classification
from tests.evaluate.outcomes import choices, lead, read, told

PROMPTS = ["Hello " * number for number in range(1, 21)]
ASKS = [extract(ChatRequest(b"", {}, "auto", [{"role": "user", "content": prompt}])) for prompt in PROMPTS]
ROWS = [
    Graded(
        q={"small": float(number % 2), "large": 1.0},
        cost={"small": 1e-6 * (200 + ask.prompt_tokens), "large": 9e-6 * (200 + ask.prompt_tokens)},
        body={"prompt": prompt},
    )
    for number, (prompt, ask) in enumerate(zip(PROMPTS, ASKS, strict=True))
]
FIELD = gather(ROWS, {})


def test_rows_are_read_as_requests() -> None:
    assert [read(row) for row in ROWS] == ASKS


def test_models_are_told_by_their_mean_quality_and_by_what_a_token_costs() -> None:
    small, large = told(ROWS, ASKS)
    assert (small.weights.quality, large.weights.quality) == (0.5, 1.0)
    assert small.price is not None and large.price is not None
    assert (small.price.input, large.price.output) == pytest.approx((1.0, 9.0))


def test_who_knows_the_hard_ones_leads_over_chance() -> None:
    hard = [Classification((("code", 1.0),), 0.9 - 0.88 * one.q["small"]) for one in ROWS]
    made = choices(told(ROWS, ASKS), ASKS, hard, Weights(quality=0.3), {})
    assert made == ["small" if one.q["small"] else "large" for one in ROWS]
    assert lead(FIELD, made, range(20)) == pytest.approx(0.25, abs=0.02)


def test_who_always_chooses_the_same_has_no_lead() -> None:
    assert lead(FIELD, ["large"] * 20, range(20)) == pytest.approx(0.0)
