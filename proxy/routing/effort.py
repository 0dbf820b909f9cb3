"""How hard a model is to think about a request, where it can be told and its caller has said nothing of it.

    a chore                        as little as it can
    the caller struggles           high
    difficulty  below `low`        low
                below `high`       medium
                from there on      high

Providers keep a prompt in their cache for one level alone, as for one model: whoever changes it pays for the
whole prompt again (https://platform.claude.com/docs/en/build-with-claude/thinking#thinking-and-prompt-caching;
for OpenAI https://github.com/openai/codex/issues/35416). So while a conversation's prompt is in its model's
cache, the level rises with a harder turn, which may be worth it, and falls with no easier one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.effort import Effort, nearest
from proxy.routing.climb import Climb
from proxy.routing.policy import EffortPolicy
from proxy.routing.steps import struggles
from proxy.types import Model

SAYS = frozenset({
    "reasoning_effort", "verbosity",  # OpenAI
    "reasoning",  # OpenRouter
    "thinking", "output_config",  # Anthropic, DeepSeek
    "enable_thinking", "thinking_budget",  # Qwen
    "chat_template_kwargs",  # vLLM
    "extra_body",  # Gemini: `google.thinking_config`
})  # fmt: skip
"""Fields by which a caller says itself how hard to think, be their value null, or how much to answer."""

OWN = "the caller says it"
CHORE = "a chore"
STRUGGLES = "the caller struggles"
CACHED = "no less than the turn before, whose prompt is in the cache"
BY_DIFFICULTY = {
    Effort.LOW: "an easy ask",
    Effort.MEDIUM: "an ask that is neither easy nor hard",
    Effort.HIGH: "a hard ask",
}
"""Where levels come from, for a reader."""


def said(fields: Mapping[str, Any]) -> bool:
    """The caller has a word in it already."""
    return not SAYS.isdisjoint(fields)


def choose(climb: Climb, model: str) -> tuple[Effort | None, str]:
    """How hard to think about the request for which `model` is asked first, and why; None: as it likes."""
    if climb.own_effort:
        return None, OWN
    if climb.features.background is not None:
        return Effort.NONE, CHORE
    level, why = (Effort.HIGH, STRUGGLES) if struggles(climb) else _wanted(climb)
    before = climb.incumbent
    if before is not None and before.cached and before.model == model:
        held = before.effort
        if held is not None and held.rank > level.rank:
            return held, CACHED
    return level, why


def _wanted(climb: Climb) -> tuple[Effort, str]:
    level = by_difficulty(climb.classification.difficulty, climb.ground.policy.effort)
    return level, BY_DIFFICULTY[level]


def by_difficulty(difficulty: float, policy: EffortPolicy) -> Effort:
    """The level for a difficulty, 0..1."""
    if difficulty < policy.low:
        return Effort.LOW
    return Effort.MEDIUM if difficulty < policy.high else Effort.HIGH


def told(effort: Effort | None, models: Iterable[Model]) -> dict[str, Effort]:
    """Of these models, what each is told: the nearest level that it can be; the others aren't there."""
    if effort is None:
        return {}
    levels = {model.id: nearest(effort, model.reasoning_effort) for model in models}
    return {model: level for model, level in levels.items() if level is not None}
