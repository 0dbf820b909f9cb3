"""A count of the last so many seconds, kept in twelve coarse buckets, so that it costs the same at any rate.

What is counted leaves a twelfth of the window at a time: it stays for 11/12 to 12/12 of the window.
"""

from __future__ import annotations

BUCKETS = 12


class Window:
    """Counts events. `now` is seconds on any clock that never goes back."""

    __slots__ = ("_buckets", "_slot", "_width", "held")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self._slot = 0
        self.held = 0
        """How many there were when it was last looked at, or more: 0 is certain."""
        self._buckets = [0] * BUCKETS

    def add(self, now: float) -> None:
        """One more, now."""
        slot = int(now / self._width)
        if slot != self._slot:
            self._move(slot)
        self._buckets[slot % BUCKETS] += 1
        self.held += 1

    def count(self, now: float) -> int:
        """How many there were."""
        slot = int(now / self._width)
        if slot != self._slot:
            self._move(slot)
        return self.held

    def peek(self, now: float) -> int:
        """The same, leaving everything as it is."""
        gone = range(self._slot + 1, min(int(now / self._width), self._slot + BUCKETS) + 1)
        return self.held - sum(self._buckets[slot % BUCKETS] for slot in gone)

    def clear(self) -> None:
        """Forgets all."""
        self.held = 0
        self._buckets = [0] * BUCKETS

    def _move(self, slot: int) -> None:
        for gone in range(self._slot + 1, min(slot, self._slot + BUCKETS) + 1):
            bucket = gone % BUCKETS
            self.held -= self._buckets[bucket]
            self._buckets[bucket] = 0
        self._slot = slot
