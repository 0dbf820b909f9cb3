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
    FORTUNE,
    TERMS,
    TRIFLE,
    Lengths,
    Scorer,
    expected,
    explain,
    felt,
    rank,
)
from proxy.routing.standing import PATIENCE, TYPICAL_COMPLETION, Stand, candidates, standing
from proxy.types import Classification, Features, Model, Need, Price, Priors

NO_LENGTHS: Lengths = {}


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
    models: Iterable[Model],
    features: Features,
    classification: Classification,
    seen: Seen | None = None,
    lengths: Lengths = NO_LENGTHS,
) -> dict[str, dict[str, float]]:
    pool = candidates(models)
    scored = explain(pool, features, classification, Weights(), standing(pool, lambda _: seen), lengths)
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
        NO_LENGTHS,
    )
    return list(ranking)


# --- quality -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quality", "fitness", "difficulty", "expected"),
    [
        pytest.param(0.8, 0.8, 0.5, 0.8, id="the registry's numbers hold at a difficulty of a half"),
        pytest.param(0.8, 0.8, 0.1, 36 / 37, id="nearly all easy asks are answered well"),
        pytest.param(0.8, 0.8, 0.9, 4 / 13, id="and few very hard ones"),
        pytest.param(0.5, 0.5, 0.3, 0.7, id="the small model fails with the chance that difficulty names"),
        pytest.param(0.9, 0.5, 0.5, 0.75, id="ability is half way between quality and fitness, in log-odds"),
        pytest.param(0.5, 0.9, 0.5, 0.75, id="whichever of them is which"),
        pytest.param(1.0, 1.0, 0.5, 0.99, id="nobody is sure to do well"),
        pytest.param(0.0, 0.0, 0.5, 0.01, id="nobody is sure to fail"),
        pytest.param(0.5, 0.5, 0.0, 0.98, id="no ask is sure to be easy"),
        pytest.param(0.5, 0.5, 1.0, 0.02, id="nor impossible"),
    ],
)
def test_the_chance_of_a_good_answer(
    quality: float, fitness: float, difficulty: float, expected: float
) -> None:
    found = term("quality", model(quality=quality, code=fitness), classified(difficulty=difficulty))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("capabilities", "intents", "expected"),
    [
        pytest.param({"code": 0.8}, [("code", 1.0)], 2 / 3, id="one sure intent"),
        pytest.param({"code": 0.8}, [("code", 0.2)], 2 / 3, id="confidences are relative to each other"),
        pytest.param(
            {"code": 0.8, "math": 0.5}, [("code", 0.6), ("math", 0.2)], 0.625, id="several are averaged"
        ),
        pytest.param(
            {**dict.fromkeys("abcd", 0.8), "e": 0.1}, [(name, 0.2) for name in "abcde"], 2 / 3,
            id="the fifth of many is no more than doubt",
        ),
        pytest.param(
            {"code": 0.8}, [("math", 1.0)], 1 / (1 + 99**0.5), id="an intent that isn't listed has no fitness"
        ),
        pytest.param({"code": 0.8}, [("code", 0.0)], 0.0, id="no confidence at all is no chance"),
    ],
)  # fmt: skip
def test_the_chance_is_averaged_over_the_intents(
    capabilities: dict[str, float], intents: list[tuple[str, float]], expected: float
) -> None:
    assert term("quality", model(**capabilities), classified(*intents)) == pytest.approx(expected)


def test_a_model_that_names_no_intent_is_as_good_at_all_as_its_quality_says() -> None:
    silent = Model(id="m", provider="p", upstream_model="m", weights=Priors(quality=0.8))
    assert term("quality", silent, classified(("math", 1.0))) == pytest.approx(0.8)


SMALL, LARGE = model("small", quality=0.5, code=0.5), model("large", quality=0.95, code=0.95)


def test_easy_asks_are_answered_well_by_all_and_hard_ones_part_them() -> None:
    found = []
    for difficulty in (0.02, 0.1, 0.3, 0.5, 0.7):
        told = terms((SMALL, LARGE), Features("ask"), classified(difficulty=difficulty))
        found.append(told["large"]["quality"] - told["small"]["quality"])
    assert found == sorted(found)
    assert found[0] < 0.02 < 0.5 < found[-1]


# --- latency, success, cost ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "seconds"),
    [
        pytest.param(TYPICAL_COMPLETION, 4.0, id="a typical answer takes what the term says"),
        pytest.param(2 * TYPICAL_COMPLETION, 7.0, id="one twice as long the writing twice"),
        pytest.param(0, 1.0, id="one of nothing the time to the first token"),
    ],
)
def test_long_answers_take_longer(tokens: int, seconds: float) -> None:
    wanted = model(latency=PATIENCE / (PATIENCE + 4.0))
    told = terms([wanted], Features("ask"), classified(), lengths={"code": tokens})
    assert told["m"]["latency"] == pytest.approx(PATIENCE / (PATIENCE + seconds))


