"""How fast something grows: the slope of a straight line through noisy samples, and how sure it is.

Theil and Sen's: the median of the slopes between all pairs, which a few jumps don't move. Its uncertainty is
the least squares' standard error, widened for samples that resemble the one before: memory moves in steps, so
a thousand samples of it tell far less than a thousand numbers would.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from math import inf, sqrt
from statistics import fmean, median
from typing import NamedTuple

Points = Sequence[tuple[float, float]]


class Slope(NamedTuple):
    """In units of y per unit of x."""

    slope: float
    error: float
    """One standard error."""


def slope(points: Points) -> Slope:
    """Of three points or more; with fewer nothing is known."""
    if len(points) < 3:
        return Slope(0.0, inf)
    steep = median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))
    return Slope(steep, _error(points))


def binned(points: Points, width: float) -> list[tuple[float, float]]:
    """The median of each `width` of x: what is left to `slope` when there are many samples."""
    bins: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        bins.setdefault(int(point[0] // width), []).append(point)
    return [(fmean(x for x, _ in each), median(y for _, y in each)) for each in bins.values()]


def _error(points: Points) -> float:
    """Of the least squares' slope, with as many independent samples as the residuals' likeness leaves."""
    mean_x, mean_y = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    steep = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    left = [y - mean_y - steep * (x - mean_x) for x, y in points]
    squares = sum(r * r for r in left)
    if not squares:
        return 0.0
    alike = max(sum(a * b for a, b in pairwise(left)) / squares, 0.0)
    independent = max(len(points) * (1 - alike) / (1 + alike), 3.0)
    return sqrt(squares / (independent - 2) / (spread * independent / len(points)))
