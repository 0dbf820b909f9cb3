"""Words as points: those that are used alike lie near each other. A text is the sum of its words.

    word -> its row, else those of its pieces -> one integer of many lanes -> sum

Made for English: of a word in another alphabet nothing is known, and of other languages' words little.

vectors.bin: b"KVEC1\\n", a line with the width of a row and their number, the words' CRC-32s in order (4
bytes each, little endian), and for each the bytes of its row, 128 for nothing; rare words' rows are long,
those of `the` and `of` next to nothing. Distilled by tests/train/vectors.py from
all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from mmap import mmap

from msgspec import Struct

from proxy.routing.pieces import LONGEST, mapped, table
from proxy.routing.semantic import WORDS, Kept

KEPT = 4_096
"""Words of which the row is kept as an integer: 2 MB."""

_MAGIC, _FILE = b"KVEC1", "vectors.bin"
_NOTHING = 128


class Sum(Struct, frozen=True):
    """What the words of a text add up to."""

    raw: Sequence[int]
    """A lane each, with `zero` for nothing."""
    zero: int
    familiar: float
    """0..1 of its words that are known as they stand, not by their pieces: of English texts nearly all."""

    @property
    def lanes(self) -> list[int]:
        """What they add up to, with 0 for nothing."""
        return [lane - self.zero for lane in self.raw]


class Vectors:
    """Sums of words. Immutable once read, but for what it keeps of words."""

    def __init__(self, data: bytes | mmap) -> None:
        """Raises ValueError for what is no such file."""
        self.width, self._pieces, self._rows = table(data, _MAGIC, _FILE)
        self._row = Kept(self._read_row, KEPT).__getitem__

    def add(self, words: Iterable[str]) -> Sum | None:
        """The sum of at most WORDS words; None when none of them is known."""
        total = sum(map(self._row, words))
        lanes = memoryview(total.to_bytes(2 * (self.width + 3), "little")).cast("H").tolist()
        spelt, whole, count = lanes[-3:]
        if not count:
            return None
        return Sum(lanes[:-3], _NOTHING * count, whole / spelt)

    def _read_row(self, word: str) -> int:
        """A lane of 16 bits for each byte, which WORDS rows can't fill, and above them three that count:
        words with letters, those that are known as they stand, and those that are known at all."""
        letters = word.replace("0", "")[:LONGEST]
        places = self._pieces.places(word)
        spread = bytearray(2 * (self.width + 3))
        spread[-6::2] = bytes([letters.isalpha(), len(places) == 1, bool(places)])
        if places:
            rows = [self._rows[place * self.width : (place + 1) * self.width] for place in places]
            spread[:-6:2] = rows[0] if len(rows) == 1 else _added(rows)
        return int.from_bytes(spread, "little")


def _added(rows: Sequence[memoryview]) -> bytes:
    sums = [sum(column) - _NOTHING * (len(rows) - 1) for column in zip(*rows, strict=True)]
    return bytes([min(255, max(0, one)) for one in sums])


assert WORDS * 255 < 1 << 16


@lru_cache(1)
def shipped() -> Vectors:
    """Those that come with the package."""
    return Vectors(mapped(_FILE))
