"""Who else might choose among the models: chance, always the same one, the oracle; and the fair comparison.

A router that sends a third of its asks to the dear model must be better than a coin that does so, too:
`shuffle` is that coin. It has the router's own shares of the models, without its knowledge of which ask is
which, and spends the same money: where the router saves by sending short asks to the dear model, the coin's
shares are tilted until it costs as much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import exp, log2

from msgspec import Struct

from proxy.evaluate.field import Columns
from proxy.evaluate.resample import mean_of

BETA, DEAREST, CHEAPEST = 0.1, 200.0, 0.0044
"""RouterArena's constants: the weight of cost, and between which USD per 1,000 asks it counts."""

_STEEPEST = 1e4


class Point(Struct, frozen=True):
    """A policy as a place on the plane: mean quality 0..1, and mean cost in USD per ask."""

    quality: float
    cost: float


def always(quality: Columns, cost: Columns, model: str) -> tuple[list[float], list[float]]:
    """One model for every ask: quality and cost of each."""
    return list(quality[model]), list(cost[model])


def chosen(quality: Columns, cost: Columns, choices: Sequence[str]) -> tuple[list[float], list[float]]:
    """A model for each ask."""
    numbered = list(enumerate(choices))
    return [quality[model][row] for row, model in numbered], [cost[model][row] for row, model in numbered]


def oracle(quality: Columns, cost: Columns) -> list[str]:
    """For each ask the best model, of several the cheapest."""
    models = list(quality)
    asks = range(len(quality[models[0]]))
    return [max(models, key=lambda model: (quality[model][row], -cost[model][row])) for row in asks]


def chance(quality: Columns, cost: Columns) -> tuple[list[float], list[float]]:
    """Any model for any ask: what is expected of each ask."""
    share = 1.0 / len(quality)
    return (
        [share * sum(values) for values in zip(*quality.values(), strict=True)],
        [share * sum(values) for values in zip(*cost.values(), strict=True)],
    )


def shuffle(
    quality: Columns, cost: Columns, choices: Sequence[str], drawn: Sequence[int], spent: float
) -> Point:
    """The choices dealt out to the drawn asks by chance, tilted so that they cost `spent` on average, as far
    as the models that were chosen can cost that."""
    shares = Counter([choices[row] for row in drawn])
    costs = {model: mean_of(cost[model], drawn) for model in shares}
    mixed = _tilted(shares, costs, spent)
    return Point(
        sum(share * mean_of(quality[model], drawn) for model, share in mixed.items()),
        sum(share * costs[model] for model, share in mixed.items()),
    )


def arena(point: Point) -> float:
    """RouterArena's score (arXiv:2510.00202): a weighted harmonic mean of quality and of cheapness, which is
    the logarithm of the cost per 1,000 asks between CHEAPEST (1) and DEAREST (0)."""
    per_thousand = min(max(1000.0 * point.cost, CHEAPEST), DEAREST)
    cheapness = (log2(DEAREST) - log2(per_thousand)) / (log2(DEAREST) - log2(CHEAPEST))
    weighed = BETA * point.quality + cheapness
    return (1.0 + BETA) * point.quality * cheapness / weighed if weighed else 0.0


def _tilted(shares: Mapping[str, int], costs: Mapping[str, float], spent: float) -> dict[str, float]:
    """Shares that lean to the cheap or to the dear until their mean cost is `spent`. With two models that is
    the one mix which costs it; with more, the one nearest to the given shares (exponential tilting)."""
    cheap, dear = min(costs.values()), max(costs.values())
    spread = dear - cheap
    if spread <= 0.0:
        return _leaning(shares, dict.fromkeys(costs, 0.0), 0.0)
    places = {model: (value - cheap) / spread for model, value in costs.items()}
    wanted, low, high = (spent - cheap) / spread, -_STEEPEST, _STEEPEST
    for _ in range(60):
        middle = (low + high) / 2.0
        mixed = _leaning(shares, places, middle)
        if sum(share * places[model] for model, share in mixed.items()) < wanted:
            low = middle
        else:
            high = middle
    return _leaning(shares, places, (low + high) / 2.0)


def _leaning(shares: Mapping[str, int], places: Mapping[str, float], lean: float) -> dict[str, float]:
    most = max(lean * place for place in places.values())
    raw = {model: share * exp(lean * places[model] - most) for model, share in shares.items()}
    whole = sum(raw.values())
    return {model: value / whole for model, value in raw.items()}
