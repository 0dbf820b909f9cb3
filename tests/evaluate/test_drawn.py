"""Calls whose models were left to chance tell what others would have made of them, where that is known.

The figures are those of seeded worlds: they can fail, and are the same each time.
"""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from proxy.evaluate.drawn import FAILED, Drawn, amiss, asks, fitted, guesser, judged, outcomes, rates, support
from proxy.evaluate.resample import mean
from proxy.evaluate.tune import Support, Trial, compare, halves, search
from tests.evaluate.world import EVEN, OLD, WRONG, World, total

WORLDS = 20


def chosen(call: Drawn, weights: dict[str, float]) -> str:
    return max(call.terms, key=lambda model: total(call.terms[model], weights))


def trial(world: World, number: int, seed: int) -> Trial:
    """As `kuro tune --calls` does it."""
    calls = world.calls(Random(seed), number)
    search_rows, judge_rows = halves(["?"] * len(calls), [call.conversation.encode() for call in calls], seed)
    seen, unseen = [calls[row] for row in search_rows], [calls[row] for row in judge_rows]
    found = search(asks(seen, fitted(seen)), OLD, OLD)
    choices = [chosen(call, found) for call in unseen]
    return compare(
        "balanced", len(seen), asks(unseen, guesser(seen)), (OLD, found, OLD), choices, 120,
        Random(f"{seed} resampled").random, units=[call.conversation for call in unseen],
        support=Support(*support(unseen, choices)),
    )  # fmt: skip


def gain(world: World, card: Trial) -> float:
    """The true one."""
    return world.value(card.new.weights, 200) - world.value(OLD, 200)


def test_the_interval_of_the_gain_holds_the_true_one() -> None:
    cards = [trial(WRONG, 1000, seed) for seed in range(WORLDS)]
    held = sum(
        card.gain.low <= gain(WRONG, card) <= card.gain.high
        for card in cards
        if card.gain.low is not None and card.gain.high is not None
    )
    assert held >= 0.9 * WORLDS


def test_wrong_weights_are_found_to_be() -> None:
    cards = [trial(WRONG, 4000, seed) for seed in range(4)]
    assert sum(card.better for card in cards) >= 2
    assert all(card.new.weights["cost"] > OLD["cost"] for card in cards)
    assert mean([gain(WRONG, card) for card in cards]) > 0.05, "what was found is truly better"


def test_where_no_weights_are_better_none_are_taken_for_it() -> None:
    cards = [trial(EVEN, 1000, seed) for seed in range(WORLDS)]
    assert sum(card.new.weights != OLD for card in cards) >= 0.5 * WORLDS, "the search takes luck for a gain"
    assert sum(card.better for card in cards) <= 0.05 * WORLDS


def test_what_is_told_of_every_model_is_right_on_average_whatever_is_guessed() -> None:
    calls = WRONG.calls(Random(1), 8000)
    for guess, off in ((guesser(calls[:2000]), 0.05), (lambda *_: (0.0, 0.0, 0.0), 0.1)):
        told = outcomes(calls[2000:], guess)
        for model, (easy, hard) in WRONG.truly.items():
            assert mean([one.quality[model] for one in told]) == pytest.approx((easy + hard) / 2, abs=off)


def test_a_good_guess_scatters_less() -> None:
    calls = WRONG.calls(Random(2), 4000)

    def spread(told: list[float]) -> float:
        return mean([(value - mean(told)) ** 2 for value in told])

    blind = [one.quality["small"] for one in outcomes(calls[2000:], lambda *_: (0.0, 0.0, 0.0))]
    sighted = [one.quality["small"] for one in outcomes(calls[2000:], guesser(calls[:2000]))]
    assert spread(sighted) < 0.5 * spread(blind)


def test_chances_that_are_not_what_they_say_are_noticed() -> None:
    for lies, said in (({}, ""), ({"small": 2.0}, "large was asked first ")):
        calls = replace(WRONG, lies=lies).calls(Random(3), 1000)
        told = amiss([(call.model, call.chances) for call in calls])
        assert told.startswith(said) and bool(told) is bool(said)


def test_answers_that_are_judged_more_often_count_no_more() -> None:
    """Callers judge the small model's answers three times as often: as if it had been drawn more often."""
    chance, world = Random(4), replace(WRONG, judges={"large": 0.3, "middle": 0.3, "small": 0.9})
    found = [world.call(chance, number) for number in range(12_000)]
    often = rates((model, call is not None) for model, call in found)
    for model, rate in world.judges.items():
        assert often(model) == pytest.approx(rate, abs=0.05)
    assert 0.3 < often("one that was never asked") < 0.5, "as all are, on average"
    calls = [replace(call, chances=judged(call.chances, often)) for _, call in found if call is not None]
    told = mean([one.quality["small"] for one in outcomes(calls[1000:], lambda *_: (0.0, 0.0, 0.0))])
    assert told == pytest.approx(0.75, abs=0.06)
    naive = [call for _, call in found if call is not None][1000:]
    assert mean([one.quality["small"] for one in outcomes(naive, lambda *_: (0.0, 0.0, 0.0))]) > 1.2


def test_whoever_had_no_chance_is_taken_to_have_failed() -> None:
    (call,) = WRONG.calls(Random(5), 1)
    stranger = replace(call, terms={**call.terms, "new": {**call.terms["large"], "quality": 1.0}})
    (ask,) = asks([stranger], guesser([]))
    assert ask.quality["new"] == FAILED and set(ask.quality) == set(stranger.terms)
    assert support([stranger], ["new"]) == (0, 1)


def test_too_few_drawn_calls_show_nothing_and_it_is_said_how_many_are_missing() -> None:
    card = trial(replace(WRONG, share=0.05), 400, 0)
    assert card.met is not None and not card.better
    assert card.why.startswith(f"chance gave {card.met} of the unseen calls")


def test_guesses_for_the_searched_calls_know_nothing_of_their_own_outcome() -> None:
    calls = WRONG.calls(Random(6), 200)
    other = [replace(calls[0], quality=1.0 - calls[0].quality), *calls[1:]]
    assert fitted(calls)(calls[0], "small") == fitted(other)(calls[0], "small")
    assert fitted(calls)(calls[1], calls[0].model) != fitted(other)(calls[1], calls[0].model)
