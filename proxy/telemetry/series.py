"""Numbers by name and label values: what one process has counted, and how several are added up.

counters, histograms   added up; those of a process that has ended stay
gauges                 added up, or the greatest is taken; they end with their process
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import zip_longest

import msgspec
from msgspec import Struct, field

from proxy.telemetry.families import FAMILIES, Family, Kind, Labels

Numbers = dict[Labels, float]
"""Label values -> a number, for one name."""


class Series(Struct):
    """Everything that a process has counted so far, by name."""

    counters: dict[str, Numbers] = field(default_factory=dict)
    gauges: dict[str, Numbers] = field(default_factory=dict)
    histograms: dict[str, dict[Labels, list[float]]] = field(default_factory=dict)
    """Label values -> how many fell into each bucket, those beyond the last bound, and the sum of all."""


def fresh() -> Series:
    """Nothing counted yet. Without labels there is one series, at 0: a rate needs the step from 0 to 1."""
    series = Series()
    for family in FAMILIES.values():
        if family.kind is Kind.HISTOGRAM:
            series.histograms[family.name] = {} if family.labels else {(): _empty(family)}
        elif family.kind is Kind.COUNTER:
            series.counters[family.name] = {} if family.labels else {(): 0.0}
        else:
            series.gauges[family.name] = {}
    return series


class Histogram:
    """One of a series' histograms, to count into."""

    __slots__ = ("_bounds", "_counted", "_family")

    def __init__(self, name: str, series: Series) -> None:
        self._family = FAMILIES[name]
        self._bounds = self._family.bounds
        self._counted = series.histograms[name]

    def observe(self, labels: Labels, value: float) -> None:
        """Counts a value in its bucket; a bound belongs to the bucket that it ends."""
        counts = self._counted.get(labels)
        if counts is None:
            counts = self._counted[labels] = _empty(self._family)
        counts[bisect_left(self._bounds, value)] += 1.0
        counts[-1] += value


def add(numbers: Numbers, labels: Labels, amount: float = 1.0) -> None:
    """Counts."""
    numbers[labels] = numbers.get(labels, 0.0) + amount


def merge(total: Series, part: Series) -> None:
    """Adds what another process has counted. What this version does not know is passed over."""
    for name, theirs in part.counters.items():
        ours = total.counters.setdefault(name, {})
        for labels, value in theirs.items():
            add(ours, labels, value)
    for name, buckets in part.histograms.items():
        sums = total.histograms.setdefault(name, {})
        for labels, counts in buckets.items():
            so_far = sums.get(labels, _NONE)
            if not so_far or len(so_far) == len(counts):
                sums[labels] = [a + b for a, b in zip_longest(so_far, counts, fillvalue=0.0)]
    for name, theirs in part.gauges.items():
        ours, greatest = total.gauges.setdefault(name, {}), name in _GREATEST
        for labels, value in theirs.items():
            seen = ours.get(labels, 0.0)
            ours[labels] = max(seen, value) if greatest else seen + value


def encode(series: Series) -> bytes:
    """As bytes for another process."""
    return _encode(series)


def decode(data: bytes) -> Series:
    """The same again. Raises msgspec.DecodeError."""
    return _decode(data)


_NONE: list[float] = []
_GREATEST = frozenset(family.name for family in FAMILIES.values() if family.greatest)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Series).decode


def _empty(family: Family) -> list[float]:
    return [0.0] * (len(family.bounds) + 2)
