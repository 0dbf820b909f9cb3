"""Learns how much a likeness to examples says: proxy/routing/likeness.json, from tests/train/own.

python -m tests.train.likeness

Of each invented intent some asks are its examples, the others ought to be found; asks near to it, asks of the
other intents and the exemplars ought not. A logistic regression makes log-odds of how far an ask lies along
the examples' direction.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from random import Random
from statistics import fmean, pstdev

import msgspec
import numpy as np
from sklearn.linear_model import LogisticRegression

from proxy.routing import likeness as room
from proxy.routing import semantic, vectors
from proxy.routing.likeness import Kind, Likeness, Taught
from proxy.routing.semantic import words
from tests.train.invented import invented
from tests.train.vectors import english

KIND = 0.1
"""What the kind of an ask counts beside its subject."""

EXAMPLES, DRAWS, SOME = (5, 8), 4, 60
"""How many examples, how often they are drawn, and asks of others beside each draw."""

NEAR, FAR, KNOWN = 2.0, 0.3, 0.2
"""What an ask near to an intent counts, one of another intent, and an exemplar: of these the learned pass is
surer than of others, since it was trained on them."""


def main() -> None:
    asks = english()
    taught = Taught(1.0, 0.0, kinds(asks), middle(asks))
    likeness = Likeness({}, vectors.shipped(), semantic.shipped(), taught)
    along, right, weight = zip(*drawn(likeness, asks), strict=True)
    model = LogisticRegression(C=100.0)
    model.fit(np.array(along)[:, None], right, sample_weight=weight)
    scale, bias = float(model.coef_[0][0]), float(model.intercept_[0])
    told = msgspec.structs.replace(taught, scale=round(scale, 3), bias=round(bias, 3))
    raw = msgspec.json.format(msgspec.json.encode(told), indent=1)
    Path(room.__file__).with_suffix(".json").write_bytes(raw + b"\n")
    print(f"scale {scale:.2f}, bias {bias:.2f}")


def middle(asks: list[str]) -> tuple[float, ...]:
    points = []
    for ask in asks:
        if added := vectors.shipped().add(set(words(ask))):
            length = sqrt(sum(one * one for one in added.lanes))
            points.append([one / length for one in added.lanes])
    return tuple(round(fmean(column), 5) for column in zip(*points, strict=True))


def kinds(asks: list[str]) -> dict[str, Kind]:
    read = [semantic.shipped().read(ask) for ask in asks]
    spread = fmean(pstdev([one[name] for one in read]) for name in read[0])
    return {
        name: Kind(round(fmean(one[name] for one in read), 4), round(KIND / spread, 4)) for name in read[0]
    }


def drawn(likeness: Likeness, asks: list[str]) -> Iterator[tuple[float, int, float]]:
    """(how far along, whether it belongs there, what it counts)."""
    random, listed = Random(1), invented()
    for name, own, near in listed:
        others = [ask for other, theirs, _ in listed if other != name for ask in theirs]
        for count in EXAMPLES * DRAWS:
            mixed = random.sample(own, len(own))
            direction = likeness.direction(mixed[:count])
            assert direction is not None
            known = [ask for ask in random.sample(asks, SOME) if ask not in own]
            sets = (
                (mixed[count:], 1, 1.0),
                (near, 0, NEAR),
                (random.sample(others, SOME), 0, FAR),
                (known, 0, KNOWN),
            )
            for some, right, weight in sets:
                for ask in some:
                    yield likeness.along(ask, direction), right, weight


if __name__ == "__main__":
    main()
