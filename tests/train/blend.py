"""Fits proxy/routing/blend.json: what the rules and the learned pass count beside each other.

    python -m tests.train.blend

The learned pass is trained without a fifth of the exemplars' files, in turn, and judges those: whoever writes
a file has one manner, and real callers have another. Asks that are nearly alike go together. Likelihood
decides; the same exemplars give the same bytes.

But for one thing: how far others' asks are from any of ours, no exemplar can tell. What was learned knows
its authors' ways best, the rules don't, so it counts less beside them than the likelihood says (AFAR).
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import yaml
from scipy import sparse
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components

from proxy.evaluate.labels import Said, calibration
from proxy.routing.blend import Blend
from proxy.routing.classify import Classifier
from proxy.routing.features import extract
from proxy.routing.lexicon import Lexicon
from proxy.routing.semantic import LEAST
from proxy.types import ChatRequest
from tests.train.train import Exemplar, Seen, exemplars, marks

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "proxy" / "routing" / "blend.json"
FOLDS = 5
AFAR = 0.6
"""What the learned pass counts beside the rules, of what would be best for exemplars. Tried from 0.45 to 1:
on asks of others it is better the lower it is, on our own the higher."""
ALIKE = 0.55
"""Cosine of two asks' marks from which they are nearly alike."""

Array = np.ndarray


def main() -> None:
    listed = exemplars()
    rules, learned, gold = opinions(listed)

    def loss(*sums: Array) -> float:
        return -float(np.log(softmax(sum(sums))[np.arange(len(gold)), gold]).mean())

    alone = _least(lambda counts: loss(counts[0] * rules), [1.0])
    both = _least(lambda counts: loss(counts[0] * rules, counts[1] * learned), [1.0, 1.0])
    share = AFAR * both[1] / both[0]
    scale = _least(lambda counts: loss(counts[0] * (rules + share * learned)), [1.0])[0]
    found = Blend(*(round(float(one), 3) for one in (*alone, scale, share * scale)))
    OUT.write_bytes(msgspec.json.encode(found) + b"\n")
    print(msgspec.json.encode(found).decode())
    reliability(softmax(found.rules * rules + found.learned * learned), gold)


def opinions(listed: list[Exemplar]) -> tuple[Array, Array, Array]:
    """Of every exemplar: the rules' log-odds, what was learned without it, and its intent's column."""
    seen, intents = Seen(listed), np.array([one.intent for one in listed])
    told = seen.rows(listed)
    names = sorted(set(intents))
    folds, learned = _folds(listed, marks(listed)), np.zeros((len(listed), len(names)))
    for fold in range(FOLDS):
        out = folds == fold
        model = seen.fit([one for one, held in zip(listed, out, strict=True) if not held])
        learned[out] = np.maximum(model.predict_log_proba(told[out]), LEAST)
    lexicon = msgspec.convert(yaml.safe_load((ROOT / "config" / "intents.yml").read_text("utf-8")), Lexicon)
    classifier = Classifier(lexicon)
    rules = [[said[name] for name in names] for said in (classifier.rules(_features(one)) for one in listed)]
    return np.array(rules), learned, np.searchsorted(names, intents)


def softmax(sums: Array) -> Array:
    raised = np.exp(sums - sums.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def reliability(shares: Array, gold: Array) -> None:
    """How often exemplars that were out of sight were judged right, by how sure the verdict was."""
    told, sure = shares.argmax(axis=1), shares.max(axis=1)
    answers = [Said(str(g), str(t), float(s)) for g, t, s in zip(gold, told, sure, strict=True)]
    for bin in calibration(answers):
        print(f"said {bin.sure:.2f}, was {bin.right:.2f} ({bin.rows})")


def _folds(listed: list[Exemplar], told: sparse.csr_matrix) -> Array:
    """The turn of each exemplar: that of its file, or of the first that is nearly alike."""
    files = sorted({one.file for one in listed})
    turn = np.array([files.index(one.file) % FOLDS for one in listed])
    _, first = connected_components((told @ told.T) > ALIKE * 9.0, directed=False)
    return turn[np.unique(first, return_index=True)[1][first]]


def _least(loss: object, start: list[float]) -> Array:
    return minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-7}).x


def _features(one: Exemplar) -> object:
    messages = [{"role": "user", "content": one.ask}]
    return extract(ChatRequest(body=b"", fields={}, model="auto", messages=messages))


if __name__ == "__main__":
    main()
