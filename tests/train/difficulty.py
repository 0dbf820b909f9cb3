"""Trains proxy/routing/difficulty.json on graded outcomes, and tells how it does on kinds that it never saw.

    python -m tests.train.difficulty [FILE]      rows as `kuro eval --outcomes` reads them, with `group`

A logistic regression: the lexicon's log-odds are its offset, the marks of an ask its features, the chance
that a small model fails where a strong one succeeds its target, the mean over PAIRS. Every group weighs the
same, and weights are held near nothing: what one kind of asks teaches shall not speak for all. For the table
groups are left out in turn. Counts and weights are kept, no text; the same file gives the same bytes.
"""

from __future__ import annotations

import sys
from collections import Counter
from math import log
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import yaml

from proxy.evaluate.curve import area, levels, trace
from proxy.evaluate.field import STRONG, WEAK, Field, gather
from proxy.evaluate.resample import Estimate, draws, estimate
from proxy.evaluate.rows import Graded, graded
from proxy.routing.classify import Classifier
from proxy.routing.difficulty import MARKS, NOTHING, Learned, Lesson, Weight
from proxy.routing.features import extract
from proxy.routing.lexicon import Lexicon
from proxy.types import ChatRequest, Features

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "proxy" / "routing" / "difficulty.json"
DATA = ROOT.parent / "shared" / "data" / "outcomes_train.jsonl"

PAIRS = (
    ("gemma-2-9b-it", "llama-3.1-nemotron-51b-instruct"),
    ("llama-3.1-8b-instruct", "llama-3.1-nemotron-51b-instruct"),
    ("qwen2.5-7b-instruct", "llama-3.1-nemotron-51b-instruct"),
    ("mistral-7b-instruct-v0.3", "llama-3.1-nemotron-51b-instruct"),
    ("mistral-7b-instruct-v0.3", "llama-3.3-nemotron-super-49b-v1"),
    ("codegemma-7b", "llama-3.1-nemotron-51b-instruct"),
    ("codegemma-7b", "llama-3.3-nemotron-super-49b-v1"),
)
"""Weak and strong: mean quality differs by 0.05 or more, and the strong one's answers are well-formed."""

MOST = {"numbers": 30, "lines": 20, "quotes": 8}
"""Counts beyond which more of a mark tells nothing more."""
HELD = 100.0
"""How near to nothing weights are held: 100 rows' worth."""
RESAMPLES = 200

Array = np.ndarray


class Asks:
    """What is known of every row: the lexicon's log-odds, its marks, its group, and how often it is hard."""

    def __init__(self, rows: list[Graded]) -> None:
        self.lexicon = msgspec.convert(
            yaml.safe_load((ROOT / "config" / "intents.yml").read_text("utf-8")), Lexicon
        )
        classifier = Classifier(self.lexicon, lesson=Lesson(NOTHING))
        self.groups = np.array([row.group for row in rows])
        self.features = [_features(row) for row in rows]
        self.texts = [features.ask for features in self.features]
        self.classified = [classifier.classify(features) for features in self.features]
        shares = [one.difficulty for one in self.classified]
        self.odds = np.array([log(share / (1.0 - share)) for share in shares])
        self.marks = np.array([[_counted(name, text) for name in MOST] for text in self.texts])
        self.hard = np.mean(
            [[row.q[strong] * (1.0 - row.q[weak]) for weak, strong in PAIRS] for row in rows], axis=1
        )
        sizes = Counter(self.groups)
        self.counts_for = np.array([len(rows) / len(sizes) / sizes[group] for group in self.groups])

    def learn(self, rows: Array) -> Learned:
        """What these rows teach."""
        marks, spread = self.marks[rows], self.marks.std(axis=0)
        scaled = np.hstack([np.ones((len(marks), 1)), marks / spread])
        found = _fit(scaled, self.hard[rows], self.odds[rows], self.counts_for[rows])
        weights = {
            name: Weight(round(float(one), 4), most)
            for (name, most), one in zip(MOST.items(), found[1:] / spread, strict=True)
        }
        return Learned(round(float(found[0]), 4), weights)

    def judged(self, learned: Learned, rows: Array) -> list[float]:
        """Log-odds of how hard these rows are."""
        lesson = Lesson(learned)
        return [self.odds[row] + lesson.odds(self.texts[row]) for row in np.flatnonzero(rows)]


