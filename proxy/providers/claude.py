"""What the generations of Claude take, by the version in the model's name.

    thinking by budget        3.7 .. 4.5     {"type": "enabled", "budget_tokens": n}, n >= 1,024, < max_tokens
    adaptive thinking         4.6 on         {"type": "adaptive"} and output_config.effort
    temperature and top_p     both below 4.1, one of them up to 4.6, neither from 4.7 on

A name without a version (another vendor's model behind the same API) takes what the oldest take.
Anthropic's migration guides, as of 2026.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from proxy.effort import Effort

Version = tuple[int, int]
Message = dict[str, Any]

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?![\d])")
_BUDGETS = {"minimal": 0, "low": 2048, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 32768}
_EFFORTS = {"none": "low", "minimal": "low", "low": "low", "medium": "medium", "high": "high"}
_EFFORTS |= {"xhigh": "xhigh", "max": "max"}
_LEAST_BUDGET = 1024


class Feature(Struct, frozen=True):
    """Something that came with one version and went with another."""

    since: Version = (0, 0)
    until: Version = (99, 0)
    """The first that no longer has it."""

    def accepts(self, model: str) -> bool:
        """Whether a model of this name has it."""
        return self.since <= version(model) < self.until


BUDGET = Feature(since=(3, 7), until=(4, 6))
ADAPTIVE = Feature(since=(4, 6))
THINKS_UNASKED = Feature(since=(5, 0))
SAMPLING = Feature(until=(4, 7))
BOTH_KNOBS = Feature(until=(4, 1))
XHIGH = Feature(since=(4, 7))


def version(model: str) -> Version:
    """`claude-sonnet-4-5-20250929` -> (4, 5); `claude-3-7-sonnet-latest` -> (3, 7); no version -> (0, 0)."""
    match = _VERSION.search(model.lower())
    return (int(match[1]), int(match[2] or 0)) if match else (0, 0)


def thinking(effort: Any, model: str, body: Message, messages: list[Message]) -> tuple[Message, str | None]:
    """OpenAI's `reasoning_effort` as `thinking` (empty: leave it out) and the effort to go with it."""
    if not isinstance(effort, str) or effort not in _EFFORTS:
        return {}, None
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    if ADAPTIVE.accepts(model):
        return _adaptive(effort, model, forced)
    if BUDGET.accepts(model) and not forced and not _in_tool_loop(messages):
        return _budgeted(_BUDGETS.get(effort, 0), body["max_tokens"]), None
    return {}, None


def moderation(effort: Effort, model: str) -> str | None:
    """How hard to think in Claude's words, for a caller who said nothing of it; None: it can't be said.

    It switches no thinking on, which would exclude the caller's temperature and cost what it didn't ask for:
    models that think by budget, which do so only when they are told to, are left alone.
    """
    return _level(effort, model) if ADAPTIVE.accepts(model) else None


def one_sampling_knob(knobs: dict[str, float], model: str) -> dict[str, float]:
    """The knobs that go together: temperature alone, where only one may be turned."""
    if len(knobs) > 1 and not BOTH_KNOBS.accepts(model):
        return {"temperature": knobs["temperature"]}
    return knobs


def _adaptive(effort: str, model: str, forced: bool) -> tuple[Message, str | None]:
    if effort in ("none", "minimal"):
        return {}, "low" if THINKS_UNASKED.accepts(model) else None
    level = _level(effort, model)
    # A forced tool excludes thinking.
    return {} if forced else {"type": "adaptive", "display": "summarized"}, level


def _level(effort: str, model: str) -> str:
    level = _EFFORTS[effort]
    return "high" if level == "xhigh" and not XHIGH.accepts(model) else level


def _budgeted(budget: int, max_tokens: int) -> Message:
    """Thinking counts towards max_tokens: at least as much as is thought is left for the answer."""
    budget = min(budget, max_tokens // 2)
    if budget < _LEAST_BUDGET:
        return {}
    return {"type": "enabled", "budget_tokens": budget}


def _in_tool_loop(messages: list[Message]) -> bool:
    """Thinking by budget wants the signed thoughts before a tool's call back, which we don't have.

    It wants the turn to be Claude's own from the start, too: a prefill excludes it.
    """
    return bool(messages) and messages[-1].get("role") in ("tool", "function", "assistant")
