"""Circles in a graph, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def loops(follows: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Circles that a walk along `follows` can run into, each from where the walk first met it.

    Every node of the graph is walked from once, so one circle at least is found wherever there are any.
    """
    found: dict[frozenset[str], tuple[str, ...]] = {}
    done: set[str] = set()
    for start in follows:
        trail: list[str] = [start]
        branches = [iter(follows[start])]
        while branches and start not in done:
            node = next(branches[-1], None)
            if node is None:
                done.add(trail.pop())
                branches.pop()
            elif node in trail:
                circle = tuple(trail[trail.index(node) :])
                found.setdefault(frozenset(circle), circle)
            elif node not in done:
                trail.append(node)
                branches.append(iter(follows.get(node, ())))
    return list(found.values())
