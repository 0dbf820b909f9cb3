"""What an ask's words mean, learned: hashed words, parts of words and pairs of words -> intents.

    ask -> words -+- each once: itself, its beginnings, its ending            \
                  +- the first six: that they stand there                      >-> slots -> their rows \
                  +- neighbours near the ends, the first and last, how many   /                        +-> sum
                  +- what the first and the last of them mean -> rows of the vocabulary ---------------/

A row is one integer of many lanes, so that one addition adds up all intents and counts the marks. Everything
that one word says is added up once and kept by word; what is left to do per ask is a look-up per word. The
vocabulary's rows are no marks: a word counts as one, whether anybody knows its meaning or not.

semantic.bin: b"KSEM2\\n", a line of intents, a line of floats (bias per intent, then the step of a weight),
and for each slot one byte per intent, 128 for nothing. Made by tests/train/train.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from math import exp, log, sqrt
from pathlib import Path
from typing import TypeVar
from zlib import crc32

from proxy.routing import vocabulary
from proxy.routing.ask import bounded
from proxy.routing.text import fold
from proxy.routing.vocabulary import Vocabulary, spread

READ, WORDS = 1_000, 240
"""Characters of an ask that are read, and words of those that count."""

SLOTS = 1 << 16

KEPT = 8_192
"""Words of which it is kept what they say: 1 MB."""

LEAST = -4.0
"""Log-probability below which nothing is told apart."""

_HEAD, _NEAR_START, _NEAR_END = 6, 28, 12
"""Words that count once more for standing at the beginning, and those whose neighbours count."""

_FIRST, _LAST = 12, 8
"""Words whose meaning counts. With 28 and 12 it would be worth 0.01 of macro-F1 more to exemplars and nothing
to others' asks, and cost twice as much."""

_LIFT = 1 << 24
"""What lanes begin with, for those of the vocabulary may be below nothing."""

_WIDE = "\u0e00"
"""Scripts from here on don't part words by spaces, or glue them together: each character is a word."""

_WORD = re.compile(
    f'[a-z0]+|[?!;+:"|]|[\u00c0-\u060b\u060d-\u061a\u0620-\u0963\u0966-\u0dff]+|[{_WIDE}-\U0010ffff]'
)
_MAGIC = b"KSEM2\n"

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def words(text: str) -> list[str]:
    """The words of an ask, at most WORDS: in lower case, digits as 0, and of signs only their kind."""
    plain = fold(bounded(text, READ)).translate(_SIGNS)
    for sign, apart in _APART:
        if sign in plain:
            plain = plain.replace(bytes((sign,)), apart)
    if plain.isascii():
        return plain.decode().split(None, WORDS)[:WORDS]
    return _WORD.findall(plain.decode("utf-8", "ignore"))[:WORDS]


def slots(text: str) -> list[int]:
    """The marks of an ask by slot, as `Semantic.read` adds them up and as it was trained."""
    listed = words(text)
    near = [_slot(word) for word in _near(listed)]
    found = [slot for word in dict.fromkeys(listed) for slot in _parts(word)]
    return [*found, *_pairs(near), *_shape(near, len(listed))]


def ends(listed: list[str]) -> set[str]:
    """The words whose meaning counts: what an ask wants stands at its beginning or at its end, and between
    them is often material."""
    return set(listed if len(listed) <= _FIRST + _LAST else listed[:_FIRST] + listed[-_LAST:])


