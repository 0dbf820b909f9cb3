"""Who can serve a request at all: what it needs is supported, and it fits the window.

    needs, tokens -> Pool      looked up: requests between the same two window sizes share one pool

The token count is an estimate, and a limit on the answer is only a limit: where nobody has room for it,
whoever has room for the prompt is asked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from msgspec import Struct

from proxy.routing.standing import Candidate
from proxy.types import Features, Model, Need

ESTIMATE_SLACK = 1.05
"""The token estimate may be this much too high before a window counts as too small."""

WISHES = frozenset({Need.PREFILL, Need.FILES})
"""Needs that whoever lacks them may get by without: it answers anew instead of going on, or its provider
reads the document for it. They count where somebody has them."""

NARROWED = 1_024
"""Pools that callers' lists have narrowed that are kept."""


class Pool(Struct, frozen=True, eq=False):
    """The candidates for a request, in the registry's order. One object for all requests of its kind."""

    candidates: tuple[Candidate, ...]
    ids: frozenset[str]


class Pools:
    """Every pool that a set of models can form, each made when it is first needed.

    There are as many as combinations of needs, window sizes and answer limits: a few dozen.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        models = [c.model for c in candidates]
        self.all = candidates
        self._windows = sorted({_room(m) for m in models})
        self._answers = sorted({m.max_output_tokens for m in models if m.max_output_tokens is not None})
        self._pools: dict[tuple[frozenset[Need], int, int], Pool] = {}
        self._narrowed: dict[tuple[Pool, frozenset[str]], Pool] = {}

    def of(self, features: Features, allowed: frozenset[str] | None = None) -> Pool:
        """The pool of a request; of those `allowed` alone, where not all are."""
        pool = self._able(features)
        return pool if allowed is None else self._narrow(pool, allowed)

    def _able(self, features: Features) -> Pool:
        pool = self._roomy(features, features.needs)
        if pool.candidates or features.needs.isdisjoint(WISHES):
            return pool
        return self._roomy(features, features.needs - WISHES)

    def _roomy(self, features: Features, needs: frozenset[Need]) -> Pool:
        answer = features.completion_tokens
        pool = self._pool(needs, features.prompt_tokens + (answer or 1), answer)
        return pool if pool.candidates or answer <= 1 else self._pool(needs, features.prompt_tokens + 1, 0)

    def _narrow(self, pool: Pool, allowed: frozenset[str]) -> Pool:
        narrow = self._narrowed.get((pool, allowed))
        if narrow is None:
            able = tuple(c for c in pool.candidates if c.id in allowed)
            if len(self._narrowed) >= NARROWED:
                self._narrowed.clear()
            narrow = self._narrowed[pool, allowed] = Pool(able, pool.ids & allowed)
        return narrow

    def _pool(self, needs: frozenset[Need], tokens: int, answer: int) -> Pool:
        key = (needs, bisect_left(self._windows, tokens), bisect_left(self._answers, answer))
        pool = self._pools.get(key)
        if pool is None:
            able = tuple(c for c in self.all if _serves(c.model, needs, tokens, answer))
            pool = self._pools[key] = Pool(able, frozenset([c.id for c in able]))
        return pool


def unfit(model: Model, features: Features) -> str:
    """For a reader: why a model is in no pool of this request."""
    if missing := features.needs - model.supports:
        return f"does not support {', '.join(sorted(missing))}"
    if (short := features.prompt_tokens + 1 - _room(model)) > 0:
        return f"context window of {model.context_window} tokens is too small by {short}"
    return f"has no room for an answer of {features.completion_tokens} tokens"


def _serves(model: Model, needs: frozenset[Need], tokens: int, answer: int) -> bool:
    limit = model.max_output_tokens
    return needs <= model.supports and tokens <= _room(model) and (limit is None or answer <= limit)


def _room(model: Model) -> int:
    return int(model.context_window * ESTIMATE_SLACK)
