"""What a caller wants of `auto`: the plugin `auto-router`, in OpenRouter's shape.

    plugins: [{id: auto-router, allowed_models: ["anthropic/*"], cost_quality_tradeoff: 7}]

Other plugins are an upstream's business, as is `plugins` where it is no list at all. This one is ours: its
members are checked here, and no upstream sees it. Those that OpenRouter reads and we don't are passed over.
https://openrouter.ai/docs/guides/routing/routers/auto-router
"""

from __future__ import annotations

from typing import Any

from proxy.types import AutoRouter
from proxy.wire.refusal import bad, unknown, wrong_type

AUTO_ROUTER = "auto-router"
READ = ("allowed_models", "excluded_models", "cost_quality_tradeoff", "enabled")
"""Members that do something here."""
PASSED_OVER = frozenset({"id", "cost_tier", "pin_model"})
"""The plugin's name, and what OpenRouter alone reads."""
MOST_PATTERNS = 100
"""Patterns in one list."""
MAX_PATTERN_LENGTH = 256
"""Characters of one."""
DEAREST, CHEAPEST = 0, 10
"""The ends of `cost_quality_tradeoff`: quality at any price, and the lowest price."""


def auto_router(plugins: Any) -> AutoRouter | None:
    """The plugin, unless it isn't there or is switched off. Raises ApiError 400 naming the member."""
    if type(plugins) is not list:
        return None
    ours = [(f"plugins[{index}]", plugin) for index, plugin in enumerate(plugins) if _is_ours(plugin)]
    if len(ours) > 1:
        raise bad(f"The plugin `{AUTO_ROUTER}` is given more than once.", "duplicate_parameter", ours[1][0])
    if not ours:
        return None
    at, plugin = ours[0]
    _check_names(plugin, at)
    if not _enabled(plugin, at):
        return None
    return AutoRouter(
        allowed=_patterns(plugin, "allowed_models", at),
        excluded=_patterns(plugin, "excluded_models", at) or (),
        tradeoff=_tradeoff(plugin, at),
        at=at,
    )


def _is_ours(plugin: Any) -> bool:
    return type(plugin) is dict and plugin.get("id") == AUTO_ROUTER


def _check_names(plugin: dict[str, Any], at: str) -> None:
    """A list that nobody reads would let the very models answer that it was to keep out."""
    for name in plugin:
        if name not in READ and name not in PASSED_OVER:
            raise unknown(f"member of the plugin `{AUTO_ROUTER}`", name, READ, f"{at}.{name}")


def _enabled(plugin: dict[str, Any], at: str) -> bool:
    enabled = plugin.get("enabled", True)
    if type(enabled) is not bool:
        raise wrong_type(f"{at}.enabled", "a boolean", enabled)
    return enabled


def _patterns(plugin: dict[str, Any], name: str, at: str) -> tuple[str, ...] | None:
    patterns, param = plugin.get(name), f"{at}.{name}"
    if patterns is None:
        return None
    if type(patterns) is not list:
        raise wrong_type(param, "an array of strings or null", patterns)
    if len(patterns) > MOST_PATTERNS:
        raise bad(f"`{param}` must have at most {MOST_PATTERNS} patterns.", "invalid_value", param)
    for index, pattern in enumerate(patterns):
        if type(pattern) is not str:
            raise wrong_type(f"{param}[{index}]", "a string", pattern)
        if not 0 < len(pattern) <= MAX_PATTERN_LENGTH:
            raise bad(
                f"`{param}[{index}]` must have 1 to {MAX_PATTERN_LENGTH} characters.",
                "invalid_value",
                f"{param}[{index}]",
            )
    return tuple(patterns)


def _tradeoff(plugin: dict[str, Any], at: str) -> int | None:
    dial, param = plugin.get("cost_quality_tradeoff"), f"{at}.cost_quality_tradeoff"
    if dial is None:
        return None
    if type(dial) is not int:
        raise wrong_type(param, "an integer or null", dial)
    if not DEAREST <= dial <= CHEAPEST:
        raise bad(
            f"`{param}` must be between {DEAREST} (quality) and {CHEAPEST} (cost).", "invalid_value", param
        )
    return dial
