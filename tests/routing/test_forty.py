"""Forty asks under the shipped configuration: cheap models win the easy ones, and lose the hard ones."""

from __future__ import annotations

from itertools import pairwise
from statistics import mean
from typing import Any

import pytest

from proxy import settings
from proxy.routers import explainer
from proxy.types import Model
from tests.bench.contenders import ROOT
from tests.routing.forty import KEYS, PROFILES, asks, table

EASY, HARD = 0.2, 0.5
"""Difficulty up to which an ask is easy, and from which it is hard."""
CONFIG = ROOT / "config"
LOADED = settings.load(CONFIG, KEYS)
MODELS = {model.id: model for model in LOADED.models}
LEVELS = [ask["level"] for ask in asks()]

Decided = dict[str, list[dict[str, Any]]]


def decisions(loaded: settings.Settings) -> Decided:
    """Every profile's."""
    decide = explainer(loaded)
    return {
        profile: [decide({"model": f"auto:{profile}", "prompt": ask["prompt"]}) for ask in asks()]
        for profile in PROFILES
    }


@pytest.fixture(scope="module")
def decided() -> Decided:
    return decisions(LOADED)


def chosen(decision: dict[str, Any]) -> Model:
    return MODELS[decision["selected_model"]]


def term(decision: dict[str, Any], name: str) -> float:
    value: float = decision["scores"][decision["selected_model"]][name]
    return value


def written(decision: dict[str, Any]) -> float:
    price = chosen(decision).price
    assert price is not None
    return price.output


def is_cheap(decision: dict[str, Any]) -> bool:
    """No more than a dollar per million tokens written."""
    return written(decision) <= 1.0


def is_strong(decision: dict[str, Any]) -> bool:
    return chosen(decision).weights.quality >= 0.9


def test_there_are_forty_of_every_intent_and_level(decided: Decided) -> None:
    assert len(LEVELS) == 40
    assert {decision["intent"] for decision in decided["balanced"]} == set(LOADED.intents.intents)
    assert all(LEVELS.count(level) >= 4 for level in (1, 2, 3, 4))
    languages = {decision["features"]["language"] for decision in decided["balanced"]}
    assert len(languages) >= 10


@pytest.mark.parametrize("profile", ["cheap", "balanced"])
def test_the_cheap_end_wins_the_easy_ones(decided: Decided, profile: str) -> None:
    easy = [decision for decision in decided[profile] if decision["difficulty"] <= EASY]
    assert len(easy) >= 12
    assert all(map(is_cheap, easy))


@pytest.mark.parametrize("profile", ["balanced", "best"])
def test_the_strong_end_wins_the_hard_ones(decided: Decided, profile: str) -> None:
    hard = [decision for decision in decided[profile] if decision["difficulty"] >= HARD]
    assert len(hard) >= 5
    assert all(map(is_strong, hard))


def test_what_people_find_harder_goes_to_better_and_dearer_models(decided: Decided) -> None:
    found = [
        [d for d, level in zip(decided["balanced"], LEVELS, strict=True) if level == wanted]
        for wanted in (1, 2, 3, 4)
    ]
    qualities = [mean(chosen(decision).weights.quality for decision in level) for level in found]
    prices = [mean(map(written, level)) for level in found]
    assert all(lower < higher for lower, higher in pairwise(qualities))
    assert prices[-1] > 5 * prices[0]


@pytest.mark.parametrize(
    ("name", "less", "more"),
    [
        pytest.param("cost", "cheap", "balanced", id="cheap never costs more than balanced"),
        pytest.param("cost", "balanced", "best", id="nor balanced more than the best"),
        pytest.param("latency", "balanced", "fast", id="fast is never slower than balanced"),
        pytest.param("quality", "balanced", "best", id="best is never worse than balanced"),
    ],
)
def test_profiles_keep_their_word(decided: Decided, name: str, less: str, more: str) -> None:
    for one, other in zip(decided[less], decided[more], strict=True):
        assert term(one, name) <= term(other, name) + 1e-9, one["features"]


@pytest.mark.parametrize("key", KEYS)
def test_one_provider_alone_is_made_the_most_of(key: str) -> None:
    found = decisions(settings.load(CONFIG, {key: KEYS[key]}))
    for cheap, balanced in zip(found["cheap"], found["balanced"], strict=True):
        assert term(cheap, "cost") <= term(balanced, "cost") + 1e-9, cheap["features"]
    easy, hard = (
        [chosen(decision).weights.quality for decision in found["balanced"] if wanted(decision["difficulty"])]
        for wanted in (lambda difficulty: difficulty <= EASY, lambda difficulty: difficulty >= HARD)
    )
    assert mean(easy) <= mean(hard) + 1e-9


def test_each_step_of_the_dial_leads_to_cheaper_and_lesser_models() -> None:
    decide = explainer(LOADED)
    prices, qualities = [], []
    for tradeoff in range(11):
        plugins = [{"id": "auto-router", "cost_quality_tradeoff": tradeoff}]
        found = [decide({"prompt": ask["prompt"], "plugins": plugins}) for ask in asks()]
        prices.append(mean(map(written, found)))
        qualities.append(mean(chosen(decision).weights.quality for decision in found))
    assert all(dearer > cheaper for dearer, cheaper in pairwise(prices))
    assert all(better >= worse for better, worse in pairwise(qualities))


def test_the_fast_one_is_no_fool(decided: Decided) -> None:
    hard = [decision for decision in decided["fast"] if decision["difficulty"] >= HARD]
    assert all(chosen(decision).weights.quality >= 0.7 for decision in hard)


def test_the_table_has_a_line_for_each(decided: Decided) -> None:
    lines = table(decided).splitlines()
    assert len(lines) == 42
    assert {line.count(" | ") for line in lines} == {7}
