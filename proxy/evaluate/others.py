"""What other ways to choose would have made of calls whose models were left to chance.

    calls --outcomes of whoever had a chance--> the router's choices, beside one model always, any of those,
                                                and the cost-matched shuffle of the router's own

Unlike in `proxy.evaluate.calls` nothing is taken for chance but what was. A model is compared with the router
on the calls on which it had a chance; the shuffle deals the router's shares out among calls on which the same
models had one, tilted until it costs as much. For intervals whole conversations are drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import NamedTuple

from msgspec import Struct

from proxy.evaluate.drawn import Drawn, Outcome, fitted, outcomes
from proxy.evaluate.resample import Chance, Estimate, clustered, estimate, mean

ROUTER, ANY, SHUFFLE, ALWAYS = "router", "random", "shuffle", "always "

_STEEPEST = 60.0


class Way(Struct, frozen=True):
    """A way to choose, on the calls on which it can be told."""

    calls: int
    quality: Estimate
    """Feedback, 0..1."""
    cost: Estimate
    """USD per call."""
    lead: Estimate
    """The router's feedback above it, on the same calls."""


class DrawnCard(Struct, frozen=True):
    """All that was measured."""

    calls: int
    away: int
    """Of these, those that were drawn to another model than the router's choice."""
    resamples: int
    ways: dict[str, Way]
    amiss: str = ""
    """Why their chances can't be trusted."""

    @property
    def lead(self) -> Estimate:
        """The router's feedback above chance that spends the same."""
        return self.ways[SHUFFLE].lead


class _Told(NamedTuple):
    """What a way makes of one call, and what the router makes of it."""

    quality: float
    cost: float
    router: float


Column = list[_Told | None]
"""None: the way has no choice there that had a chance."""
Means = tuple[int, float | None, float | None, float | None]
"""Calls; quality, cost and lead, where there are any."""


def measure(
    calls: Sequence[Drawn],
    times: int,
    chance: Chance,
    progress: Callable[[int], None] = lambda _: None,
    amiss: str = "",
) -> DrawnCard:
    """`progress` is told how many of `times` samples are done."""
    told = outcomes(calls, fitted(calls))
    columns = {name: _column(calls, told, deal) for name, deal in _deals(calls).items()}
    deck = _Deck(calls, told)
    whole = _measures(columns, deck, range(len(calls)))
    sampled: list[dict[str, Means]] = []
    samples = clustered([call.conversation for call in calls], times, chance)
    for number, drawn in enumerate(samples, start=1):
        sampled.append(_measures(columns, deck, drawn))
        progress(number)
    ways = {
        name: Way(found[0], *(estimate(found[at], [each[name][at] for each in sampled]) for at in (1, 2, 3)))
        for name, found in whole.items()
    }
    away = sum(call.model != call.choice for call in calls)
    return DrawnCard(len(calls), away, times, ways, amiss)


def _deals(calls: Sequence[Drawn]) -> dict[str, Callable[[Drawn], Mapping[str, float]]]:
    """Way -> whom it asks, and with what share; nobody where that can't be told."""
    models = sorted({model for call in calls for model in call.chances})
    return {
        ROUTER: lambda call: {call.choice: 1.0},
        **{ALWAYS + model: _always(model) for model in models},
        ANY: lambda call: dict.fromkeys(call.chances, 1.0 / len(call.chances)),
    }


def _always(model: str) -> Callable[[Drawn], Mapping[str, float]]:
    return lambda call: {model: 1.0} if model in call.chances else {}


def _column(
    calls: Sequence[Drawn], told: Sequence[Outcome], deal: Callable[[Drawn], Mapping[str, float]]
) -> Column:
    column: Column = []
    for call, outcome in zip(calls, told, strict=True):
        shares = deal(call)
        quality = sum(share * outcome.quality[model] for model, share in shares.items())
        cost = sum(share * outcome.cost[model] for model, share in shares.items())
        column.append(_Told(quality, cost, outcome.quality[call.choice]) if shares else None)
    return column


def _measures(columns: Mapping[str, Column], deck: _Deck, drawn: Sequence[int]) -> dict[str, Means]:
    found = {name: _means(column, drawn) for name, column in columns.items()}
    quality, spent = found[ROUTER][1:3]
    assert quality is not None and spent is not None  # the router has a choice everywhere
    shuffled = deck.shuffled(drawn, spent)
    return {**found, SHUFFLE: (len(drawn), *shuffled, quality - shuffled[0])}


def _means(column: Column, drawn: Sequence[int]) -> Means:
    held = [told for row in drawn if (told := column[row]) is not None]
    if not held:
        return 0, None, None, None
    quality, cost, router = (sum(values) / len(held) for values in zip(*held, strict=True))
    return len(held), quality, cost, router - quality


class _Deck:
    """Deals the router's shares out by chance."""

    def __init__(self, calls: Sequence[Drawn], told: Sequence[Outcome]) -> None:
        self._choices = [call.choice for call in calls]
        self._hands = [tuple(sorted(call.chances)) for call in calls]
        self._told = told
        costs: dict[str, list[float]] = {}
        for call in calls:
            costs.setdefault(call.model, []).append(call.cost)
        means = {model: mean(paid) for model, paid in costs.items()}
        dearest = max(means.values(), default=0.0) or 1.0
        self._places = {model: paid / dearest for model, paid in means.items()}

    def shuffled(self, drawn: Sequence[int], spent: float) -> tuple[float, float]:
        """Quality and cost of the router's shares, dealt out to these calls and tilted to cost `spent`, as
        far as the models can cost that."""
        shares = Counter(self._choices[row] for row in drawn)
        sums = self._sums(drawn)
        low, high = -_STEEPEST, _STEEPEST
        for _ in range(40):
            middle = (low + high) / 2.0
            if self._dealt(sums, shares, middle)[1] < spent * len(drawn):
                low = middle
            else:
                high = middle
        quality, cost = self._dealt(sums, shares, (low + high) / 2.0)
        return quality / len(drawn), cost / len(drawn)

    def _sums(self, drawn: Sequence[int]) -> dict[tuple[str, ...], dict[str, list[float]]]:
        """Who had a chance -> model -> its quality and cost, added up."""
        sums: dict[tuple[str, ...], dict[str, list[float]]] = {}
        for row in drawn:
            hand, told = self._hands[row], self._told[row]
            held = sums.setdefault(hand, {model: [0.0, 0.0] for model in hand})
            for model, both in held.items():
                both[0] += told.quality[model]
                both[1] += told.cost[model]
        return sums

    def _dealt(
        self, sums: Mapping[tuple[str, ...], Mapping[str, list[float]]], shares: Counter[str], lean: float
    ) -> tuple[float, float]:
        quality = cost = 0.0
        for held in sums.values():
            weights = {model: shares[model] * exp(lean * self._places.get(model, 0.0)) for model in held}
            whole = sum(weights.values())
            for model, both in held.items():
                quality += weights[model] / whole * both[0]
                cost += weights[model] / whole * both[1]
        return quality, cost
