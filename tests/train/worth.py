"""Tells what `auto` is worth above chance with models told by quality and price alone: needs numpy.

    python -m tests.train.worth [FILE]      rows as `kuro eval --outcomes` reads them, with `group`

Three times: difficulty as it ships; as it would be, each group judged by what the others taught; and with
half of the groups out of sight for the models' qualities, too, forty such halves.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import mean

import msgspec
import numpy as np

from proxy.evaluate.curve import area, hull
from proxy.evaluate.field import gather
from proxy.evaluate.policies import chosen
from proxy.evaluate.resample import draws, estimate
from proxy.evaluate.rows import Graded, graded
from proxy.routing.difficulty import share
from proxy.routing.policy import PROFILES, Weights
from proxy.routing.steering import EVEN, leaning
from proxy.types import Model
from tests.evaluate.outcomes import choices, lead, told
from tests.train.difficulty import DATA, Array, Asks, left_out

SPLITS = 40
RESAMPLES = 200
BALANCED = PROFILES["balanced"]


class Trial:
    """What is chosen for every row, by one judgement of how hard each is."""

    def __init__(self, rows: list[Graded], asks: Asks, odds: Sequence[float]) -> None:
        self.field = gather(rows, {})
        self._asks = asks.features
        self._lengths = {name: spec.completion_tokens for name, spec in asks.lexicon.intents.items()}
        self._classified = [
            msgspec.structs.replace(asks.classified[row], difficulty=share(one))
            for row, one in enumerate(odds)
        ]

    def choices(self, models: list[Model], weights: Weights = BALANCED) -> list[str]:
        """For every row."""
        return choices(models, self._asks, self._classified, weights, self._lengths)

    def spent(self, models: list[str], drawn: Sequence[int]) -> float:
        """Share of the strongest model's money."""
        _, cost = chosen(self.field.quality, self.field.cost, models)
        strong = self.field.cost[self.field.strong]
        return sum(cost[row] for row in drawn) / sum(strong[row] for row in drawn)

    def dial(self, models: list[Model]) -> float | None:
        """Part of the gap that the dial recovers per dollar."""
        field = self.field
        weak, strong = (
            (mean(field.cost[name]), mean(field.quality[name])) for name in (field.weak, field.strong)
        )
        points = []
        for tradeoff in range(2 * EVEN + 1):
            quality, cost = chosen(
                field.quality, field.cost, self.choices(models, leaning(BALANCED, tradeoff))
            )
            points.append(
                (
                    (mean(cost) - weak[0]) / (strong[0] - weak[0]),
                    (mean(quality) - weak[1]) / (strong[1] - weak[1]),
                )
            )
        curve = hull(points)
        return area(curve.dollars, curve.recovered)


def tell(name: str, trial: Trial, models: list[Model]) -> None:
    """A line: lead and its interval, what was spent, and the dial."""
    made, rows = trial.choices(models), trial.field.rows
    whole = lead(trial.field, made, range(rows))
    found = estimate(
        whole, [lead(trial.field, made, drawn) for drawn in draws(rows, RESAMPLES, Random(1).random)]
    )
    print(
        f"{name}: lead {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}], "
        f"{trial.spent(made, range(rows)):.0%} spent, dial {trial.dial(models):.3f} per dollar"
    )


def halves(rows: list[Graded], asks: Asks) -> None:
    """The same of kinds that neither difficulty nor qualities were learned from."""
    groups, found, chance = sorted(set(asks.groups)), [], Random(1)
    for _ in range(SPLITS):
        out = np.isin(asks.groups, chance.sample(groups, len(groups) // 2))
        trial = Trial(rows, asks, _judged(asks, ~out))
        seen = [row for row in range(len(rows)) if not out[row]]
        made = trial.choices(told([rows[row] for row in seen], [asks.features[row] for row in seen]))
        found.append(lead(trial.field, made, np.flatnonzero(out).tolist()))
    print(
        f"{SPLITS} halves of the groups out of sight: lead {mean(found):+.4f} on average, "
        f"{min(found):+.4f} to {max(found):+.4f}, above zero in {sum(one > 0 for one in found)}"
    )


def _judged(asks: Asks, by: Array) -> list[float]:
    return asks.judged(asks.learn(by), np.ones(len(asks.groups), bool))


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    with path.open("rb") as lines:
        rows = graded(lines, path.name)
    asks = Asks(rows)
    models = told(rows, asks.features)
    tell("as it ships", Trial(rows, asks, _judged(asks, np.ones(len(rows), bool))), models)
    tell("each group left out", Trial(rows, asks, left_out(asks)), models)
    halves(rows, asks)


if __name__ == "__main__":
    main()
