"""Reads an ask and says which pieces of evidence hold in it.

    text -> passages -> the automata of all words and patterns -> atoms -> clues whose atoms are all there

Automata are linear in the text and remember the states that they went through, so that they are fast where
texts are alike (`automata`). Two things spoil that, both measured. A gap within a pattern (`.*`, `.{0,40}`)
multiplies the states: with six of them an ask took 3,000 us; they are refused here, and `near` says the same.
And words that can't occur make every new state dearer: so those in other than Latin letters have automata of
their own, which only texts in other scripts are shown, and unseen asks cost a fifth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

import re2
from msgspec import Struct

from proxy.errors import ConfigError
from proxy.routing.ask import bounded
from proxy.routing.automata import MAX_MEMORY, NEVER, SETS, Automata, Found
from proxy.routing.lexicon import Pattern
from proxy.routing.text import fold, fold_pattern, passages, word_pattern

READ = 2_000
"""Characters of an ask that are read: head, tail and a piece between. More changed no answer."""

TOLD = 256
"""Combinations of atoms in a passage whose clues are kept: every second passage holds a known one."""

_NAMED = re.compile(r"(\^?)<(\w+)>")
_AT_START = r"^[ -/:-@\[-`{-~]*"
"""Blanks and punctuation may stand before what begins a passage."""

_GAP = re.compile(r"(?<!\\)\.(?:[*+]|\{)")


class Clue(Struct, frozen=True, eq=False):
    """One piece of evidence, compiled. `owner` is whatever the caller named it."""

    owner: str
    weight: float
    label: str


class Reader:
    """Which clues a text holds, and how much each counts for where it stood (0..1)."""

    def __init__(
        self,
        patterns: Iterable[tuple[str, str, Pattern]],
        words: Mapping[str, Iterable[Iterable[str]]],
        source: str,
    ) -> None:
        """`patterns` are (owner, path in the file, pattern). Raises ConfigError with every problem."""
        self._problems: list[str] = []
        self._source = source
        self._words = words
        self._alternatives = lru_cache(lambda name: _alternatives(words[name]))
        self._other, self._ascii = Automata(), Automata()
        self._atoms: dict[str, int] = {}
        self._clues: list[tuple[tuple[Clue, int | None], ...]] = []
        """Of each atom, the clues that begin with it, and the atom that must stand in the same passage."""
        for owner, path, pattern in patterns:
            self._add(owner, path, pattern)
        self._compile()
        self._told = lru_cache(TOLD)(self._tell)

    def read(self, text: str) -> dict[Clue, float]:
        """The clues of `text`, each with the most that a passage in which it stood counts."""
        found: dict[Clue, float] = {}
        folded = fold(bounded(text, READ))
        plain = folded.isascii()
        for place, passage in passages(folded):
            others = () if plain or passage.isascii() else self._other.match(passage)
            for clue in self._told(self._ascii.match(passage), others):
                if clue not in found or found[clue] < place:
                    found[clue] = place
        return found

    def _tell(self, found: Found, others: Found) -> tuple[Clue, ...]:
        """The clues of a passage in which the automata found these, the other one if it was shown to it."""
        atoms = self._ascii.numbers(found) + self._other.numbers(others)
        clues, held = self._clues, set(atoms)
        return tuple([clue for atom in atoms for clue, near in clues[atom] if near is None or near in held])

    def _add(self, owner: str, path: str, pattern: Pattern) -> None:
        first = self._atom(pattern.re, f"{path}.re")
        near = None if pattern.near is None else self._atom(pattern.near, f"{path}.near")
        if first is not None:
            clue = Clue(owner, pattern.weight, f"{owner}:{pattern.name or pattern.re[:40]}")
            self._clues[first] += ((clue, near),)

    def _atom(self, expression: str, path: str) -> int | None:
        """The automata's number of an expression; equal ones share it."""
        if expression in self._atoms:
            return self._atoms[expression]
        if _GAP.search(expression):
            self._refuse(path, expression, "has a gap (.* or .{m,n}); put what follows it under `near`")
            return None
        try:
            self._ascii.add(self._spelt_out(expression, path, 0))
            self._other.add(self._spelt_out(expression, path, 1) if _NAMED.search(expression) else NEVER)
        except re2.error:
            self._refuse(path, expression, "is not RE2 syntax")
            return None
        self._atoms[expression] = len(self._clues)
        self._clues.append(())
        return self._atoms[expression]

    def _spelt_out(self, expression: str, path: str, alphabet: int) -> str:
        """The expression with its `<name>`s replaced: 0 by words in ASCII, 1 by the others."""

        def words(named: re.Match[str]) -> str:
            start = _AT_START if named[1] else ""
            if named[2] in self._words:
                return f"{start}(?:{self._alternatives(named[2])[alphabet]})"
            if alphabet == 0:
                self._refuse(path, named[0], "names no list of `words`")
            return ""

        return _NAMED.sub(words, fold_pattern(expression))

    def _refuse(self, path: str, expression: str, why: str) -> None:
        self._problems.append(f"{self._source}: {path}: {expression!r} {why}")

    def _compile(self) -> None:
        if not self._problems:
            try:
                self._other.compile()
                self._ascii.compile()
            except re2.error:
                most = SETS * MAX_MEMORY
                self._problems.append(f"{self._source}: the patterns together need over {most} bytes")
        if self._problems:
            raise ConfigError(self._problems)


def _alternatives(lines: Iterable[Iterable[str]]) -> tuple[str, str]:
    """Regular expressions of a list of words: of those that are ASCII once folded, and of the others."""
    patterns = list(dict.fromkeys(word_pattern(word) for line in lines for word in line))
    others = [pattern for pattern in patterns if not pattern.isascii()]
    return "|".join(filter(str.isascii, patterns)) or NEVER, "|".join(others) or NEVER
