"""Words looked up in a file, whole or by their pieces: the longest that stand there, from the left.

    slower -> slower? no. slowe? no. slow -> ##er -> two places

A file lists the CRC-32s of what it knows, in order; pieces within a word are written ##so.
"""

from __future__ import annotations

from bisect import bisect_left
from mmap import ACCESS_READ, mmap
from pathlib import Path
from zlib import crc32

LONGEST = 32
"""Letters of a word that are read."""

_WITHIN = crc32(b"##")
"""What the CRC-32 of a piece within a word goes on from."""

_BUCKET = 20
"""Bits of a checksum below those that say where to look: so many are 1 / 4096 of the list, some twenty."""


class Pieces:
    """Places of words in such a list. Immutable."""

    def __init__(self, listed: memoryview) -> None:
        """`listed`: the CRC-32s, little endian."""
        self._listed = known = listed.cast("I")
        self._starts = [bisect_left(known, first << _BUCKET) for first in range((1 << 32 - _BUCKET) + 1)]

    def places(self, word: str) -> list[int]:
        """Those of a word, digits aside: one when it is known as it stands, none when nothing is."""
        letters = word.replace("0", "")[:LONGEST].encode("utf-8", "replace")
        listed, starts, found = self._listed, self._starts, []
        start, end, before = 0, (size := len(letters)), 0
        while start < end:
            key = crc32(letters[start:end], before)
            last = starts[(key >> _BUCKET) + 1]
            place = bisect_left(listed, key, starts[key >> _BUCKET], last)
            if place != last and listed[place] == key:
                found.append(place)
                start, end, before = end, size, _WITHIN
                continue
            end -= 1
            while letters[end] & 0xC0 == 0x80:  # amid a character
                end -= 1
        return found if start == size else []


def table(data: bytes | mmap, magic: bytes, name: str) -> tuple[int, Pieces, memoryview]:
    """A file of words and their rows: how many bytes a row has, where a word's is, and the rows. It is a line
    of `magic`, one with that width and the number of words, the list, and the rows. Raises ValueError, which
    names the file, for anything else."""
    found, sizes, _ = data[:64].split(b"\n", 2)
    if found != magic:
        raise ValueError(f"{name}: not of this version")
    width, count = map(int, sizes.split())
    start = len(found) + len(sizes) + 2
    if len(data) != start + count * (4 + width):
        raise ValueError(f"{name}: cut short")
    rows = start + 4 * count
    return width, Pieces(memoryview(data)[start:rows]), memoryview(data)[rows:]


def mapped(name: str) -> mmap:
    """A file of this package: looked at where it is, which processes share."""
    with Path(__file__).with_name(name).open("rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)