class Semantic:
    """A linear softmax over `slots` and a vocabulary. Immutable once read, but for what it keeps of words."""

    def __init__(self, data: bytes, known: Vocabulary | None = None) -> None:
        """`known`: words in the steps of this file. Raises ValueError for what is no such file."""
        magic, names, floats, table = data.split(b"\n", 3)
        if magic + b"\n" != _MAGIC:
            raise ValueError("semantic.bin: not of this version")
        self.intents = tuple(names.decode().split())
        *self._bias, self._step = map(float, floats.split())
        if len(table) != SLOTS * len(self.intents) or len(self._bias) != len(self.intents):
            raise ValueError("semantic.bin: cut short")
        known = known or vocabulary.empty(len(self.intents))
        self._row = row = _rows(table, len(self.intents)).__getitem__
        self._slot = Kept(_slot).__getitem__
        self._said = Kept[str, int](lambda word: sum(map(row, _parts(word)))).__getitem__
        self._means = Kept(known.row, KEPT // 2).__getitem__
        self._lift = sum(_LIFT << 32 * lane for lane in range(len(self.intents)))

    def read(self, text: str) -> dict[str, float]:
        """Log-probability of each intent, LEAST or more."""
        return self.of(words(text))

    def of(self, listed: list[str]) -> dict[str, float]:
        """The same, where the text's `words` are known."""
        total = self._sum(listed)
        lanes = memoryview(total.to_bytes(4 * len(self.intents) + 4, "little")).cast("I")
        marks = lanes[-1]
        step, zero = self._step / sqrt(marks or 1), 128 * marks + _LIFT
        sums = [bias + step * (lane - zero) for bias, lane in zip(self._bias, lanes, strict=False)]
        most = max(sums)
        whole = most + log(sum([exp(one - most) for one in sums]))
        return {
            name: told if (told := one - whole) > LEAST else LEAST
            for name, one in zip(self.intents, sums, strict=True)
        }

    def _sum(self, listed: list[str]) -> int:
        near = list(map(self._slot, _near(listed)))
        total = sum(map(self._said, set(listed)), self._lift)
        total = sum(map(self._means, ends(listed)), total)
        total = sum(map(self._row, _pairs(near)), total)
        return sum(map(self._row, _shape(near, len(listed))), total)


class Kept(dict[_Key, _Value]):
    """Values by key, each worked out when it is first asked for; emptied when there are too many."""

    def __init__(self, work_out: Callable[[_Key], _Value], most: int = KEPT) -> None:
        super().__init__()
        self._work_out, self._most = work_out, most

    def __missing__(self, key: _Key) -> _Value:
        if len(self) >= self._most:
            self.clear()
        value = self[key] = self._work_out(key)
        return value


def _rows(table: bytes, intents: int) -> list[int]:
    """By slot: a byte per intent -> a lane of four bytes per intent, and a 1 on top that counts rows. Many
    are alike, and those are kept once."""
    made = Kept[bytes, int](lambda row: spread(row) + (1 << 32 * intents), SLOTS)
    return [made[table[start : start + intents]] for start in range(0, len(table), intents)]


@lru_cache(1)
def shipped() -> Semantic:
    """The one that comes with the package."""
    return Semantic(Path(__file__).with_name("semantic.bin").read_bytes(), vocabulary.shipped())


def _parts(word: str) -> tuple[int, ...]:
    """The slots of what a word says wherever it stands: itself, its beginnings, its ending."""
    raw = word.encode()
    whole = crc32(raw) % SLOTS
    if len(word) <= 4 or word >= _WIDE:
        return (whole,)
    if len(raw) == len(word):  # a character is a byte
        start, end, longer = raw[:4], raw[-3:], raw[:6]
    else:
        start, end, longer = word[:4].encode(), word[-3:].encode(), word[:6].encode()
    parts = whole, crc32(start, 1) % SLOTS, crc32(end, 2) % SLOTS
    return parts if len(word) < 7 else (*parts, crc32(longer, 3) % SLOTS)


def _near(listed: list[str]) -> list[str]:
    """The words whose neighbours count: an ask says what it wants at its beginning or at its end."""
    return listed if len(listed) <= _NEAR_START + _NEAR_END else listed[:_NEAR_START] + listed[-_NEAR_END:]


def _pairs(hashed: list[int]) -> set[int]:
    """The slots of neighbours, from the words' own."""
    return {(left * 7_989 + right) % SLOTS for left, right in pairwise(hashed)}


def _shape(near: list[int], number: int) -> list[int]:
    """The slots of where words stand, and of their `number`, in steps of a half octave; from their own."""
    found = [(number**2).bit_length(), *{(slot * 15_013 + 1) % SLOTS for slot in near[:_HEAD]}]
    if near:
        found += ((near[0] * 25_013 + 2) % SLOTS, (near[-1] * 25_013 + 3) % SLOTS)
    return found


def _slot(word: str) -> int:
    return crc32(word.encode()) % SLOTS


def _signs() -> bytes:
    """Folded bytes -> letters as they are, digits as 0, brackets and the like as ;, operators as +."""
    kinds = dict.fromkeys(b"0123456789", b"0") | dict.fromkeys(b"{}[]();<>_`", b";")
    kinds |= dict.fromkeys(b"+*^%=", b"+") | {ord("\n"): b"|"}
    kept = b'abcdefghijklmnopqrstuvwxyz?!:"'
    return bytes(
        ord(kinds[byte]) if byte in kinds else byte if byte in kept or byte >= 0x80 else 0x20
        for byte in range(256)
    )


_SIGNS = _signs()
_APART = [(sign, b" %c " % sign) for sign in b'?!;+:"|']
"""Signs as numbers: whether bytes hold other bytes is asked by way of an exception."""
