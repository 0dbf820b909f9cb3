"""What is told of conversations: the same there as here, and the last turn counts."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.effort import Effort
from proxy.routing.climb import Memory
from proxy.routing.conversation import Held
from proxy.routing.letters import Letter, Turn, read, write
from proxy.routing.policy import RoutingPolicy, StickyPolicy
from proxy.routing.router import new_memory, renew_memory

OWLS = Held("mid", "cheap", "writing", 5_000, 7, 100.0, Effort.LOW)
POLICY = RoutingPolicy(sticky=StickyPolicy(ttl=60.0, size=100))


class Process:
    """A memory on a clock of its own; the wall's shows the same to all."""

    wall = 1_000_000.0

    def __init__(self, now: float) -> None:
        self.now = now
        self.memory: Memory = new_memory(POLICY, lambda: self.now)

    @property
    def ahead(self) -> float:
        return self.wall - self.now

    def hear(self, other: Process, *numbers: int) -> None:
        letter = write(other.memory.conversations, numbers, other.ahead)
        read(msgspec.msgpack.decode(msgspec.msgpack.encode(letter), type=Letter), self.memory, self.ahead)

    def get(self, number: int) -> Held | None:
        return self.memory.conversations.get(number)


helds = st.builds(
    Held,
    model=st.sampled_from(["a", "b", "ü"]),
    floor=st.sampled_from(["a", "b"]),
    task=st.text(max_size=3),
    tokens=st.integers(0, 10_000_000),
    asked=st.integers(0, 2**30 - 1),
    at=st.floats(50.0, 100.0),
    effort=st.none() | st.sampled_from(Effort),
    turns=st.integers(1, 1_000),
)


@given(known=st.dictionaries(st.integers(0, 2**60 - 1), helds, max_size=20))
def test_all_that_a_turn_needs_is_told(known: dict[int, Held]) -> None:
    here, there = Process(100.0), Process(7.0)
    for number, held in known.items():
        here.memory.conversations.put(number, held, held.at)
    there.hear(here, *known)
    for number, held in known.items():
        heard = there.get(number)
        assert heard is not None
        assert heard.at == pytest.approx(held.at - 93.0, abs=1e-3)
        assert replace(heard, at=held.at) == held


@pytest.mark.parametrize("first", ["old", "new"])
def test_the_last_turn_counts_in_whatever_order_it_is_told(first: str) -> None:
    old, new, there = Process(100.0), Process(100.0), Process(7.0)
    old.memory.conversations.put(1, replace(OWLS, at=99.0))
    new.memory.conversations.put(1, replace(OWLS, model="strong", at=99.5))
    for process in (old, new) if first == "old" else (new, old):
        there.hear(process, 1)
    held = there.get(1)
    assert held is not None and held.model == "strong"


def test_who_did_not_know_the_turns_before_ends_nothing() -> None:
    here, there = Process(100.0), Process(7.0)
    here.memory.conversations.put(1, replace(OWLS, turns=7, at=99.0))
    there.memory.conversations.put(1, replace(OWLS, model="cheap", turns=1, at=6.5))
    there.hear(here, 1)
    held = there.get(1)
    assert held is not None and (held.model, held.turns) == ("mid", 7)
    here.hear(there, 1)
    assert here.get(1) == replace(OWLS, turns=7, at=99.0)


def test_it_is_kept_no_longer_than_where_it_happened() -> None:
    here, there = Process(100.0), Process(7.0)
    here.memory.conversations.put(1, OWLS)
    here.now, there.now, Process.wall = 150.0, 57.0, Process.wall + 50.0
    there.hear(here, 1)
    there.now += 9.9
    assert there.get(1) is not None
    there.now += 0.2
    assert there.get(1) is None


def test_of_the_future_nothing_is_told() -> None:
    here, there = Process(100.0), Process(7.0)
    here.memory.conversations.put(1, OWLS)
    letter = write(here.memory.conversations, [1], here.ahead + 3600.0)  # the wall's clock was set back
    read(letter, there.memory, there.ahead)
    held = there.get(1)
    assert held is not None and held.at == there.now


def test_who_is_told_is_not_more_than_it_may_remember() -> None:
    here, there = Process(100.0), Process(7.0)
    for number in range(100):
        here.memory.conversations.put(number, OWLS)
    renew_memory(there.memory, replace(POLICY, sticky=StickyPolicy(ttl=60.0, size=16)), {"mid"})
    there.hear(here, *range(100))
    assert len(there.memory.conversations) <= 16
    assert there.get(99) is not None


def test_to_look_at_what_is_told_uses_nothing() -> None:
    here = Process(100.0)
    for number in (1, 2):
        here.memory.conversations.put(number, OWLS)
    write(here.memory.conversations, [1, 3], 0.0)
    assert here.memory.conversations.keys() == [1, 2]


def test_words_are_kept_once_however_many_tell_them() -> None:
    here, there = Process(100.0), Process(7.0)
    for number in (1, 2):
        here.memory.conversations.put(number, OWLS)
        there.hear(here, number)
    one, other = there.get(1), there.get(2)
    assert one is not None and other is not None
    assert one.model is other.model and one.task is other.task


def test_words_that_are_missing_are_an_error_and_change_nothing() -> None:
    there = Process(7.0)
    with pytest.raises(IndexError):
        read(Letter(("a",), (Turn(1, 0.0, 0, 1, 0, 5, 5, 1),)), there.memory, 0.0)
    assert there.get(1) is None


def test_two_hundred_conversations_are_a_small_letter() -> None:
    here = Process(100.0)
    for number in range(200):
        here.memory.conversations.put(2**60 - 1 - number, replace(OWLS, asked=2**30 - 1))
    letter = write(here.memory.conversations, here.memory.conversations.keys(), here.ahead)
    assert len(msgspec.msgpack.encode(letter)) < 200 * 41