def test_even_an_answer_of_nothing_by_a_model_that_never_ends_is_scored() -> None:
    never = {"m": Stand(latency=0.0, success=1.0, quality=0.5, first=0.0)}
    (told,) = explain(candidates([model()]), Features("ask"), classified(), Weights(), never, {"code": 0})
    assert all(0.0 <= value <= 1.0 for value in told.terms.values())


@pytest.mark.parametrize("tokens", [20, 300, 2_000])
def test_what_was_seen_tells_the_time_of_any_answer(tokens: int) -> None:
    seen = Seen(ttft=8.0, speed=100.0)
    told = terms([model()], Features("ask"), classified(), seen, {"code": tokens})
    assert told["m"]["latency"] == pytest.approx(PATIENCE / (PATIENCE + 8.0 + tokens / 100.0), abs=1e-6)


@pytest.mark.parametrize(
    ("intents", "limit", "tokens"),
    [
        pytest.param([("code", 1.0)], 0, 700, id="what the intent usually takes"),
        pytest.param([("code", 0.3), ("chat", 0.3)], 0, 400, id="by confidence"),
        pytest.param([("other", 1.0)], 0, TYPICAL_COMPLETION, id="a typical answer where nothing is said"),
        pytest.param([("code", 1.0)], 50, 50, id="no more than the caller's limit"),
        pytest.param([("chat", 1.0)], 64_000, 100, id="a high limit is no expectation"),
    ],
)
def test_the_answers_expected_length(intents: list[tuple[str, float]], limit: int, tokens: float) -> None:
    found = expected(
        Features("ask", completion_tokens=limit), classified(*intents), {"code": 700, "chat": 100}
    )
    assert found == pytest.approx(tokens)


FREE, DEAR = Price(0.0, 0.0), Price(5.0, 25.0)


@pytest.mark.parametrize(
    ("price", "features", "usd"),
    [
        pytest.param(FREE, Features("ask", prompt_tokens=300), 0.0, id="a free model costs nothing"),
        pytest.param(DEAR, Features("ask", prompt_tokens=300), 0.009, id="a typical answer is expected"),
        pytest.param(DEAR, Features("ask"), 0.0075, id="without a prompt the answer is all"),
        pytest.param(
            DEAR, Features("ask", prompt_tokens=100, completion_tokens=100), 0.003, id="a low limit counts"
        ),
        pytest.param(DEAR, Features("ask", prompt_tokens=100_000), 0.5075, id="a long prompt is dear"),
        pytest.param(DEAR, Features("ask", prompt_tokens=10**8), FORTUNE, id="beyond a fortune all is one"),
    ],
)
def test_cost_is_what_this_call_may_cost(price: Price, features: Features, usd: float) -> None:
    assert term("cost", model(price=price), features=features) == pytest.approx(felt(usd))


@pytest.mark.parametrize(
    ("usd", "expected"), [(0.0, 0.0), (0.0315, 0.5), (FORTUNE, 1.0), (1e6, 1.0)], ids="{:g} USD".format
)
def test_how_dear_a_call_is_felt(usd: float, expected: float) -> None:
    assert felt(usd) == pytest.approx(expected, abs=1e-3)


@given(low=st.floats(0.0, 1.0), times=st.floats(1.0, 100.0), more=st.floats(1.0, 1e4))
def test_the_longer_the_prompt_the_more_a_dearer_model_must_be_better(
    low: float, times: float, more: float
) -> None:
    high = min(low * times, FORTUNE / more)
    low = min(low, high)
    assert felt(high) - felt(low) <= felt(high * more) - felt(low * more) + 1e-9


def test_a_factor_is_felt_alike_above_a_trifle() -> None:
    one, other = felt(0.2) - felt(0.02), felt(2.0) - felt(0.2)
    assert one == pytest.approx(other, rel=0.02)
    assert felt(TRIFLE) - felt(TRIFLE / 10) < 0.3 * one


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
MIDDLING = classified(("code", 1.0), difficulty=0.3)
DEMANDING = classified(("code", 1.0), difficulty=0.6)
HARD = classified(("code", 1.0), difficulty=0.9)


@pytest.mark.parametrize(
    ("profile", "ask", "expected"),
    [
        pytest.param("cheap", EASY, "small", id="cheap takes the cheapest for an easy ask"),
        pytest.param("cheap", HARD, "small", id="and for a hard one"),
        pytest.param("fast", EASY, "small", id="fast takes the fastest"),
        pytest.param("best", HARD, "huge", id="best takes the best for a hard ask"),
        pytest.param("balanced", EASY, "small", id="balanced has no large model chat"),
        pytest.param("balanced", MIDDLING, "medium", id="and takes the middle in between"),
        pytest.param("best", EASY, "huge", id="best takes it whatever it costs"),
        pytest.param("balanced", DEMANDING, "large", id="balanced pays for a demanding ask, within reason"),
        pytest.param("balanced", HARD, "huge", id="and for a hard one what it takes"),
    ],
)
def test_profiles_differ(profile: str, ask: Classification, expected: str) -> None:
    assert order(ORDINARY, PROFILES[profile], ask)[0] == expected


