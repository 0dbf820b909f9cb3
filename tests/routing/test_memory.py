"""What routing remembers, and for how long."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.routing.features import READS, extract
from proxy.routing.memory import REMEMBERED, Glance, Once, Recent, decision, digest, plain
from proxy.routing.pool import Pool
from proxy.types import ChatRequest, Classification, Features


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


@given(st.dictionaries(st.text(max_size=5), st.floats(-5.0, 5.0), max_size=5))
def test_a_packed_ranking_comes_out_as_it_went_in(ranking: dict[str, float]) -> None:
    kept = decision("scoring", "m", Pool((), frozenset()), Features(""), Classification(()), ranking, Once())
    assert list(kept.ranking().items()) == list(ranking.items())


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


# --- decisions -----------------------------------------------------------------------------------


def request(*messages: dict[str, Any], body: bytes = b"", **fields: Any) -> ChatRequest:
    return ChatRequest(body=body, fields=fields, model="auto", messages=list(messages))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


HELLO = user("hello")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(request(HELLO), request(user("hallo")), id="another letter"),
        pytest.param(request(HELLO), request(HELLO, HELLO), id="a conversation before it"),
        pytest.param(request(HELLO), request({"role": "system", "content": "hello"}), id="another role"),
        pytest.param(request(user("a"), user("b")), request(user("b"), user("a")), id="another order"),
        pytest.param(request(user("ab"), user("c")), request(user("a"), user("bc")), id="another border"),
        pytest.param(request(user([])), request(user(None)), id="an empty list and nothing"),
        *[pytest.param(request(HELLO), request(HELLO, **{name: 5}), id=name) for name in READS],
    ],
)
def test_plain_forms_tell_requests_apart_by(one: ChatRequest, other: ChatRequest) -> None:
    assert plain(one) != plain(other)


def test_a_plain_form_does_not_tell_what_no_decision_depends_on() -> None:
    other = request(HELLO, temperature=0.7, stream=True, user="me", metadata={"a": "b"}, body=b"{}")
    assert plain(request(HELLO)) == plain(other)


def test_a_digest_tells_what_is_beside_a_request() -> None:
    said = plain(request(HELLO))
    assert digest(said, 1, "best") == digest(said, 1, "best") != digest(said, 2, "best")
    assert digest(said) != digest(said, "beside")


def test_the_fields_that_a_plain_form_stands_for_are_those_that_are_read() -> None:
    asked = set()

    class Noted(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

    for fields in (Noted(max_tokens=0), Noted(tools=[1]), Noted(functions=[1])):
        extract(ChatRequest(body=b"", fields=fields, model="auto", messages=[HELLO]))
    assert asked == set(READS)


@pytest.mark.parametrize(
    "unworthy",
    [
        pytest.param(request(HELLO, body=b" " * (REMEMBERED + 1)), id="that are long"),
        pytest.param(request(user("\ud800")), id="with half a character"),
        pytest.param(request(user(object())), id="that are no JSON"),
    ],
)
def test_no_digest_is_made_of_requests(unworthy: ChatRequest) -> None:
    assert plain(unworthy) == b""
    assert digest(b"", "beside") == 0


@given(
    pair=st.tuples(*[
        st.builds(
            request,
            st.builds(user, st.sampled_from(["hi", "Hi", "hi hi", [{"type": "text", "text": "hi"}]])),
            max_tokens=st.sampled_from([None, 5, 6]),
            tools=st.sampled_from([None, [], [{"type": "function"}]]),
            temperature=st.floats(0.0, 2.0),
        )
    ] * 2)
)  # fmt: skip
def test_equal_plain_forms_have_equal_features_but_for_spelling(
    pair: tuple[ChatRequest, ChatRequest],
) -> None:
    one, other = pair
    if plain(one) == plain(other):
        told = [extract(each) for each in pair]
        first, second = [
            replace(features, ask="".join(features.ask.casefold().split()), prompt_tokens=0)
            for features in told
        ]
        assert first == second
        assert abs(told[0].prompt_tokens - told[1].prompt_tokens) <= 4


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param("Sort a list", " sort  \n a\tLIST ", True, id="case and spacing"),
        pytest.param("Straße", "STRASSE", True, id="the cases of other languages"),
        pytest.param("sort a list", "sort a set", False, id="another ask"),
        pytest.param("hi", "hi" + " " * 4000, False, id="a size of another order"),
    ],
)
def test_a_plain_form_is_of_the_normalised_ask(one: str, other: str, same: bool) -> None:
    assert (plain(request(user(one))) == plain(request(user(other)))) is same


def test_a_decision_forgets_the_words() -> None:
    features = Features("secret words", ("more of them",), prompt_tokens=12, background="title", turns=2)
    kept = decision("scoring", "b", Pool((), frozenset()), features, Classification(()), {}, Once())
    assert kept.facts == Features("", (), prompt_tokens=12, background="title", turns=2)
    assert "words" not in repr(kept)
