"""What a score is worth as a switch between two models: its curve from all-weak to all-strong.

    recovered                         The asks go to the strong model from the highest score down. Along the
    1 |            ___---*            curve stand the share of asks that do (`calls`), the share of the extra
      |      __--    .                money that they cost (`dollars`), and the share of the quality gap that
      |   _-     .                    is recovered by them (`recovered`).
      | -    .     random
    0 *-------------------- 1         Asks of equal score are a straight line: any of them may be next.
             calls or dollars

Measures as RouteLLM has them (Ong et al. 2024, arXiv:2406.18665, section 3): PGR is `recovered`, APGR its
mean over all shares of calls, here exactly instead of at ten of them, and CPT(x) the least share of calls
that recovers x. Long asks cost more, and a share of calls doesn't show it; so each is given per dollar, too,
on the cost-quality plane of RouterBench (Hu et al. 2024, arXiv:2403.12031). Chance has 0.5 in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from msgspec import Struct


class Pair(Struct, frozen=True):
    """A weak and a strong model on the same asks."""

    gain: list[float]
    """Of each ask: how much better the strong model's answer is, -1..1."""
    extra: list[float]
    """Of each ask: how much dearer it is, USD."""


class Curve(Struct, frozen=True):
    """Shares 0..1, from nothing to everything. None: there is no gap, or no share that means anything."""

    calls: list[float] | None
    dollars: list[float] | None
    recovered: list[float] | None


def levels(scores: Sequence[float]) -> list[int]:
    """Each ask's place among the different scores, 0 the highest."""
    place = {score: number for number, score in enumerate(sorted(set(scores), reverse=True))}
    return [place[score] for score in scores]


def trace(pair: Pair, places: Sequence[int], drawn: Sequence[int]) -> Curve:
    """The curve of the rows drawn, `places` being every row's `levels`."""
    size = max(places) + 1
    count, gain, extra = [0] * size, [0.0] * size, [0.0] * size
    gains, extras = pair.gain, pair.extra
    for row in drawn:
        place = places[row]
        count[place] += 1
        gain[place] += gains[row]
        extra[place] += extras[row]
    kept = [place for place in range(size) if count[place]]
    return Curve(
        calls=_shares([count[place] for place in kept]) or [0.0, 1.0],
        dollars=_shares([extra[place] for place in kept]),
        recovered=_shares([gain[place] for place in kept]),
    )


def hull(points: Iterable[tuple[float | None, float | None]]) -> Curve:
    """What can be had by mixing policies of (dollars, recovered): their non-decreasing convex hull, as
    RouterBench has it, from all-weak to the cost of all-strong. Dearer ones don't count."""
    known = [(x, y) for x, y in points if x is not None and y is not None]
    if not known:
        return Curve(None, None, None)
    kept: list[tuple[float, float]] = []
    for place in sorted({(0.0, 0.0), (1.0, 1.0), *(one for one in known if 0.0 <= one[0] <= 1.0)}):
        while len(kept) > 1 and _below(kept[-1], kept[-2], place):
            kept.pop()
        kept.append(place)
    sums = list(accumulate([y for _, y in kept], max))
    return Curve(None, [x for x, _ in kept], sums)


def area(along: Sequence[float] | None, recovered: Sequence[float] | None) -> float | None:
    """The mean of `recovered` over all shares `along`: APGR, or its form per dollar."""
    if along is None or recovered is None:
        return None
    steps = zip(pairwise(along), pairwise(recovered), strict=True)
    return sum([(right - left) * (before + after) / 2.0 for (left, right), (before, after) in steps])


def least(along: Sequence[float] | None, recovered: Sequence[float] | None, part: float) -> float | None:
    """The least share `along` which recovers `part` of the gap: CPT, or its form per dollar."""
    if along is None or recovered is None:
        return None
    for (left, right), (before, after) in zip(pairwise(along), pairwise(recovered), strict=True):
        if after >= part:
            return left + (right - left) * (part - before) / (after - before) if after > before else left
    return None


def _below(middle: tuple[float, float], first: tuple[float, float], last: tuple[float, float]) -> bool:
    """On or below the line from `first` to `last`."""
    (ax, ay), (bx, by), (cx, cy) = first, middle, last
    return (by - ay) * (cx - ax) <= (cy - ay) * (bx - ax)


def _shares(parts: Sequence[float]) -> list[float] | None:
    """Sums from the first on, as shares of the whole; None if the whole isn't above 0."""
    whole = sum(parts)
    if whole <= 1e-12:
        return None
    sums, total = [0.0], 0.0
    for part in parts:
        total += part
        sums.append(total / whole)
    return sums
