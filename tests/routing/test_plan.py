"""From a choice to the fallback chain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.plan import ASKED_FOR, build, origins

RANKING = {"a": 0.9, "b": 0.8, "c": 0.7}
ABLE = frozenset("abc")


@pytest.mark.parametrize(
    ("first", "own", "shut", "expected"),
    [
        pytest.param("a", "", "", "abc", id="the ranking is the chain"),
        pytest.param("b", "", "", "bac", id="the choice comes first, whatever its rank"),
        pytest.param("a", "c", "", "acb", id="its own fallback list goes before the ranking"),
        pytest.param("a", "ca", "", "acb", id="nobody is asked twice"),
        pytest.param("a", "xc", "", "acb", id="a fallback that is left out or unable is passed over"),
        pytest.param("a", "", "b", "acb", id="a shut circuit goes to the end"),
        pytest.param("a", "b", "b", "acb", id="also one of the choice's own list"),
        pytest.param("a", "", "ab", "cab", id="the shut keep their order among themselves"),
        pytest.param("a", "", "abc", "abc", id="when all are shut the order stands"),
        pytest.param("x", "b", "", "xbac", id="a model asked for by name needn't be able"),
    ],
)
def test_the_chain(first: str, own: str, shut: str, expected: str) -> None:
    assert build(first, tuple(own), RANKING, ABLE, frozenset(shut)) == tuple(expected)


def test_a_named_model_without_fallbacks_stands_alone() -> None:
    assert build("a", (), (), ABLE) == ("a",)


@pytest.mark.parametrize(
    ("first", "own", "shut", "expected"),
    [
        pytest.param(
            "a", "c", "", ["the choice", "fallback of a", "ranking"], id="each place has its source"
        ),
        pytest.param(
            "a",
            "",
            "b",
            ["the choice", "ranking", "ranking, but last: it can't be asked now"],
            id="a shut circuit is the reason for the last place",
        ),
    ],
)
def test_a_reader_is_told_where_each_place_comes_from(
    first: str, own: str, shut: str, expected: list[str]
) -> None:
    chain = build(first, tuple(own), RANKING, ABLE, frozenset(shut))
    assert list(origins(chain, first, own, shut)) == expected
    assert origins(chain, first, own, shut, ASKED_FOR)[0] == "asked for"


IDS = st.sampled_from("abcdef")


@given(able=st.frozensets(IDS, min_size=1), own=st.lists(IDS), shut=st.frozensets(IDS), data=st.data())
def test_the_chain_is_a_permutation_of_the_able_with_the_healthy_first(
    able: frozenset[str], own: list[str], shut: frozenset[str], data: st.DataObject
) -> None:
    ranked = data.draw(st.permutations(sorted(able)))
    first = data.draw(st.sampled_from(ranked))
    chain = build(first, own, ranked, able, shut)
    assert sorted(chain) == sorted(able)
    health = [model in shut for model in chain]
    assert health == sorted(health)
    assert first in shut or chain[0] == first
