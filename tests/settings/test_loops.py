"""Circles in a graph."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.loops import loops

Graph = dict[str, list[str]]


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({}, []),
        ({"a": ["b", "c"], "b": ["c"], "c": []}, []),
        ({"a": ["a"]}, [("a",)]),
        ({"a": ["b"], "b": ["a"]}, [("a", "b")]),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, [("b", "c")]),
        ({"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}, [("a", "b"), ("c", "d")]),
        ({"a": ["b", "c"], "b": ["a"], "c": ["a"]}, [("a", "b"), ("a", "c")]),
    ],
    ids=["nothing", "a diamond", "itself", "two", "behind a tail", "two apart", "two that touch"],
)
def test_each_circle_is_found_once(graph: Graph, found: list[tuple[str, ...]]) -> None:
    assert loops(graph) == found


def leads_back(graph: Graph) -> bool:
    """Whether leaving out what leads nowhere, again and again, leaves anything."""
    left = {node: set(graph[node]) & set(graph) for node in graph}
    while ends := [node for node, after in left.items() if not after]:
        left = {node: after - set(ends) for node, after in left.items() if node not in ends}
    return bool(left)


NODES = "abcdef"


@given(st.fixed_dictionaries({node: st.lists(st.sampled_from(NODES), max_size=3) for node in NODES}))
def test_a_graph_with_a_circle_never_passes_and_one_without_always_does(graph: Graph) -> None:
    found = loops(graph)
    assert bool(found) == leads_back(graph)
    for circle in found:
        assert all(after in graph[node] for node, after in zip(circle, (*circle[1:], circle[0]), strict=True))
