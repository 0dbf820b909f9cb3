"""What routing remembers: decisions it took a moment ago, and which model a conversation is with.

Both are bounded maps with a time to live; the least recently used entry goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b
from typing import Generic, TypeVar

from msgspec import Struct

from proxy.routing.scoring import Ranking
from proxy.types import Classification, Features

Value = TypeVar("Value")
Clock = Callable[[], float]
"""Monotonic seconds."""


class Recent(Generic[Value]):
    """A bounded map whose entries live for `ttl` seconds after they were put."""

    def __init__(self, ttl: float, size: int, clock: Clock) -> None:
        self._ttl = ttl
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[Hashable, tuple[float, Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Value | None:
        """The entry, when it is there and alive."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] < self._clock():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: Hashable, value: Value) -> None:
        """Adds or renews the entry; the least recently used one makes room."""
        if self._size <= 0:
            return
        self._entries[key] = (self._clock() + self._ttl, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def keep(self, wanted: Callable[[Value], bool]) -> None:
        """Drops every entry that is no longer wanted: after a reload."""
        for key in [k for k, (_, value) in self._entries.items() if not wanted(value)]:
            del self._entries[key]


class Decision(Struct, frozen=True):
    """What the decision cache holds: enough to plan again without deciding again."""

    model: str
    classification: Classification
    ranking: Ranking


def decision_key(features: Features, *more: Hashable) -> bytes:
    """Requests with equal keys get equal decisions: the normalised ask and whatever steps read of it.

    Token counts are compared by their order of magnitude, so that a growing conversation hits, too.
    `more` is whatever else the ladder in force depends on.
    """
    facts = (
        features.prompt_tokens.bit_length(),
        features.completion_tokens.bit_length(),
        sorted(features.needs),
        features.background,
        features.tool_loop,
        features.context,
        more,
    )
    digest = blake2b(" ".join(features.ask.casefold().split()).encode("utf-8", "replace"), digest_size=16)
    digest.update(repr(facts).encode("utf-8", "replace"))
    return digest.digest()
