"""Who serves a request best, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.routing.policy import PROFILES, Weights
from proxy.routing.scoring import (
    COST_HALF,
    EVIDENCE_HALF,
    PATIENCE,
    TERMS,
    TYPICAL_COMPLETION,
    UNSAID,
    Scorer,
    candidates,
    explain,
    rank,
    standing,
)
from proxy.types import Classification, Features, Model, Need, Price, Priors


@dataclass
class Seen:
    success: float = 1.0
    ttft: float | None = None
    speed: float | None = None
    evidence: float = 1e9


def model(id: str = "m", *, quality: float = 0.5, latency: float = 0.5, price: Price | None = None,
          supports: frozenset[Need] = frozenset(), **capabilities: float) -> Model:  # fmt: skip
    return Model(id=id, provider="p", upstream_model=id, capabilities=capabilities or {"code": 1.0},
                 weights=Priors(quality, latency), price=price, supports=supports)  # fmt: skip


def classified(*intents: tuple[str, float], difficulty: float = 0.5) -> Classification:
    return Classification(intents or (("code", 1.0),), difficulty)


def term(
    name: str,
    wanted: Model,
    classification: Classification | None = None,
    features: Features = Features("ask", prompt_tokens=300),  # noqa: B008
    seen: Seen | None = None,
    others: tuple[Model, ...] = (),
) -> float:
    return terms((wanted, *others), features, classification or classified(), seen)[wanted.id][name]


def terms(
    models: Iterable[Model], features: Features, classification: Classification, seen: Seen | None = None
) -> dict[str, dict[str, float]]:
    pool = candidates(models)
    scored = explain(pool, features, classification, Weights(), standing(pool, lambda _: seen))
    return {one.model: one.terms for one in scored}


def order(
    models: list[Model], weights: Weights, classification: Classification | None = None, **seen: Seen
) -> list[str]:
    pool = candidates(models)
    ranking = rank(
        pool,
        Features("ask", prompt_tokens=300),
        classification or classified(),
        weights,
        standing(pool, seen.get),
    )
    return list(ranking)


# --- capability ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capabilities", "intents", "expected"),
    [
        pytest.param({"code": 0.8}, [("code", 1.0)], 0.8, id="one sure intent gives the registry's fitness"),
        pytest.param({"code": 0.8}, [("code", 0.2)], 0.8, id="confidences are relative to each other"),
        pytest.param(
            {"code": 0.8, "math": 0.4}, [("code", 0.6), ("math", 0.2)], 0.7, id="several are averaged"
        ),
        pytest.param(
            {"e": 1.0}, [(name, 0.2) for name in "abcde"], 0.0, id="the fifth of many is no more than doubt"
        ),
        pytest.param({"code": 0.8}, [("math", 1.0)], 0.0, id="an intent that isn't listed has no fitness"),
        pytest.param({"code": 0.8}, [("code", 0.0)], 0.0, id="no confidence at all is no capability"),
    ],
)
def test_capability_is_fitness_weighted_by_confidence(
    capabilities: dict[str, float], intents: list[tuple[str, float]], expected: float
) -> None:
    assert term("capability", model(**capabilities), classified(*intents)) == pytest.approx(expected)


def test_a_model_that_names_no_intent_is_neither_good_nor_bad_at_any() -> None:
    silent = Model(id="m", provider="p", upstream_model="m")
    assert term("capability", silent, classified(("math", 1.0))) == UNSAID


def test_a_model_that_lacks_what_an_intent_needs_has_no_fitness_for_it() -> None:
    blind, seeing = (
        model("blind", drawing=1.0),
        model("seeing", drawing=0.3, supports=frozenset({Need.VISION})),
    )
    pool = candidates((blind, seeing), {"drawing": (Need.VISION,)})
    asked = (Features("ask"), classified(("drawing", 1.0)), Weights(), standing(pool, lambda _: None))
    fitness = {scored.model: scored.terms["capability"] for scored in explain(pool, *asked)}
    assert fitness == {"blind": 0.0, "seeing": 0.3}


# --- quality, latency, success, cost -------------------------------------------------------------


@pytest.mark.parametrize(
    ("quality", "difficulty", "expected"),
    [
        pytest.param(0.3, 0.0, 1.0, id="anybody gets an easy ask right"),
        pytest.param(0.3, 1.0, 0.3, id="a hard ask shows the registry's quality"),
        pytest.param(1.0, 1.0, 1.0, id="the best gets all right"),
        pytest.param(0.5, 0.5, 0.75, id="between the two it falls evenly"),
    ],
)
def test_quality_falls_with_difficulty(quality: float, difficulty: float, expected: float) -> None:
    found = term("quality", model(quality=quality), classified(difficulty=difficulty))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(None, 0.9, id="nothing seen leaves the prior"),
        pytest.param(Seen(ttft=9.0, evidence=0.0), 0.9, id="no evidence leaves the prior"),
        pytest.param(Seen(ttft=None), 0.9, id="attempts without a first token say nothing of latency"),
        pytest.param(Seen(ttft=PATIENCE), 0.5, id="much evidence replaces it"),
        pytest.param(Seen(ttft=PATIENCE, evidence=EVIDENCE_HALF), 0.7, id="some evidence goes half way"),
        pytest.param(
            Seen(ttft=1.0, speed=TYPICAL_COMPLETION / (PATIENCE - 1.0)), 0.5, id="writing takes its time, too"
        ),
        pytest.param(Seen(ttft=PATIENCE, speed=0.0), 0.5, id="a speed of nought is no speed"),
        pytest.param(Seen(success=0.0, ttft=30.0), PATIENCE / 33.0, id="a fast failure never looks fast"),
    ],
)
def test_latency_is_the_prior_until_it_was_seen(seen: Seen | None, expected: float) -> None:
    assert term("latency", model(latency=0.9), seen=seen) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(None, 1.0, id="nothing seen is trusted"),
        pytest.param(Seen(success=0.4), 0.4, id="much evidence is believed"),
        pytest.param(Seen(success=0.4, evidence=EVIDENCE_HALF), 0.7, id="some evidence goes half way"),
        pytest.param(Seen(success=0.0, evidence=1.0), 10 / 11, id="one failure is no verdict"),
    ],
)
def test_success_is_what_was_seen(seen: Seen | None, expected: float) -> None:
    assert term("success", model(), seen=seen) == pytest.approx(expected, abs=1e-6)


CHEAP, DEAR = Price(0.0, 0.0), Price(6.0, 12.0)


@pytest.mark.parametrize(
    ("price", "features", "blended"),
    [
        pytest.param(CHEAP, Features("ask", prompt_tokens=300), 0.0, id="a free model costs nothing"),
        pytest.param(DEAR, Features("ask", prompt_tokens=300), 9.0, id="a typical answer is expected"),
        pytest.param(DEAR, Features("ask", prompt_tokens=0), 12.0, id="without a prompt the answer is all"),
        pytest.param(
            DEAR, Features("ask", prompt_tokens=100, completion_tokens=100), 9.0, id="a low limit counts"
        ),
        pytest.param(
            DEAR, Features("ask", prompt_tokens=300, completion_tokens=64_000), 9.0,
            id="a high limit is no expectation",
        ),
        pytest.param(DEAR, Features("ask", prompt_tokens=10**9), 6.0, id="a huge prompt is what is paid for"),
    ],
)  # fmt: skip
def test_cost_blends_the_prices_of_prompt_and_answer(
    price: Price, features: Features, blended: float
) -> None:
    expected = blended / (blended + COST_HALF)
    assert term("cost", model(price=price), features=features) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param([1.0, 2.0, 50.0], 2.0, id="counts as the median of the known"),
        pytest.param([], COST_HALF, id="is in the middle when none is known"),
        pytest.param([0.0], 0.0, id="is free only where everything is"),
    ],
)
def test_an_unknown_price(known: list[float], expected: float) -> None:
    others = tuple(model(f"m{n}", price=Price(price, price)) for n, price in enumerate(known))
    assert term("cost", model(), others=others) == pytest.approx(expected / (expected + COST_HALF))


# --- ranking -------------------------------------------------------------------------------------


def test_equal_totals_keep_the_registrys_order() -> None:
    names = ["d", "a", "c", "b"]
    assert order([model(name) for name in names], Weights()) == names


def test_an_empty_pool_has_an_empty_ranking() -> None:
    assert order([], Weights()) == []


ORDINARY = [
    Model(
        "small", "p", "s", {"chat": 0.8, "code": 0.45}, weights=Priors(0.45, 0.98), price=Price(0.05, 0.08)
    ),
    Model(
        "medium", "p", "m", {"chat": 0.9, "code": 0.7}, weights=Priors(0.72, 0.90), price=Price(0.59, 0.79)
    ),
    Model("large", "p", "l", {"chat": 0.95, "code": 0.92}, weights=Priors(0.92, 0.6), price=Price(3, 15)),
    Model("huge", "p", "h", {"chat": 0.95, "code": 0.97}, weights=Priors(0.98, 0.35), price=Price(15, 75)),
]
EASY = classified(("chat", 1.0), difficulty=0.1)
HARD = classified(("code", 1.0), difficulty=0.9)


@pytest.mark.parametrize(
    ("profile", "ask", "expected"),
    [
        pytest.param("cheap", EASY, "small", id="cheap takes the cheapest for an easy ask"),
        pytest.param("cheap", HARD, "small", id="and for a hard one"),
        pytest.param("fast", EASY, "small", id="fast takes the fastest"),
        pytest.param("best", HARD, "huge", id="best takes the best for a hard ask"),
        pytest.param("balanced", EASY, "medium", id="balanced has no large model chat"),
        pytest.param("balanced", HARD, "large", id="balanced pays for a hard ask, within reason"),
    ],
)
def test_profiles_differ(profile: str, ask: Classification, expected: str) -> None:
    assert order(ORDINARY, PROFILES[profile], ask)[0] == expected


def test_fast_believes_what_it_sees_more_than_the_registry() -> None:
    slow, quick = Seen(ttft=20.0, speed=10.0), Seen(ttft=0.2, speed=200.0)
    assert order(ORDINARY, PROFILES["fast"], EASY, small=slow, medium=quick)[0] == "medium"


def test_a_model_that_mostly_fails_loses_its_place() -> None:
    assert order(ORDINARY, PROFILES["balanced"], EASY, medium=Seen(success=0.2, ttft=20.0))[0] != "medium"


def test_explain_gives_the_ranking_with_its_terms() -> None:
    pool = candidates(ORDINARY)
    arguments = (pool, Features("ask", prompt_tokens=50), HARD, Weights(), standing(pool, lambda _: None))
    scored = explain(*arguments)
    assert [(s.model, s.total) for s in scored] == list(rank(*arguments).items())
    assert all(tuple(s.terms) == TERMS for s in scored)


def test_a_scorer_ranks_one_request_after_another_as_if_each_were_the_first() -> None:
    pool = candidates(ORDINARY)
    seen = standing(pool, lambda _: None)
    scorer = Scorer(pool, PROFILES["balanced"], seen)
    short, long = Features("ask", prompt_tokens=9), Features("ask", prompt_tokens=90_000)
    for features, ask in [(short, EASY), (long, HARD), (short, HARD), (short, EASY)]:
        ranking = scorer.rank(features, ask)
        assert ranking == rank(pool, features, ask, PROFILES["balanced"], seen)
        assert list(ranking.values()) == sorted(ranking.values(), reverse=True)


def test_every_term_has_a_weight_of_its_name() -> None:
    assert set(TERMS) == set(Weights.__struct_fields__)


SHARES = st.floats(0.0, 1.0)
PRICES = st.none() | st.builds(Price, st.floats(0.0, 500.0), st.floats(0.0, 500.0))
SEEN = st.none() | st.builds(
    Seen, SHARES, st.none() | st.floats(0.0, 600.0), st.none() | st.floats(0.0, 1e4), st.floats(0.0, 1e6)
)
WEIGHTS = st.builds(Weights, *[st.floats(0.0, 10.0)] * 5)


@given(quality=SHARES, latency=SHARES, price=PRICES, fitness=SHARES, difficulty=SHARES, seen=SEEN,
       prompt=st.integers(0, 10**7), completion=st.integers(0, 10**9))  # fmt: skip
def test_every_term_is_within_0_and_1(
    quality: float, latency: float, price: Price | None, fitness: float, difficulty: float,
    seen: Seen | None, prompt: int, completion: int,
) -> None:  # fmt: skip
    features = Features("ask", prompt_tokens=prompt, completion_tokens=completion)
    wanted = model(quality=quality, latency=latency, price=price, code=fitness)
    (found,) = terms([wanted], features, classified(difficulty=difficulty), seen).values()
    assert all(-1e-9 <= value <= 1.0 + 1e-9 for value in found.values())


@given(weights=WEIGHTS, difficulty=SHARES, confidence=SHARES, price=PRICES, seen=SEEN,
       prompt=st.integers(0, 10**6))  # fmt: skip
def test_a_total_is_the_weighted_sum_of_its_terms(
    weights: Weights, difficulty: float, confidence: float, price: Price | None, seen: Seen | None,
    prompt: int,
) -> None:  # fmt: skip
    pool = candidates([*ORDINARY, model("priced", price=price)])
    ask = classified(("code", confidence), ("chat", 1.0 - confidence), difficulty=difficulty)
    features = Features("ask", prompt_tokens=prompt)
    for one in explain(pool, features, ask, weights, standing(pool, lambda _: seen)):
        parts = {term: value * getattr(weights, term) for term, value in one.terms.items()}
        assert one.total == pytest.approx(sum(parts.values()) - 2 * parts["cost"], abs=1e-9)


@given(weights=WEIGHTS, low=SHARES, high=SHARES, which=st.sampled_from(["quality", "latency", "code"]))
def test_the_total_never_falls_when_a_good_term_rises(
    weights: Weights, low: float, high: float, which: str
) -> None:
    low, high = sorted((low, high))
    totals = dict(ranked(weights, model("low", **{which: low}), model("high", **{which: high})))
    assert totals["high"] >= totals["low"] - 1e-9


@given(weights=WEIGHTS, low=st.floats(0.0, 100.0), high=st.floats(0.0, 100.0))
def test_the_total_never_rises_with_the_price(weights: Weights, low: float, high: float) -> None:
    low, high = sorted((low, high))
    totals = dict(
        ranked(weights, model("low", price=Price(low, low)), model("high", price=Price(high, high)))
    )
    assert totals["high"] <= totals["low"] + 1e-9


@given(weights=WEIGHTS, low=SHARES, high=SHARES)
def test_the_total_never_falls_with_success(weights: Weights, low: float, high: float) -> None:
    low, high = sorted((low, high))
    seen = {"low": Seen(success=low), "high": Seen(success=high)}
    totals = dict(ranked(weights, model("low"), model("high"), seen=seen))
    assert totals["high"] >= totals["low"] - 1e-9


def ranked(
    weights: Weights, *models: Model, seen: dict[str, Seen] | None = None
) -> tuple[tuple[str, float], ...]:
    pool = candidates(models)
    found = standing(pool, (seen or {}).get)
    return rank(pool, Features("ask", prompt_tokens=100), classified(), weights, found)


@given(weights=WEIGHTS, seen=SEEN)
def test_the_total_is_the_weighted_sum_of_the_terms(weights: Weights, seen: Seen | None) -> None:
    pool = candidates(ORDINARY)
    for scored in explain(
        pool, Features("ask", prompt_tokens=9), HARD, weights, standing(pool, lambda _: seen)
    ):
        signs = {name: -1.0 if name == "cost" else 1.0 for name in TERMS}
        total = sum(signs[name] * getattr(weights, name) * value for name, value in scored.terms.items())
        assert scored.total == pytest.approx(total)


def test_the_order_of_the_registry_decides_nothing_but_ties() -> None:
    shuffled = [replace(m) for m in reversed(ORDINARY)]
    assert order(shuffled, Weights(), HARD) == order(ORDINARY, Weights(), HARD)
