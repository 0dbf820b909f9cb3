"""Trains proxy/routing/semantic.bin and vocabulary.bin from tests/train/exemplars: needs numpy, scipy,
scikit-learn and what tests.train.meanings needs.

python -m tests.train.train      the same bytes for the same exemplars, versions and kind of processor
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
from tests.train.meanings import Matrix, Meanings

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "proxy" / "routing"
OPENING = re.compile(r"(?<=[.!?:。？！：])\s*")
SHORTEST, REST = 15, 30
"""Characters of an opening that says something by itself, and of what must follow it."""
C = 2.0
"""How little weights are held near nothing."""
COUNTS = 0.5
"""What an opening counts beside its ask."""
LOUD = 3.0
"""Length of an ask's vector: how much room its marks have beside the bias."""
MEANT = 1.2
"""How much, on average, what its words mean has."""


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


class Seen:
    """Asks as the learned pass sees them: their marks, and what their words mean."""

    def __init__(self, listed: list[Exemplar]) -> None:
        self.meanings = Meanings()
        told = self.meanings.of([one.ask for one in listed])
        self.loud = MEANT / float((told**2).sum(1).mean() ** 0.5)

    def rows(self, listed: list[Exemplar]) -> sparse.csr_matrix:
        """A row for each."""
        told = self.loud * self.meanings.of([one.ask for one in listed])
        return sparse.hstack([marks(listed), sparse.csr_matrix(told)]).tocsr()

    def fit(self, listed: list[Exemplar]) -> LogisticRegression:
        """Every intent weighs the same, however many exemplars it has."""
        first = openings(listed)
        intents = np.array([one.intent for one in (*listed, *first)])
        counts_for = np.repeat([1.0, COUNTS], [len(listed), len(first)])
        model = LogisticRegression(C=C, max_iter=300, tol=1e-3, class_weight="balanced")
        return model.fit(self.rows([*listed, *first]), intents, counts_for)


def write(model: LogisticRegression, seen: Seen) -> None:
    """Both files, in steps that they share."""
    weights = LOUD * model.coef_.T[:SLOTS]
    told = seen.loud * seen.meanings.points @ model.coef_.T[SLOTS:]
    step = max(float(np.abs(weights).max()), float(np.abs(told).max())) / 127
    floats = " ".join(f"{number:.6g}" for number in (*model.intercept_, step))
    head = b"KSEM2\n" + f"{' '.join(model.classes_)}\n{floats}\n".encode()
    (OUT / "semantic.bin").write_bytes(head + _bytes(weights / step))
    keys = seen.meanings.keys
    head = b"KVOC1\n%d %d\n" % (len(model.classes_), len(keys))
    (OUT / "vocabulary.bin").write_bytes(head + keys.tobytes() + _bytes(told / step))


def _bytes(steps: Matrix) -> bytes:
    return (np.round(steps) + 128).astype("u1").tobytes()


def main() -> None:
    listed = exemplars()
    seen = Seen(listed)
    write(seen.fit(listed), seen)
    told = b"".join(path.read_bytes() for path in sorted((HERE / "exemplars").glob("*.txt")))
    (HERE / "exemplars.sha256").write_text(sha256(told).hexdigest() + "\n", "ascii")
    sizes = [f"{name} {(OUT / name).stat().st_size:,} bytes" for name in ("semantic.bin", "vocabulary.bin")]
    print(f"{len(listed)} exemplars, {', '.join(sizes)}")


if __name__ == "__main__":
    main()
