"""Who has to go when others want to come in: in one order, whatever it is that runs short."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.server.door import RESTED, Door
from proxy.server.policy import LimitPolicy


class Hall:
    """A house for three with its clock, and who was shown out of it, in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self.gone: list[str] = []
        loop: Any = self
        self.door = Door(LimitPolicy(max_connections=3), loop)

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, look: object) -> None:
        """Nobody looks round here."""

    def comes(self, name: str, *, slow: bool = False) -> bool:
        return self.door.enter(Visitor(self, name, slow))


class Visitor:
    deadline = 0.0

    def __init__(self, hall: Hall, name: str, slow: bool) -> None:
        self.hall, self.name, self.write_paused = hall, name, slow

    def overdue(self) -> None:
        raise AssertionError("nobody's deadline passes here")

    def evict(self) -> None:
        self.hall.gone.append(self.name)
        self.hall.door.leave(self)


@pytest.fixture
def hall() -> Hall:
    hall = Hall()
    for name in ("reading slowly", "first", "second"):
        assert hall.comes(name, slow=name == "reading slowly")
        hall.now += RESTED / 2
    return hall


def test_for_a_connection_whoever_waits_longest_goes(hall: Hall) -> None:
    assert hall.comes("third")
    assert hall.gone == ["first"]
    assert hall.door.refusals == {"connection_dropped": 1}


def test_for_a_connection_however_short_it_has_been(hall: Hall) -> None:
    assert hall.comes("third")
    assert hall.comes("fourth")
    assert hall.gone == ["first", "second"], "and never who takes its answer slowly"


@pytest.mark.parametrize(
    ("later", "gone"), [(0.0, ["first"]), (RESTED, ["first", "second"])], ids=["now", "when all have rested"]
)
def test_for_descriptors_the_same_go(hall: Hall, later: float, gone: list[str]) -> None:
    hall.now += later
    hall.door.spare(10)
    assert hall.gone == gone, "and never who takes its answer slowly"


def test_of_descriptors_no_more_than_are_wanted(hall: Hall) -> None:
    hall.now += RESTED
    hall.door.spare(1)
    assert hall.gone == ["first"]