def left_out(asks: Asks) -> list[float]:
    """How hard each row is, by what the other groups taught."""
    found = np.zeros(len(asks.groups))
    for group in sorted(set(asks.groups)):
        out = asks.groups == group
        found[out] = asks.judged(asks.learn(~out), out)
    return found.tolist()


def table(rows: list[Graded], scores: dict[str, list[float]]) -> None:
    """APGR per call and per dollar of every pair, by each of the scores."""
    print("| weak -> strong | " + " | ".join(scores) + " |")
    print("|---" * (1 + len(scores)) + "|")
    for weak, strong in PAIRS:
        field = gather(rows, {WEAK: weak, STRONG: strong})
        cells = [" / ".join(map(_told, _areas(field, score))) for score in scores.values()]
        print(f"| {weak} -> {strong} | " + " | ".join(cells) + " |")


def reliability(scores: list[float], hard: Array) -> None:
    """How often asks are hard that were said to be so with some share."""
    said = 1.0 / (1.0 + np.exp(-np.array(scores)))
    for part in np.array_split(np.argsort(said, kind="stable"), 5):
        print(f"said {said[part].mean():.2f}, was {hard[part].mean():.2f}")


def _areas(field: Field, score: list[float]) -> list[Estimate]:
    pair, places = field.pair(), levels(score)
    curves = [trace(pair, places, drawn) for drawn in draws(field.rows, RESAMPLES, Random(1).random)]
    whole = trace(pair, places, range(field.rows))
    return [
        estimate(
            area(whole.calls, whole.recovered), [area(curve.calls, curve.recovered) for curve in curves]
        ),
        estimate(
            area(whole.dollars, whole.recovered), [area(curve.dollars, curve.recovered) for curve in curves]
        ),
    ]


def _told(one: Estimate) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def _fit(marks: Array, hard: Array, offset: Array, counts_for: Array) -> Array:
    """Weights by Newton's method; the first is the bias, which isn't held."""
    held = HELD * np.eye(marks.shape[1])
    held[0, 0] = 0.0
    weights = np.zeros(marks.shape[1])
    for _ in range(25):
        said = 1.0 / (1.0 + np.exp(-(marks @ weights + offset)))
        slope = marks.T @ (counts_for * (hard - said)) - held @ weights
        bend = (marks * (counts_for * said * (1.0 - said))[:, None]).T @ marks + held
        weights += np.linalg.solve(bend, slope)
    return weights


def _counted(name: str, text: str) -> float:
    return float(np.log1p(min(MARKS[name](text.encode("utf-8", "replace")), MOST[name])))


def _features(row: Graded) -> Features:
    messages = row.body.get("messages") or [{"role": "user", "content": row.body["prompt"]}]
    return extract(ChatRequest(body=b"", fields={}, model="auto", messages=messages))


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    if not path.exists():
        print(f"difficulty: {path} is missing, the weights stay as they are")
        return
    with path.open("rb") as lines:
        rows = graded(lines, path.name)
    asks = Asks(rows)
    learned = asks.learn(np.ones(len(rows), bool))
    OUT.write_bytes(msgspec.json.format(msgspec.json.encode(learned), indent=2) + b"\n")
    print(f"{len(rows)} outcomes, {len(set(asks.groups))} groups: {msgspec.json.encode(learned).decode()}\n")
    unseen = left_out(asks)
    lengths = gather(rows, {}).lengths
    table(rows, {"difficulty": unseen, "lexicon alone": asks.odds.tolist(), "prompt length": lengths})
    print("\nof groups left out:")
    reliability(unseen, asks.hard)


if __name__ == "__main__":
    main()
