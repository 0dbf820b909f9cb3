"""What a model is told of how hard to think, and what it refuses.

A registry may be wrong about a model, and some take a level beside some fields only: OpenAI's newer ones none
but `none` beside tools (https://github.com/openai/openai-openapi/issues/541). So a request that was refused
with a level of ours is asked again without: no call fails for what its caller never said. What was answered
only then is remembered until the configuration changes, by the model and the request's fields.
"""

from __future__ import annotations

import logging

from proxy.effort import Effort, nearest
from proxy.types import ChatRequest, FailureKind, Model, RoutePlan

REFUSALS = frozenset({FailureKind.BAD_REQUEST, FailureKind.UNSUPPORTED})
"""After one of these a model is asked again without a level: its objection may have been to that."""
_MOST = 1_000
"""Refusals that are remembered: callers may invent fields. With more, all are forgotten."""

logger = logging.getLogger(__name__)


class Efforts:
    """The levels of one configuration's models, less those that were refused."""

    def __init__(self) -> None:
        self._refused: set[tuple[str, frozenset[str]]] = set()

    def of(self, plan: RoutePlan, request: ChatRequest, model: Model) -> Effort | None:
        """The level that the model is told; None: nothing."""
        if plan.effort is None or not model.reasoning_effort:
            return None
        if self._refused and (model.id, frozenset(request.fields)) in self._refused:
            return None
        return nearest(plan.effort, model.reasoning_effort)

    def refused(self, request: ChatRequest, model: Model, effort: Effort, words: str) -> None:
        """The model answered such a request without the level alone; `words`: what it had said to it."""
        if len(self._refused) >= _MOST:
            self._refused.clear()
        if not any(known == model.id for known, _ in self._refused):
            logger.warning("%s does not take reasoning_effort %s here: %s", model.id, effort, words[:300])
        self._refused.add((model.id, frozenset(request.fields)))
