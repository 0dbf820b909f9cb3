"""Rules: an operator's shortcuts, tried in order; the first whose condition holds names the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from msgspec.structs import asdict

from proxy.routing.policy import Condition, Rule
from proxy.types import Classification, Features

ANY = "any"
"""In `background`: whichever chore it is."""


class Asked(Protocol):
    """What a condition may look at: a climb, which finds out no more than the conditions want to know."""

    @property
    def features(self) -> Features:
        """The facts ..."""

    @property
    def classification(self) -> Classification:
        """... what was made of them ..."""

    @property
    def headers(self) -> Mapping[str, str]:
        """... the caller's headers, by lower-case name ..."""

    @property
    def language(self) -> str:
        """... the language of the ask ..."""

    @property
    def profile(self) -> str:
        """... and what it asked for."""


Test = Callable[[Condition, Asked], bool]
Prepared = tuple[Condition, tuple[Test, ...], tuple[Rule, ...]]
"""A condition with the tests of those members that it gives, and the rules that share it."""


def prepare(rules: Iterable[Rule]) -> tuple[Prepared, ...]:
    """The rules with no more tests than they need: those that follow each other with one condition are
    what a rule with a list of models is made of, and the condition is asked once."""
    together = groupby(rules, key=_when)
    return tuple((when, _given(when), tuple(members)) for when, members in together)


def holding(rules: Sequence[Prepared], asked: Asked) -> Iterator[Rule]:
    """The rules whose condition holds, in order."""
    for when, tests, members in rules:
        for test in tests:
            if not test(when, asked):
                break
        else:
            yield from members


def holds(when: Condition, asked: Asked) -> bool:
    """Every member that the condition gives is true of the request."""
    return all(test(when, asked) for test in _given(when))


def headers(rules: Iterable[Rule]) -> tuple[str, ...]:
    """The caller headers that some rule reads."""
    return tuple(sorted({name for rule in rules for name in rule.when.headers}))


def _given(when: Condition) -> tuple[Test, ...]:
    given, silent = asdict(when), asdict(_EMPTY)
    return tuple(test for member, test in TESTS.items() if given[member] != silent[member])


def _background(when: Condition, asked: Asked) -> bool:
    chore = asked.features.background
    return chore is not None and (ANY in when.background or chore in when.background)


TESTS: dict[str, Test] = {
    "background": _background,
    "profile": lambda when, asked: asked.profile in when.profile,
    "language": lambda when, asked: asked.language in when.language,
    "needs": lambda when, asked: asked.features.needs.issuperset(when.needs),
    "min_prompt_tokens": lambda when, asked: asked.features.prompt_tokens >= (when.min_prompt_tokens or 0),
    "max_prompt_tokens": lambda when, asked: asked.features.prompt_tokens <= (when.max_prompt_tokens or 0),
    "headers": lambda when, asked: asked.headers.items() >= when.headers.items(),
    "intent": lambda when, asked: asked.classification.top in when.intent,
    "min_confidence": lambda when, asked: asked.classification.intents[0][1] >= when.min_confidence,
    "min_difficulty": lambda when, asked: asked.classification.difficulty >= (when.min_difficulty or 0.0),
    "max_difficulty": lambda when, asked: asked.classification.difficulty <= (when.max_difficulty or 0.0),
}
"""Member of a condition -> its test, asked only where the member is given. Cheap facts come first."""

_when = attrgetter("when")

_EMPTY = Condition()