def test_fast_believes_what_it_sees_more_than_the_registry() -> None:
    slow, quick = Seen(ttft=20.0, speed=10.0), Seen(ttft=0.2, speed=200.0)
    assert order(ORDINARY, PROFILES["fast"], EASY, small=slow, medium=quick)[0] == "medium"


def test_a_model_that_mostly_fails_loses_its_place() -> None:
    assert order(ORDINARY, PROFILES["balanced"], EASY, small=Seen(success=0.2, ttft=20.0))[0] == "medium"


def test_explain_gives_the_ranking_with_its_terms() -> None:
    pool = candidates(ORDINARY)
    seen = standing(pool, lambda _: None)
    arguments = (pool, Features("ask", prompt_tokens=50), HARD, Weights(), seen, NO_LENGTHS)
    scored = explain(*arguments)
    assert [(s.model, s.total) for s in scored] == list(rank(*arguments).items())
    assert all(tuple(s.terms) == TERMS for s in scored)


def test_a_scorer_ranks_one_request_after_another_as_if_each_were_the_first() -> None:
    pool = candidates(ORDINARY)
    seen = standing(pool, lambda _: None)
    lengths = {"chat": 100}
    scorer = Scorer(pool, PROFILES["balanced"], seen, lengths)
    short, long = Features("ask", prompt_tokens=9), Features("ask", prompt_tokens=90_000)
    for features, ask in [(short, EASY), (long, HARD), (short, HARD), (short, EASY)]:
        ranking = scorer.rank(features, ask)
        assert ranking == rank(pool, features, ask, PROFILES["balanced"], seen, lengths)
        assert list(ranking.values()) == sorted(ranking.values(), reverse=True)


def test_every_term_has_a_weight_of_its_name() -> None:
    assert set(TERMS) == set(Weights.__struct_fields__)


SHARES = st.floats(0.0, 1.0)
PRICES = st.none() | st.builds(Price, st.floats(0.0, 500.0), st.floats(0.0, 500.0))
SEEN = st.none() | st.builds(
    Seen, SHARES, st.none() | st.floats(0.0, 600.0), st.none() | st.floats(0.0, 1e4), st.floats(0.0, 1e6)
)
WEIGHTS = st.builds(Weights, *[st.floats(0.0, 10.0)] * 4)


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
    for one in explain(pool, features, ask, weights, standing(pool, lambda _: seen), NO_LENGTHS):
        parts = {term: value * getattr(weights, term) for term, value in one.terms.items()}
        assert one.total == pytest.approx(sum(parts.values()) - 2 * parts["cost"], abs=1e-9)


@given(weights=WEIGHTS, low=SHARES, high=SHARES, which=st.sampled_from(["quality", "latency", "code"]))
def test_the_total_never_falls_when_a_good_term_rises(
    weights: Weights, low: float, high: float, which: str
) -> None:
    low, high = sorted((low, high))
    totals = ranked(weights, model("low", **{which: low}), model("high", **{which: high}))
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
    totals = ranked(weights, model("low"), model("high"), seen=seen)
    assert totals["high"] >= totals["low"] - 1e-9


def ranked(weights: Weights, *models: Model, seen: dict[str, Seen] | None = None) -> dict[str, float]:
    pool = candidates(models)
    found = standing(pool, (seen or {}).get)
    return rank(pool, Features("ask", prompt_tokens=100), classified(), weights, found, NO_LENGTHS)


@given(weights=WEIGHTS, low=st.floats(0.0, 600.0), high=st.floats(0.0, 600.0))
def test_the_total_never_rises_with_the_time_to_the_first_token(
    weights: Weights, low: float, high: float
) -> None:
    low, high = sorted((low, high))
    seen = {"low": Seen(ttft=low, speed=50.0), "high": Seen(ttft=high, speed=50.0)}
    totals = ranked(weights, model("low"), model("high"), seen=seen)
    assert totals["high"] <= totals["low"] + 1e-9


@given(quality=SHARES, fitness=SHARES, low=SHARES, high=SHARES)
def test_the_chance_of_a_good_answer_never_rises_with_difficulty(
    quality: float, fitness: float, low: float, high: float
) -> None:
    easy, hard = sorted((low, high))
    wanted = model(quality=quality, code=fitness)
    chances = [term("quality", wanted, classified(difficulty=difficulty)) for difficulty in (easy, hard)]
    assert chances[1] <= chances[0]


def test_the_order_of_the_registry_decides_nothing_but_ties() -> None:
    shuffled = [replace(m) for m in reversed(ORDINARY)]
    assert order(shuffled, Weights(), HARD) == order(ORDINARY, Weights(), HARD)
