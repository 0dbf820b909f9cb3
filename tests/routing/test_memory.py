"""What routing remembers, and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.memory import Glance, Once, Recent, decision, digest
from proxy.types import Classification, Features


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


def test_an_entry_lives_as_long_as_its_ttl_and_no_longer(clock: Hand) -> None:
    recent: Recent[str] = Recent(10.0, 5, clock)
    recent.put("k", "v")
    clock.now += 10.0
    assert recent.get("k") == "v"
    clock.now += 0.001
    assert recent.get("k") is None
    assert len(recent) == 0


def test_putting_renews_an_entry_and_getting_does_not(clock: Hand) -> None:
    recent: Recent[str] = Recent(10.0, 5, clock)
    recent.put("put", "v")
    recent.put("got", "v")
    clock.now += 8.0
    recent.put("put", "w")
    recent.get("got")
    clock.now += 8.0
    assert (recent.get("put"), recent.get("got")) == ("w", None)


def test_the_least_recently_used_makes_room(clock: Hand) -> None:
    recent: Recent[int] = Recent(10.0, 2, clock)
    recent.put("a", 1)
    recent.put("b", 2)
    recent.get("a")
    recent.put("c", 3)
    assert [recent.get(key) for key in "abc"] == [1, None, 3]


def test_a_size_of_nought_keeps_nothing(clock: Hand) -> None:
    recent: Recent[int] = Recent(10.0, 0, clock)
    recent.put("a", 1)
    assert recent.get("a") is None


def test_keep_drops_what_is_no_longer_wanted(clock: Hand) -> None:
    recent: Recent[str] = Recent(10.0, 5, clock)
    recent.put(1, "gone")
    recent.put(2, "stays")
    recent.keep(lambda model: model == "stays")
    assert (recent.get(1), recent.get(2)) == (None, "stays")


@given(
    size=st.integers(0, 5),
    steps=st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.floats(0.0, 4.0)), max_size=40),
)
def test_it_is_bounded_and_never_gives_what_is_too_old(
    size: int, steps: list[tuple[int, bool, float]]
) -> None:
    clock = Hand()
    recent: Recent[float] = Recent(5.0, size, clock)
    for key, put, waited in steps:
        clock.now += waited
        if put:
            recent.put(key, clock.now)
        elif (since := recent.get(key)) is not None:
            assert clock.now - since <= 5.0 + 1e-9
        assert len(recent) <= size


def test_equal_tuples_are_one_and_forgetting_them_changes_nothing() -> None:
    once = Once(most=2)
    first = once(("a", "b"))
    assert once(tuple("ab")) is first
    once(("c",))
    assert once(tuple("ab")) == first  # Too many: all were forgotten.
    assert once(tuple("ab")) is not first


@given(
    st.lists(st.tuples(st.text(max_size=5), st.floats(0.0, 1.0)), min_size=1, max_size=5),
    st.lists(st.tuples(st.text(max_size=5), st.floats(-5.0, 5.0)), max_size=5),
    st.floats(0.0, 1.0),
)
def test_a_packed_decision_comes_out_as_it_went_in(
    intents: list[tuple[str, float]], ranking: list[tuple[str, float]], difficulty: float
) -> None:
    seen = Classification(tuple(intents), difficulty, ("code:python",))
    packed = decision("scoring", "m", seen, tuple(ranking), Once())
    assert packed.unpacked() == (seen, tuple(ranking))


def test_a_full_map_makes_room_for_an_eighth_at_once(clock: Hand) -> None:
    recent: Recent[int] = Recent(10.0, 16, clock)
    for number in range(17):
        recent.put(number, number)
    assert len(recent) == 15
    assert [number for number in range(17) if recent.get(number) is None] == [0, 1]


def test_a_glance_looks_anew_when_it_is_too_old(clock: Hand) -> None:
    glance = Glance(lambda: clock.now, 1.0, clock)
    clock.now += 0.9
    assert glance() == 100.0
    clock.now += 0.2
    assert glance() == pytest.approx(101.1)
    clock.now += 0.9
    assert glance() == pytest.approx(101.1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(Features("Sort a list"), Features(" sort \n A\tLIST "), True, id="case and spacing"),
        pytest.param(Features("Straße"), Features("STRASSE"), True, id="the cases of other languages"),
        pytest.param(Features("sort a list"), Features("sort a set"), False, id="another ask"),
        pytest.param(Features("a"), Features("a", ("b",)), False, id="a conversation before it"),
        pytest.param(Features("a", ("b", "c")), Features("a", ("c", "b")), False, id="in another order"),
        pytest.param(Features("ab", ("c",)), Features("a", ("bc",)), False, id="the border between turns"),
        pytest.param(Features("\ud800"), Features("a"), False, id="half a character"),
    ],
)
def test_a_digest_tells_asks_apart_by(one: Features, other: Features, same: bool) -> None:
    assert (digest(one) == digest(other)) is same
