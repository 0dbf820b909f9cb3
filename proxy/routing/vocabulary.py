"""Words by what they mean: what each says of every intent, in fifteen languages, seen in an exemplar or not.

    word -> its place, or those of its pieces -> a row for each -> lanes of `Semantic`, to be added up

`recipe`, `Rezept` and `recette` lie near each other in the model that this was made from: what exemplars say
of one of them is said of all. There are no vectors left to be read: what a linear softmax makes of a word is
a few numbers, always the same, and only they were kept.

vocabulary.bin: b"KVOC1\\n", a line with the number of intents and of words, the words' CRC-32s in order (4
bytes each, little endian), and for each its row, one byte per intent, 128 for nothing, in the steps of
semantic.bin, with which it is made by tests/train/train.py.
"""

from __future__ import annotations

from functools import lru_cache
from mmap import mmap

from proxy.routing.pieces import mapped, table

_MAGIC, _FILE = b"KVOC1", "vocabulary.bin"


class Vocabulary:
    """Rows by word, as integers that have a lane of 32 bits per intent. Immutable."""

    def __init__(self, data: bytes | mmap) -> None:
        """Raises ValueError for what is no such file."""
        self.intents, pieces, self._rows = table(data, _MAGIC, _FILE)
        self._places = pieces.places
        self._nothing = sum(128 << 32 * lane for lane in range(self.intents))

    def row(self, word: str) -> int:
        """What a word says; 0 of one that is unknown."""
        total, size, rows = 0, self.intents, self._rows
        for place in self._places(word):
            total += spread(rows[place * size : place * size + size]) - self._nothing
        return total


def spread(row: bytes | memoryview) -> int:
    """A lane of 32 bits for each byte."""
    wide = bytearray(4 * len(row))
    wide[::4] = row
    return int.from_bytes(wide, "little")


def empty(intents: int) -> Vocabulary:
    """One that knows no word."""
    return Vocabulary(b"%b\n%d 0\n" % (_MAGIC, intents))


@lru_cache(1)
def shipped() -> Vocabulary:
    """The one that comes with the package."""
    return Vocabulary(mapped(_FILE))
