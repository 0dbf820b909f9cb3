"""What an ask's words mean, learned: hashed words, beginnings of words and pairs of words -> intents.

semantic.bin: b"KSEM1\\n", a line of intents, a line of floats (bias per intent, then the step of a weight),
and for each slot one unsigned 32-bit weight per intent, little-endian, 128 for nothing. A row is one integer
of many lanes, so that one addition adds up all intents. Made by tests/train/train.py.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from math import exp, log, sqrt
from pathlib import Path
from zlib import crc32

from proxy.routing.ask import bounded
from proxy.routing.text import fold

READ, TOKENS = 1_000, 300
"""Characters of an ask that are read, and words of those that count."""

LEAST = -4.0
"""Log-probability below which nothing is told apart."""

_TOKEN = re.compile(r"[a-z]+|[0-9]|[^\W\d_a-z]+|[^\w\s]")
_MAGIC = b"KSEM1\n"


def marks(text: str) -> set[str]:
    """The features of an ask."""
    words: list[str] = []
    for word in _TOKEN.findall(fold(bounded(text, READ)).decode("utf-8", "ignore"))[:TOKENS]:
        if word[0] < "\u0e00":
            words.append(word)
        else:
            words.extend(word)
    found = set(words)
    found.update([f"{word[:4]}~" for word in words if len(word) > 4])
    found.update([f"{first} {second}" for first, second in pairwise(words)])
    if words:
        found.update((f"^{words[0]}", f"${words[-1]}", "^" + " ".join(words[:2])))
    return found


class Semantic:
    """A linear softmax over `marks`. Immutable once read."""

    def __init__(self, data: bytes) -> None:
        """Raises ValueError for what is no such file."""
        magic, names, floats, table = data.split(b"\n", 3)
        if magic + b"\n" != _MAGIC:
            raise ValueError("semantic.bin: not of this version")
        self.intents = tuple(names.decode().split())
        *self._bias, self._step = map(float, floats.split())
        self._width = 4 * len(self.intents)
        self._table = table
        self._slots = len(table) // self._width

    def read(self, text: str) -> dict[str, float]:
        """Log-probability of each intent, LEAST or more."""
        found = marks(text)
        width, slots, table, number = self._width, self._slots, self._table, int.from_bytes
        rows = [crc32(mark.encode()) % slots * width for mark in found]
        total = sum([number(table[row : row + width], "little") for row in rows])
        lanes = memoryview(total.to_bytes(width, "little")).cast("I")
        step, zero = self._step / sqrt(len(rows) or 1), 128 * len(rows)
        sums = [bias + step * (lane - zero) for bias, lane in zip(self._bias, lanes, strict=True)]
        most = max(sums)
        whole = most + log(sum([exp(one - most) for one in sums]))
        return {name: max(LEAST, one - whole) for name, one in zip(self.intents, sums, strict=True)}


@lru_cache(1)
def shipped() -> Semantic:
    """The one that comes with the package."""
    return Semantic(Path(__file__).with_name("semantic.bin").read_bytes())
