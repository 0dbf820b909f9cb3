"""What is known of a model whatever the request: priors, what was seen, what that moved."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from proxy.routing.standing import (
    EVIDENCE_HALF,
    FIRST,
    PATIENCE,
    TYPICAL_COMPLETION,
    UNPRICED,
    Stand,
    candidates,
    standing,
)
from proxy.types import Model, Need, Price, Priors


@dataclass
class Seen:
    success: float = 1.0
    ttft: float | None = None
    speed: float | None = None
    evidence: float = 1e9


MODEL = Model("m", "p", "u", weights=Priors(quality=0.8, latency=0.9))


def stand(seen: Seen | None, moved: Stand | None = None) -> Stand:
    shifts = {"m": moved} if moved is not None else None
    return standing(candidates([MODEL]), lambda _: seen, shifts)["m"]


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
    assert stand(seen).latency == pytest.approx(expected, abs=1e-6)


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
    assert stand(seen).success == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(None, FIRST, id="nothing seen leaves what is usual"),
        pytest.param(Seen(ttft=2.0, speed=100.0), 0.4, id="much evidence replaces it"),
        pytest.param(Seen(ttft=2.0), 1.0, id="one that was never seen writing says all at once"),
        pytest.param(Seen(ttft=0.0), FIRST, id="no time at all has no parts"),
    ],
)
def test_the_first_tokens_part_is_what_was_seen(seen: Seen | None, expected: float) -> None:
    assert stand(seen).first == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        pytest.param(Stand(-0.2, -0.1, 0.1), Stand(0.7, 0.9, 0.9), id="each by its own"),
        pytest.param(Stand(-1.0, 0.3, 0.3), Stand(0.0, 1.0, 1.0), id="within 0 and 1"),
    ],
)
def test_lasting_evidence_moves_all_of_it(moved: Stand, expected: Stand) -> None:
    assert stand(None, moved) == pytest.approx(expected)


def test_a_model_that_lacks_what_an_intent_needs_has_no_fitness_for_it() -> None:
    needs = {"drawing": (Need.VISION,)}
    models = (
        Model("blind", "p", "u", {"drawing": 1.0}),
        Model("seeing", "p", "u", {"drawing": 0.3}, supports=frozenset({Need.VISION})),
    )
    blind, seeing = candidates(models, needs)
    assert (blind.fitness["drawing"], seeing.fitness["drawing"]) == (0.0, 0.3)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param([1.0, 2.0, 50.0], 2.0, id="counts as the median of the known"),
        pytest.param([0.0], 0.0, id="is free only where everything is"),
        pytest.param([], UNPRICED, id="is anybody's where none is known"),
    ],
)
def test_an_unknown_price(known: list[float], expected: float) -> None:
    priced = [Model(f"m{n}", "p", "u", price=Price(price, price)) for n, price in enumerate(known)]
    *_, unpriced = candidates([*priced, MODEL])
    assert (unpriced.price_in, unpriced.price_out) == (expected, expected)
