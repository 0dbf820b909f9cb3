"""What workers tell each other: with whom each conversation is, and, who starts, what was learned so far.

    Router.served --number--> tell --at once, or with others, a bit later--> letters to all others
    a worker starts --Hello--> the others tell it, too; one of them all that it knows, before it serves

Whoever reads nothing costs the others next to nothing: they keep the numbers of what it wasn't told, each
once and no more than are remembered, and it hears how things stand by then. What was heard is passed on to
those who start, and to nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from math import inf
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from proxy.routing.adapt import Adapt, Lesson
from proxy.routing.climb import Memory
from proxy.routing.letters import TURNS, Letter, read, write
from proxy.routing.memory import Told
from proxy.server.mailbox import Mailbox, Sent

logger = logging.getLogger("kuro")

PACE, BURST = 0.001, 20
"""Seconds that each letter takes up, where there are many to write: until the last time is over, what was
answered since waits and is told together, at a thousand letters a second to however many others. After a rest
so many times are free, and a turn is told at once."""
LATER = 0.64
"""Seconds at most after which one that takes nothing is tried again: at first at once, then half as often."""
AT_ONCE, SOON = 4, 0.01
"""Letters to one that has much to be told, before calls go on, and seconds until there are more."""
PATIENCE, ASKED = 2.0, 2
"""Seconds in which a worker tells all to one that starts, and how many are asked until it begins without."""
FAREWELL = 0.5
"""Seconds for what others have still to be told by one that ends."""
LATEST = TURNS * AT_ONCE
"""Conversations of which everybody tells who starts: who tells the rest may not have heard of them yet."""


class Hello(Struct, frozen=True, array_like=True, tag="hello"):
    """A worker has started."""

    name: str
    asks: bool = False
    """For all that is known."""


class Lessons(Struct, frozen=True, array_like=True, tag="lessons"):
    """What `adapt` has learned, or a part of it."""

    all: tuple[Lesson, ...]


class Done(Struct, frozen=True, array_like=True, tag="done"):
    """That was all."""


Part = TypeVar("Part")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Hello | Letter | Lessons | Done).decode


class Other:
    """Another worker, as far as it has been told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.words: list[bytes] = []
        """What it is to hear first, ..."""
        self.owed: dict[int, None] = {}
        """... conversations that it has still to be told of, ..."""
        self.asks = False
        """It has asked for all that is known, and ..."""
        self.last: list[bytes] = []
        """... what it is to hear in the end."""
        self.pause = 0.0
        """Seconds since it took nothing until it is tried again ..."""
        self.again = 0.0
        """... not before this moment."""

    @property
    def behind(self) -> bool:
        """It has something to be told."""
        return bool(self.owed or self.words or self.last or self.asks)


