"""Trains proxy/routing/semantic.bin from tests/train/exemplars: needs numpy, scipy and scikit-learn.

python -m tests.train.train      the same bytes for the same exemplars and library versions
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from proxy.routing.semantic import SLOTS, slots

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "proxy" / "routing" / "semantic.bin"


def exemplars() -> list[tuple[str, str, str]]:
    """(intent, ask, file) of every line."""
    found = []
    for path in sorted((HERE / "exemplars").glob("*.txt")):
        intent = ""
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("== "):
                intent = line[3:]
            elif line and not line.startswith("#"):
                found.append((intent, line.replace("\\n", "\n"), path.stem))
    return found


def main() -> None:
    rows, columns, values = [], [], []
    listed = exemplars()
    for row, (_, ask, _) in enumerate(listed):
        marked = sorted(slots(ask))
        rows += [row] * len(marked)
        columns += marked
        values += [3.0 / len(marked) ** 0.5] * len(marked)
    told = sparse.csr_matrix((values, (rows, columns)), shape=(len(listed), SLOTS))
    model = LogisticRegression(C=2, max_iter=300, tol=1e-3, class_weight="balanced")
    model.fit(told, np.array([intent for intent, _, _ in listed]))
    weights = 3.0 * model.coef_.T
    step = float(np.abs(weights).max()) / 127
    table = (np.round(weights / step) + 128).astype("u1").tobytes()
    floats = " ".join(f"{number:.6g}" for number in (*model.intercept_, step))
    OUT.write_bytes(b"KSEM2\n" + f"{' '.join(model.classes_)}\n{floats}\n".encode() + table)
    told = b"".join(path.read_bytes() for path in sorted((HERE / "exemplars").glob("*.txt")))
    (HERE / "exemplars.sha256").write_text(sha256(told).hexdigest() + "\n", "ascii")
    print(f"{len(listed)} exemplars, {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
