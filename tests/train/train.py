"""Trains proxy/routing/semantic.bin from tests/train/exemplars: needs numpy, scipy and scikit-learn.

python -m tests.train.train      the same bytes for the same exemplars and library versions
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from proxy.routing.semantic import SLOTS, slots

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "proxy" / "routing" / "semantic.bin"
OPENING = re.compile(r"(?<=[.!?:。？！：])\s*")
SHORTEST, REST = 15, 30
"""Characters of an opening that says something by itself, and of what must follow it."""
COUNTS = 0.5
"""What an opening counts beside its ask."""
LOUD = 3.0
"""Length of an ask's vector: how much room its marks have beside the bias."""


class Exemplar(NamedTuple):
    """One line of a file, and the heading that it stands below."""

    intent: str
    ask: str
    file: str


def exemplars() -> list[Exemplar]:
    """All of them, file by file."""
    found = []
    for path in sorted((HERE / "exemplars").glob("*.txt")):
        intent = ""
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("== "):
                intent = line[3:]
            elif line and not line.startswith("#"):
                found.append(Exemplar(intent, line.replace("\\n", "\n"), path.stem))
    return found


def openings(listed: list[Exemplar]) -> list[Exemplar]:
    """The first sentences of longer asks, by themselves: mostly they say all, and the rest is material."""
    found = []
    for one in listed:
        first, _, rest = OPENING.sub("\0", one.ask.replace("\n", " "), count=1).partition("\0")
        if len(first) > SHORTEST and len(rest) > REST:
            found.append(one._replace(ask=first))
    return found


def marks(listed: list[Exemplar]) -> sparse.csr_matrix:
    """A row for each, of length LOUD."""
    rows, columns, values = [], [], []
    for row, one in enumerate(listed):
        marked = sorted(slots(one.ask))
        rows += [row] * len(marked)
        columns += marked
        values += [LOUD / len(marked) ** 0.5] * len(marked)
    return sparse.csr_matrix((values, (rows, columns)), shape=(len(listed), SLOTS))


def fit(listed: list[Exemplar]) -> LogisticRegression:
    """Every intent weighs the same, however many exemplars it has."""
    first = openings(listed)
    intents = np.array([one.intent for one in (*listed, *first)])
    counts_for = np.repeat([1.0, COUNTS], [len(listed), len(first)])
    model = LogisticRegression(C=4, max_iter=300, tol=1e-3, class_weight="balanced")
    return model.fit(marks([*listed, *first]), intents, counts_for)


def main() -> None:
    listed = exemplars()
    model = fit(listed)
    weights = LOUD * model.coef_.T
    step = float(np.abs(weights).max()) / 127
    table = (np.round(weights / step) + 128).astype("u1").tobytes()
    floats = " ".join(f"{number:.6g}" for number in (*model.intercept_, step))
    OUT.write_bytes(b"KSEM2\n" + f"{' '.join(model.classes_)}\n{floats}\n".encode() + table)
    told = b"".join(path.read_bytes() for path in sorted((HERE / "exemplars").glob("*.txt")))
    (HERE / "exemplars.sha256").write_text(sha256(told).hexdigest() + "\n", "ascii")
    print(f"{len(listed)} exemplars, {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
