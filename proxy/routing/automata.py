"""Many expressions, looked for in one go through a text or nearly so: three RE2 Sets share them.

A Set is an automaton whose states are made as texts come that need them, one for each combination of
expressions that may be under way. An ask in new words meets new states, at a microsecond each; several small
automata have far fewer of them together than one has, and take a look each for it. 500 characters by the
words and patterns of intents.yml:

    Sets                                       1      2      3      4
    us, p50, never seen, after 900 others    111     93     64     62
    us, where all states are known             6     11     15     19
    MB of states after 1,900 asks           20.6   15.0   11.7   10.5
"""

from __future__ import annotations

from collections.abc import Callable

import re2

SETS = 3
MAX_MEMORY = 12 << 20
"""Bytes that each Set and its cache of states may come to have; a full cache is emptied, nothing fails. At
half of what 2,000 different asks fill it is emptied over and over, and an ask costs several times as much."""

NEVER = r"\z."
"""Stands in no text."""

Found = tuple[tuple[int, ...], ...]
"""Of each Set, the expressions that were found, as it numbers them itself."""


class Automata:
    """Expressions by number, from 0, as one `re2.Set` would number them."""

    def __init__(self) -> None:
        self._sets = [re2.Set.SearchSet(_options()) for _ in range(SETS)]
        # Past their wrapper, which asks each time whether the text is a `str`: a tenth of a look.
        self._looks: list[Callable[[bytes], list[int]]] = [part._set.Match for part in self._sets]
        self._count = 0

    def add(self, expression: str) -> None:
        """One more; raises re2.error for one that is not RE2's syntax."""
        self._sets[self._count % SETS].Add(expression)
        self._count += 1

    def compile(self) -> None:
        """After the last; raises re2.error for more than fits into `MAX_MEMORY`."""
        while self._count < SETS:  # RE2 complains of a Set of nothing
            self.add(NEVER)
        for part in self._sets:
            part.Compile()

    def match(self, text: bytes) -> Found:
        """What is found of each Set: equal texts give equal finds, and so do most others."""
        return tuple([tuple(look(text)) for look in self._looks])

    def numbers(self, found: Found) -> list[int]:
        """The numbers of those that were found, rising."""
        return sorted([at + SETS * number for at, part in enumerate(found) for number in part])


def _options() -> re2.Options:
    options = re2.Options()
    options.case_sensitive = True
    options.never_capture = True
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    return options
