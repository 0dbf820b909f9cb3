"""A lexicon made ready: who reads its patterns, and what is wrong with it.

intents, difficulty -> what an ask is about: every turn is read for it
follow_up, struggle -> how it takes the answer before it: turns that have one before them
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy.errors import ConfigError
from proxy.routing.facts import FACTS
from proxy.routing.lexicon import Lexicon, Pattern
from proxy.routing.likeness import unusable
from proxy.routing.reader import Reader

FOLLOW_UP, STRUGGLE, HARDNESS = "follow_up", "struggle", "difficulty"
"""Owners of evidence that are no intents."""
OF_CONVERSATIONS = frozenset({FOLLOW_UP, STRUGGLE})


def readers(lexicon: Lexicon, source: str) -> tuple[Reader, Reader]:
    """Who reads what asks are about, and who also reads later turns for how they take the answer before them.
    Raises ConfigError with what is wrong with the patterns of either."""
    patterns, built = list(_patterns(lexicon)), []
    problems: list[str] = []
    for of_conversations in (False, True):
        own = [pattern for pattern in patterns if (pattern[0] in OF_CONVERSATIONS) is of_conversations]
        try:
            built.append(Reader(own, lexicon.words, source))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return built[0], built[1]


def _patterns(lexicon: Lexicon) -> Iterator[tuple[str, str, Pattern]]:
    """(owner, path, pattern) of everything in the lexicon."""
    listed = [(name, f"intents.{name}.patterns", spec.patterns) for name, spec in lexicon.intents.items()]
    listed.append((FOLLOW_UP, FOLLOW_UP, lexicon.follow_up))
    listed.append((STRUGGLE, f"{STRUGGLE}.patterns", lexicon.struggle.patterns))
    listed.append((HARDNESS, f"{HARDNESS}.patterns", lexicon.difficulty.patterns))
    for owner, path, patterns in listed:
        for index, pattern in enumerate(patterns):
            whole = Pattern(pattern) if isinstance(pattern, str) else pattern
            yield owner, f"{path}[{index}]", whole


def check(lexicon: Lexicon, source: str) -> None:
    """Raises ConfigError with everything that is wrong beside the patterns."""
    problems = []
    defaults = [name for name, spec in lexicon.intents.items() if spec.default]
    if len(defaults) != 1:
        problems.append(f"{source}: intents: exactly one needs `default: true`, not {len(defaults)}")
    listed = [(f"intents.{name}", spec.facts) for name, spec in lexicon.intents.items()]
    listed += [(STRUGGLE, lexicon.struggle.facts), (HARDNESS, lexicon.difficulty.facts)]
    for path, facts in listed:
        for index, fact in enumerate(facts):
            if fact.fact not in FACTS:
                problems.append(
                    f"{source}: {path}.facts[{index}]: {fact.fact!r} is none of {', '.join(FACTS)}"
                )
    for name, spec in lexicon.intents.items():
        if not 0.0 <= spec.difficulty <= 1.0:
            problems.append(f"{source}: intents.{name}.difficulty: {spec.difficulty} is not within 0..1")
        if name in (FOLLOW_UP, STRUGGLE, HARDNESS):
            problems.append(f"{source}: intents.{name}: the name is taken")
        problems += [f"{source}: intents.{name}.{told}" for told in unusable(spec.examples)]
    if problems:
        raise ConfigError(problems)