class Sharing:
    """One worker's part. An async context manager for as long as calls come."""

    def __init__(
        self, place: Path, name: str, memory: Memory, adapt: Adapt, wall: Callable[[], float]
    ) -> None:
        """`place` is the workers' own directory; the memory is one that is shared."""
        assert isinstance(memory.conversations, Told)
        memory.conversations.tell = self.tell
        self.lost = 0
        """Letters that could not be read, and conversations that were forgotten before all knew of them."""
        self._conversations = memory.conversations
        self._memory = memory
        self._adapt = adapt
        self._clock = memory.clock
        self._wall = wall
        self._mailbox = Mailbox(place, name, self._heard)
        self._others: dict[str, Other] = {}
        self._fresh: dict[int, None] = {}
        """Conversations that nobody was told of yet."""
        self._due = -inf
        """When the others may be told again; the earlier that is, the more often."""
        self._post_timer: asyncio.TimerHandle | None = None
        self._retry_timer: asyncio.TimerHandle | None = None
        self._knows_all = asyncio.Event()

    @property
    def untold(self) -> int:
        """Conversations that some worker has still to be told of."""
        return len(self._fresh) + sum(len(other.owed) for other in self._others.values())

    async def __aenter__(self) -> None:
        """Says hello, and hears what the others remember."""
        try:
            self._mailbox.open()
        except OSError as error:
            logger.warning("workers can't tell each other of conversations: %s", error)
            return
        self._others = {name: Other(name) for name in self._mailbox.others()}
        for other in self._others.values():
            other.words.append(_encode(Hello(self._mailbox.name)))
        self._catch_up()
        for name in tuple(self._others)[:ASKED]:
            if name in self._others and await self._told_by(self._others[name]):
                break

    async def __aexit__(self, *error: object) -> None:
        self._post()
        until = self._clock() + FAREWELL
        while self._behind() and self._clock() < until:  # noqa: ASYNC110  # timers tell them
            await asyncio.sleep(SOON)
        for timer in (self._post_timer, self._retry_timer):
            if timer is not None:
                timer.cancel()
        self._others.clear()
        self._mailbox.close()

    async def _told_by(self, other: Other) -> bool:
        other.words.append(_encode(Hello(self._mailbox.name, asks=True)))
        self._catch_up()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._knows_all.wait(), PATIENCE)
        return self._knows_all.is_set()

    # --- telling -----------------------------------------------------------------------------------

    def tell(self, conversation: int) -> None:
        """Its turn was answered here."""
        if not self._others:
            return
        self._fresh[conversation] = None
        if self._post_timer is None:
            now = self._clock()
            if self._due <= now:
                self._post()  # its caller doesn't have the answer yet, and can't ask another worker
            else:
                self._post_timer = asyncio.get_running_loop().call_later(self._due - now, self._post)

    def _post(self) -> None:
        """Tells what is fresh, to all who know the rest."""
        pace = PACE * len(self._others)
        self._post_timer, self._due = None, max(self._due, self._clock() - pace * BURST) + pace
        fresh, self._fresh = list(self._fresh), {}
        letters = [(each, self._letter(each)) for each in _portions(fresh)]
        for other in tuple(self._others.values()):
            if other.behind:
                self._owe(other, fresh)
                continue
            for numbers, letter in letters:
                if other.behind or not self._send(other, letter):
                    self._owe(other, numbers)
        self._retry()

    def _letter(self, numbers: Iterable[int]) -> bytes:
        return _encode(write(self._conversations, numbers, self._wall() - self._clock()))

    def _send(self, other: Other, letter: bytes) -> bool:
        """Whether it is out of our hands: it was taken, or nobody is there any more."""
        sent = self._mailbox.send(other.name, letter)
        if sent is Sent.GONE:
            self._others.pop(other.name, None)
        elif sent is Sent.FULL:
            other.pause = min(max(2.0 * other.pause, PACE), LATER)
            other.again = self._clock() + other.pause
            return False
        other.pause = 0.0
        return True

    def _owe(self, other: Other, numbers: Iterable[int]) -> None:
        owed, size = other.owed, self._conversations.size
        owed.update(dict.fromkeys(numbers))
        if len(owed) > size + size // 4 + TURNS:  # seldom: to look through all of them takes long
            other.owed = {each: None for each in owed if self._conversations.peek(each) is not None}
            self.lost += len(owed) - len(other.owed)

    # --- telling those who are behind --------------------------------------------------------------

    def _behind(self) -> list[Other]:
        return [other for other in self._others.values() if other.behind]

    def _retry(self) -> None:
        """Soon, if anybody is."""
        moments = [other.again for other in self._behind()]
        if moments and self._retry_timer is None:
            wait = max(min(moments) - self._clock(), PACE)
            self._retry_timer = asyncio.get_running_loop().call_later(wait, self._catch_up)

    def _catch_up(self) -> None:
        if self._retry_timer is not None:
            self._retry_timer.cancel()
            self._retry_timer = None
        now = self._clock()
        for other in tuple(self._others.values()):
            if other.again <= now and self._in_order(other, other.words) and self._pay(other):
                if other.asks:
                    other.asks, other.last = False, self._lessons()
                self._in_order(other, other.last)
        self._retry()

    def _lessons(self) -> list[bytes]:
        parts = _portions(self._adapt.lessons())
        return [*(_encode(Lessons(tuple(part))) for part in parts), _encode(Done())]

    def _in_order(self, other: Other, letters: list[bytes]) -> bool:
        """Whether all are out of our hands."""
        while letters and self._send(other, letters[0]):
            del letters[0]
        return not letters

    def _pay(self, other: Other) -> bool:
        """Some of what it is owed; whether that was all."""
        for numbers in islice(_portions(list(islice(other.owed, TURNS * AT_ONCE))), AT_ONCE):
            if not self._send(other, self._letter(numbers)):
                break
            for number in numbers:
                other.owed.pop(number, None)
        else:
            other.again = self._clock() + SOON if other.owed else 0.0
        return not other.owed

    # --- hearing -----------------------------------------------------------------------------------

    def _heard(self, letter: bytes) -> None:
        try:
            said = _decode(letter)
            if isinstance(said, Letter):
                read(said, self._memory, self._wall() - self._clock())
                return
        except (msgspec.DecodeError, IndexError):  # another version's, while one replaces it
            self.lost += 1
            return
        match said:
            case Hello():
                self._meet(said)
            case Lessons():
                self._adapt.learn(said.all)
            case Done():
                self._knows_all.set()

    def _meet(self, said: Hello) -> None:
        other, known = self._others.setdefault(said.name, Other(said.name)), self._conversations.keys()
        self._owe(other, known if said.asks else known[-LATEST:])
        other.asks = said.asks
        self._catch_up()


def _portions(whole: Sequence[Part]) -> Iterator[Sequence[Part]]:
    """As much as goes into one letter, each."""
    return (whole[start : start + TURNS] for start in range(0, len(whole), TURNS))
