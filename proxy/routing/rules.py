"""Rules: an operator's shortcuts, tried in order; the first whose condition holds names the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from proxy.routing.policy import Condition, Rule
from proxy.types import Classification, Features

ANY = "any"
"""In `background`: whichever chore it is."""


def first(
    rules: Sequence[Rule],
    features: Features,
    classification: Classification,
    headers: Mapping[str, str],
    profile: str,
    serves: Callable[[str], bool],
) -> Rule | None:
    """The first rule that holds and whose model can serve. `headers` has lower-case names."""
    for rule in rules:
        if serves(rule.model) and holds(rule.when, features, classification, headers, profile):
            return rule
    return None


def holds(
    when: Condition,
    features: Features,
    classification: Classification,
    headers: Mapping[str, str],
    profile: str,
) -> bool:
    """Every member that the condition gives is true of the request."""
    return (
        all(test(when, features, classification) for test in _TESTS)
        and (not when.profile or profile in when.profile)
        and all(headers.get(name) == value for name, value in when.headers.items())
    )


def _intent(when: Condition, _: Features, seen: Classification) -> bool:
    intent, confidence = seen.intents[0]
    return (not when.intent or intent in when.intent) and confidence >= when.min_confidence


def _background(when: Condition, facts: Features, _: Classification) -> bool:
    if not when.background:
        return True
    return facts.background is not None and (ANY in when.background or facts.background in when.background)


def _tokens(when: Condition, facts: Features, _: Classification) -> bool:
    return _within(facts.prompt_tokens, when.min_prompt_tokens, when.max_prompt_tokens)


def _difficulty(when: Condition, _: Features, seen: Classification) -> bool:
    return _within(seen.difficulty, when.min_difficulty, when.max_difficulty)


def _language(when: Condition, facts: Features, _: Classification) -> bool:
    return not when.language or facts.language in when.language


def _needs(when: Condition, facts: Features, _: Classification) -> bool:
    return facts.needs.issuperset(when.needs)


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


_TESTS: tuple[Callable[[Condition, Features, Classification], bool], ...] = (
    _background,
    _intent,
    _tokens,
    _difficulty,
    _language,
    _needs,
)
