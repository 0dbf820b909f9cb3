"""Words looked up in a file, whole or by their pieces: the longest that stand there, from the left.

    slower -> slower? no. slowe? no. slow -> ##er -> two places

A file lists the CRC-32s of what it knows, in order; pieces within a word are written ##so.
"""

from __future__ import annotations

from bisect import bisect_left
from zlib import crc32

LONGEST = 32
"""Letters of a word that are read."""

_WITHIN = crc32(b"##")
"""What the CRC-32 of a piece within a word goes on from."""


class Pieces:
    """Places of words in such a list. Immutable."""

    def __init__(self, listed: memoryview) -> None:
        """`listed`: the CRC-32s, little endian."""
        self._listed = listed.cast("I")
        self._count = len(self._listed)

    def places(self, word: str) -> list[int]:
        """Those of a word, digits aside: one when it is known as it stands, none when nothing is."""
        word = word.replace("0", "")[:LONGEST]
        whole = self._find(word)
        return [whole] if whole >= 0 else self._split(word)

    def _split(self, word: str) -> list[int]:
        listed, found = self._listed, []
        start, end, before = 0, len(word) - 1, 0
        while start < end:
            key = crc32(word[start:end].encode("utf-8", "replace"), before)
            place = bisect_left(listed, key)
            if place < self._count and listed[place] == key:
                found.append(place)
                start, end, before = end, len(word), _WITHIN
            else:
                end -= 1
        return found if start == len(word) else []

    def _find(self, word: str) -> int:
        key = crc32(word.encode("utf-8", "replace"))
        place = bisect_left(self._listed, key)
        return place if place < self._count and self._listed[place] == key else -1
