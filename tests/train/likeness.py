"""Learns how much a likeness to examples says: proxy/routing/likeness.json, from tests/train/own.

python -m tests.train.likeness

Of each invented intent some asks are its examples, the others ought to be found; asks near to it, asks of the
other intents and the exemplars ought not. A logistic regression makes log-odds of how far an ask lies along
the examples' direction, in its subject and in its kind, of how near it lies to the background, the middles
of clusters of exemplars, and of its kind by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import sqrt
from pathlib import Path
from random import Random
from statistics import fmean, pstdev
from typing import Any

import msgspec
import numpy as np
from sklearn.linear_model import LogisticRegression

from proxy.routing import likeness as room
from proxy.routing import semantic, vectors
from proxy.routing.likeness import Kind, Likeness, Point, Taught, direction
from proxy.routing.semantic import words
from tests.train.invented import invented
from tests.train.vectors import english

CLUSTERS, ROUNDS = 32, 20
"""Of exemplars, and how often their middles are moved."""

EXAMPLES, DRAWS, SOME = (5, 8), 4, 60
"""How many examples, how often they are drawn, and asks of others beside each draw."""

NEAR, FAR, KNOWN = 1.0, 0.3, 0.2
"""What an ask near to an intent counts, one of another intent, and an exemplar: of these the learned pass is
surer than of others, since it was trained on them."""

Matrix = np.ndarray[Any, np.dtype[np.float64]]


def main() -> None:
    asks = english()
    untaught = unlearned(asks)
    found = list(drawn(Likeness({}, vectors.shipped(), semantic.shipped(), untaught), asks))
    signs, right, weight = zip(*found, strict=True)
    model = LogisticRegression(C=100.0, max_iter=1_000)
    model.fit(np.array(signs), right, sample_weight=weight)
    subject, kind, common, *alone = (round(float(one), 3) for one in model.coef_[0])
    told = msgspec.structs.replace(
        untaught,
        bias=round(float(model.intercept_[0]), 3),
        subject=subject,
        kind=kind,
        common=common,
        kinds={
            name: msgspec.structs.replace(one, counts=counts)
            for (name, one), counts in zip(untaught.kinds.items(), alone, strict=True)
        },
    )
    raw = msgspec.json.format(msgspec.json.encode(told), indent=1)
    Path(room.__file__).with_suffix(".json").write_bytes(raw + b"\n")
    print(f"subject {subject}, kind {kind}, common {common}, bias {told.bias}")


def unlearned(asks: list[str]) -> Taught:
    """Where asks lie, without what that says."""
    middle, read = usual(asks), [semantic.shipped().read(ask) for ask in asks]
    kinds = {name: Kind(round(fmean(one[name] for one in read), 4), 0.0) for name in read[0]}
    spread = fmean(pstdev([one[name] for one in read]) for name in read[0])
    bare = Taught(0.0, 0.0, 0.0, 0.0, round(spread, 4), kinds, middle, b"")
    seen = Likeness({}, vectors.shipped(), semantic.shipped(), bare)
    points = [point.subject for ask in asks if (point := seen.point(ask)) is not None]
    return msgspec.structs.replace(bare, background=background(np.array(points)))


def usual(asks: list[str]) -> tuple[float, ...]:
    points = []
    for ask in asks:
        if added := vectors.shipped().add(set(words(ask))):
            lanes = added.lanes
            length = sqrt(sum(one * one for one in lanes))
            points.append([one / length for one in lanes])
    return tuple(round(fmean(column), 5) for column in zip(*points, strict=True))


def background(points: Matrix) -> bytes:
    """The middles of clusters (spherical k-means), each a signed byte a lane."""
    middles = points[np.linspace(0, len(points) - 1, CLUSTERS).astype(int)]
    for _ in range(ROUNDS):
        nearest = (points @ middles.T).argmax(1)
        sums = np.array([points[nearest == place].sum(0) for place in range(CLUSTERS)])
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        middles = np.where(length > 0.0, sums / (length + 1e-12), middles)
    return np.round(middles / abs(middles).max(1, keepdims=True) * 127).astype("i1").tobytes()


def drawn(likeness: Likeness, asks: list[str]) -> Iterator[tuple[list[float], int, float]]:
    """(what is seen of an ask beside examples, whether it belongs there, what it counts)."""
    random, listed, placed = Random(1), invented(), cache(likeness.point)

    def points(some: list[str]) -> list[Point]:
        return [point for ask in some if (point := placed(ask)) is not None]

    for name, own, near in listed:
        others = [ask for other, theirs, _ in listed if other != name for ask in theirs]
        for count in EXAMPLES * DRAWS:
            mixed = random.sample(own, len(own))
            way = direction(points(mixed[:count]))
            known = [ask for ask in random.sample(asks, SOME) if ask not in own]
            sets = (
                (mixed[count:], 1, 1.0),
                (near, 0, NEAR),
                (random.sample(others, SOME), 0, FAR),
                (known, 0, KNOWN),
            )
            for some, right, weight in sets:
                for point in points(some):
                    yield [*way.along(point), point.common, *point.kind], right, weight


if __name__ == "__main__":
    main()
