"""What routing remembers: decisions it took a moment ago, which model a conversation is with, what it saw.

The first two are bounded maps with a time to live; the least recently used entry goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import islice
from struct import pack, unpack
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from proxy.routing.features import READS
from proxy.routing.pool import Pool
from proxy.routing.scoring import Ranking
from proxy.types import ChatRequest, Classification, Features

REMEMBERED = 16_384
"""Bytes of a body up to which its decision is remembered: longer ones are a conversation's or an agent's,
and seldom come twice."""

Value = TypeVar("Value")
Shared = TypeVar("Shared", bound=Hashable)
Clock = Callable[[], float]
"""Monotonic seconds."""


class Entry(Struct, Generic[Value], gc=False):
    """A value and when it is too old. Without the collector's header: values here form no cycles."""

    until: float
    value: Value


class Recent(Generic[Value]):
    """A bounded map whose entries live for `ttl` seconds after they were put.

    A plain dict in the order of use, at less than half the memory of an OrderedDict of tuples. When it is
    full an eighth goes at once: to find the first entry of a dict is slow while those before it are holes.
    """

    def __init__(self, ttl: float, size: int, clock: Clock) -> None:
        self._ttl = ttl
        self.size = size
        """Entries at most; 0 keeps nothing."""
        self._clock = clock
        self._entries: dict[Hashable, Entry[Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Value | None:
        """The entry, when it is there and alive."""
        entry = self._entries.pop(key, None)
        if entry is None or entry.until < self._clock():
            return None
        self._entries[key] = entry
        return entry.value

    def peek(self, key: Hashable) -> Value | None:
        """The same, for who only looks at it: it is as little used as before."""
        entry = self._entries.get(key)
        return None if entry is None or entry.until < self._clock() else entry.value

    def keys(self) -> list[Any]:
        """Of all entries, also of those that are too old; the least recently used first."""
        return list(self._entries)

    def put(self, key: Hashable, value: Value, since: float | None = None) -> None:
        """Adds or renews the entry, which is true `since` then, or now; the least recently used make room."""
        if self.size <= 0:
            return
        entries = self._entries
        entries.pop(key, None)
        if len(entries) >= self.size:
            for old in list(islice(entries, max(1, self.size // 8))):
                del entries[old]
        entries[key] = Entry((self._clock() if since is None else since) + self._ttl, value)

    def keep(self, wanted: Callable[[Value], bool]) -> None:
        """Drops every entry that is no longer wanted: after a reload."""
        self._entries = {key: entry for key, entry in self._entries.items() if wanted(entry.value)}

    def bound(self, ttl: float, size: int) -> None:
        """A reload: other bounds. No entry lives longer than it was to; the least recently used make room."""
        self._ttl, self.size = ttl, size
        latest = self._clock() + ttl
        for entry in self._entries.values():
            entry.until = min(entry.until, latest)
        for old in list(islice(self._entries, max(len(self._entries) - size, 0))):
            del self._entries[old]


class Told(Recent[Value]):
    """A map whose news others are told: of each entry that is put as of now, `tell` gets the key."""

    def __init__(self, ttl: float, size: int, clock: Clock) -> None:
        super().__init__(ttl, size, clock)
        self.tell: Callable[[Any], None] = lambda key: None

    def put(self, key: Hashable, value: Value, since: float | None = None) -> None:
        """As without them; what is true since some other moment came from others."""
        super().put(key, value, since)
        if since is None and self.size > 0:
            self.tell(key)


class Once:
    """One object for all values that are equal: what many entries have in common is kept once."""

    def __init__(self, most: int = 4096) -> None:
        self._known: dict[Any, Any] = {}
        self._most = most

    def __call__(self, value: Shared) -> Shared:
        """The one that was given first; with too many, all are forgotten, and none is wrong for it."""
        if len(self._known) >= self._most:
            self._known.clear()
        first: Shared = self._known.setdefault(value, value)
        return first


class Decision(Struct, frozen=True, gc=False):
    """What the decision cache holds: enough to plan again without deciding again, or reading the request.

    There may be ten thousand of them, so totals are packed, a third of what they cost as a dict, and the
    rest is shared: pools by nature, classifications as far as evidence repeats itself.
    """

    step: str
    """The rung that decided."""
    model: str
    pool: Pool
    facts: Features
    """The request's, without its words."""
    classification: Classification
    models: tuple[str, ...]
    """By total, best first."""
    totals: bytes
    spoken: str | None = None
    """The ask's language, if a rule looked at it."""

    def ranking(self) -> Ranking:
        """As it was when it was decided."""
        models = self.models
        return dict(zip(models, unpack(f"{len(models)}d", self.totals), strict=True))


def decision(
    step: str,
    model: str,
    pool: Pool,
    features: Features,
    classification: Classification,
    ranking: Ranking,
    once: Once,
    spoken: str | None = None,
) -> Decision:
    """Packs one."""
    facts = once(msgspec.structs.replace(features, ask="", context=(), instructions=""))
    totals = pack(f"{len(ranking)}d", *ranking.values())
    return Decision(step, model, pool, facts, classification, once(tuple(ranking)), totals, spoken)


class Glance(Generic[Value]):
    """A value that is worked out anew when it is older than `ttl` seconds: observations move slowly."""

    def __init__(self, look: Callable[[], Value], ttl: float, clock: Clock) -> None:
        self._look = look
        self._ttl = ttl
        self._clock = clock
        self._until = clock() + ttl
        self._value = look()

    def __call__(self) -> Value:
        """What was seen at the last look, or at a new one."""
        now = self._clock()
        if now >= self._until:
            self._value = self._look()
            self._until = now + self._ttl
        return self._value


def plain(request: ChatRequest) -> bytes:
    """All of a request that `extract` reads, without case and white space, which hardly matter to a decision.

    Requests that are alike in it have equal features but for the spelling of their asks, and are within a
    factor of two as long. Empty for one that isn't worth remembering.
    """
    if len(request.body) > REMEMBERED:
        return b""
    try:
        read = _encode((request.messages, [*map(request.fields.get, READS)]))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return b""
    text = read if read.isascii() else read.decode().casefold().encode()
    text = text.translate(_LOWER, b" ")
    if _ESCAPE in text:
        text = text.replace(b"\\n", b"").replace(b"\\t", b"")
    return b"%d%b" % (len(read).bit_length(), text)


def digest(said: bytes, *beside: Hashable) -> int:
    """Stands for what was said, in its plain form, and for what its decision depends on `beside` it; 0 for
    nothing. It is Python's own keyed hash: good for this process, and nobody outside can know two texts that
    have the same."""
    return (hash((said, beside)) or 1) if said else 0


_LOWER = bytes(range(256)).lower()
_ESCAPE = ord("\\")
_encode = msgspec.json.Encoder().encode
