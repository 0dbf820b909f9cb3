"""How hard a model is to think: the levels of `reasoning_effort` that providers know."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class Effort(StrEnum):
    """A level, least first. No model knows all of them."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"

    @property
    def rank(self) -> int:
        """Its place, from 0."""
        return _RANKS[self]


_RANKS = {effort: rank for rank, effort in enumerate(Effort)}


def nearest(effort: Effort, levels: Collection[Effort]) -> Effort | None:
    """Of these the nearest to it, of two as near the higher: too little thought costs the answer, too much
    but money. None: there are none."""
    return min(levels, key=lambda level: (abs(level.rank - effort.rank), -level.rank)) if levels else None
