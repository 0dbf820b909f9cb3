"""What a caller's wishes for `auto` come to: who may answer, and how the profile's weights lean.

allowed, excluded --patterns over ids and aliases--> the models that may answer
tradeoff          --------------------------------> other weights, from quality alone to cost alone
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from msgspec import Struct

from proxy.errors import ApiError
from proxy.routing.policy import Weights
from proxy.types import AutoRouter

EVEN = 5
"""The tradeoff at which a profile is what it is: half way between quality alone and cost alone."""
RESOLVED = 256
"""Lists of patterns whose models are kept."""


class Steering(Struct, frozen=True):
    """Resolved wishes."""

    allowed: frozenset[str] | None = None
    """Registry ids; None: everybody."""
    tradeoff: int | None = None
    """0 (quality) .. 10 (cost), as in `AutoRouter`."""

    def permits(self, model: str) -> bool:
        """The model may see the request."""
        return self.allowed is None or model in self.allowed


FREE = Steering()
"""Of a caller that wishes for nothing."""


class Helm:
    """Resolves wishes for one set of models."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """`names`: every id and alias -> the id."""
        self._names = names
        self._ids = frozenset(names.values())
        self._permitted = lru_cache(RESOLVED)(self._matching)

    def steer(self, wish: AutoRouter) -> Steering:
        """Raises ApiError 400 where the lists leave nobody."""
        if wish.allowed is None and not wish.excluded:
            return Steering(None, wish.tradeoff)
        allowed = self._permitted(wish.allowed, wish.excluded)
        if not allowed and self._ids:
            raise _nobody(wish, len(self._ids))
        # A list that leaves everybody is no list: what is known of the pool of all holds for it.
        return Steering(allowed if allowed != self._ids else None, wish.tradeoff)

    def _matching(self, allowed: tuple[str, ...] | None, excluded: tuple[str, ...]) -> frozenset[str]:
        taken = self._ids if allowed is None else self._named(allowed)
        return taken - self._named(excluded)

    def _named(self, patterns: Iterable[str]) -> frozenset[str]:
        split = [pattern.split("*") for pattern in patterns]
        return frozenset(
            id for name, id in self._names.items() if any(_matches(parts, name) for parts in split)
        )


def leaning(weights: Weights, tradeoff: int) -> Weights:
    """A profile's weights with the dial at 0..10: at 0 only quality counts, at 10 only cost."""
    plain = Weights()
    middle = min(tradeoff, 2 * EVEN - tradeoff) / EVEN
    return Weights(
        quality=max(weights.quality, plain.quality) * (2 * EVEN - tradeoff) / EVEN,
        success=weights.success * middle,
        latency=weights.latency * middle,
        cost=max(weights.cost, plain.cost) * tradeoff / EVEN,
    )


def _matches(parts: list[str], name: str) -> bool:
    """A pattern, split at its stars, fits the whole name. In linear time: callers write the patterns."""
    head, *middle = parts
    if not middle:
        return name == head
    tail = middle.pop()
    if not name.startswith(head) or not name.endswith(tail):
        return False
    at, end = len(head), len(name) - len(tail)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end


def _nobody(wish: AutoRouter, ready: int) -> ApiError:
    name = "allowed_models" if wish.allowed is not None else "excluded_models"
    but = " but `excluded_models`" if wish.allowed is not None and wish.excluded else ""
    return ApiError(
        400,
        f"`{wish.at}.{name}`{but} leaves none of the {ready} models that are ready here. Patterns are ids "
        "and aliases of GET /v1/models, with * for any characters.",
        code="no_allowed_model",
        param=f"{wish.at}.{name}",
    )
