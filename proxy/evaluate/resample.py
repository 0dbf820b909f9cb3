"""How sure a measure is: the same measure of many samples drawn from its own rows, with replacement.

Percentile bootstrap (Efron 1979). Where rows are drawn, an interval tells what other prompts of the same
kinds would have given, and nothing of prompts of another kind; where whole kinds are drawn (the cluster
bootstrap), it tells of other kinds, too, and is the wider for it. All measures are taken of the same draws:
differences between policies are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

Chance = Callable[[], float]
"""0 <= chance < 1. Seeded where it comes from, so that the same rows tell the same."""

LEVEL = 0.95
"""What an interval shall cover, unless it is said."""


class Estimate(Struct, frozen=True):
    """A measure, and between what it lies. None: it means nothing here, as a part of no gap."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def above_zero(self) -> bool:
        """The whole interval is."""
        return self.low is not None and self.low > 0.0


def draws(rows: int, times: int, chance: Chance) -> Iterator[list[int]]:
    """`times` samples of so many row numbers."""
    for _ in range(times):
        yield [int(rows * chance()) for _ in range(rows)]


def clustered(clusters: Sequence[object], times: int, chance: Chance) -> Iterator[list[int]]:
    """`times` samples of whole clusters; `clusters` says of each row which it belongs to."""
    members: dict[object, list[int]] = {}
    for row, cluster in enumerate(clusters):
        members.setdefault(cluster, []).append(row)
    held = list(members.values())
    for drawn in draws(len(held), times, chance):
        yield [row for number in drawn for row in held[number]]


def mean(values: Sequence[float]) -> float:
    """Of all of them; there is one at least."""
    return sum(values) / len(values)


def mean_of(values: Sequence[float], drawn: Sequence[int]) -> float:
    """Of the rows that were drawn, each as often as it was."""
    return sum([values[row] for row in drawn]) / len(drawn)


def estimate(value: float | None, sampled: Sequence[float | None], level: float = LEVEL) -> Estimate:
    """The interval from what the samples gave; samples in which the measure meant nothing don't count."""
    known = sorted([one for one in sampled if one is not None])
    if value is None or not known:
        return Estimate(value)
    return Estimate(value, quantile(known, (1.0 - level) / 2.0), quantile(known, (1.0 + level) / 2.0))


def evenly(told: Estimate) -> Estimate:
    """Both sides as wide as the wider one. A few rows that count for much skew the samples, and where these
    are skewed percentiles lie too near on the other side."""
    if told.value is None or told.low is None or told.high is None:
        return told
    wide = max(told.value - told.low, told.high - told.value)
    return Estimate(told.value, told.value - wide, told.value + wide)


def quantile(ranked: Sequence[float], share: float) -> float:
    """Between the two nearest of ascending values."""
    place = share * (len(ranked) - 1)
    below = int(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (place - below) * (ranked[above] - ranked[below])
