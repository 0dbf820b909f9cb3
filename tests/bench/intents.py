"""The classifier's report on labelled prompts: macro-F1, per intent, per language, confusions, calibration.

    python tests/bench/intents.py [../shared/data/intents_dev.jsonl] [--show N]

Rows: {"prompt", "gold_intent", "also_ok": [...], "lang", "source"}. A prediction within `also_ok` is right.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec
import yaml

from proxy.routing.classify import Classifier, Lexicon
from proxy.routing.features import extract
from proxy.types import ChatRequest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "intents_dev.jsonl"
NAMES = {
    "chat": "casual_chat",
    "code": "code_generation",
    "reasoning": "complex_reasoning",
    "summarization": "long_context_summary",
}
"""Labels of the data that differ from ours."""


def load_classifier(path: Path = ROOT / "config" / "intents.yml") -> Classifier:
    return Classifier(msgspec.convert(yaml.safe_load(path.read_text("utf-8")), Lexicon))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]


def request(prompt: str) -> ChatRequest:
    messages = [{"role": "user", "content": prompt}]
    return ChatRequest(body=b"", fields={"messages": messages}, model="auto", messages=messages)


def judge(classifier: Classifier, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row with `gold`, `said`, `sure` (confidence), `right`, `took` (microseconds) added."""
    judged = []
    for row in data:
        asked = request(row["prompt"])
        started = time.perf_counter()
        found = classifier.classify(extract(asked))
        took = (time.perf_counter() - started) * 1e6
        gold = NAMES.get(row["gold_intent"], row["gold_intent"])
        accepted = {gold, *(NAMES.get(name, name) for name in row.get("also_ok", ()))}
        said, sure = found.intents[0]
        judged.append(
            {**row, "gold": gold, "said": said, "sure": sure, "right": said in accepted, "took": took}
            | {"evidence": found.evidence, "all": found.intents, "difficulty": found.difficulty}
        )
    return judged


def f1(judged: list[dict[str, Any]]) -> dict[str, tuple[float, float, float, int]]:
    """Per gold intent: precision, recall, F1, rows. An acceptable answer counts for the gold label."""
    right: Counter[str] = Counter()
    said: Counter[str] = Counter()
    gold: Counter[str] = Counter()
    for row in judged:
        answer = row["gold"] if row["right"] else row["said"]
        gold[row["gold"]] += 1
        said[answer] += 1
        right[row["gold"]] += row["right"]
    table = {}
    for name in sorted(gold):
        precision = right[name] / said[name] if said[name] else 0.0
        recall = right[name] / gold[name]
        score = 2 * precision * recall / (precision + recall) if right[name] else 0.0
        table[name] = (precision, recall, score, gold[name])
    return table


def macro_f1(judged: list[dict[str, Any]]) -> float:
    return statistics.mean(score for _, _, score, _ in f1(judged).values())


def report(judged: list[dict[str, Any]], show: int) -> None:
    print(f"rows {len(judged)}, macro-F1 {macro_f1(judged):.3f}, accuracy {_share(judged):.3f}\n")
    print(f"{'intent':22} {'precision':>9} {'recall':>7} {'F1':>6} {'rows':>5}")
    for name, (precision, recall, score, count) in f1(judged).items():
        print(f"{name:22} {precision:9.2f} {recall:7.2f} {score:6.2f} {count:5}")
    for key in ("lang", "source"):
        groups = defaultdict(list)
        for row in judged:
            groups[row.get(key, "?")].append(row)
        print(f"\n{key}: " + ", ".join(f"{k} {_share(v):.2f} ({len(v)})" for k, v in sorted(groups.items())))
    print("\nconfusions (gold -> said):")
    wrong = Counter((row["gold"], row["said"]) for row in judged if not row["right"])
    for (gold, said), count in wrong.most_common(12):
        print(f"  {count:3}  {gold} -> {said}")
    print("\ncalibration (confidence -> right):")
    for low in (0.0, 0.4, 0.6, 0.8, 0.9):
        high = {0.0: 0.4, 0.4: 0.6, 0.6: 0.8, 0.8: 0.9, 0.9: 1.01}[low]
        bucket = [row for row in judged if low <= row["sure"] < high]
        if bucket:
            mean = statistics.mean(row["sure"] for row in bucket)
            print(f"  {mean:.2f} -> {_share(bucket):.2f}  ({len(bucket)})")
    took = sorted(row["took"] for row in judged)
    print(f"\nfirst sight, us: median {took[len(took) // 2]:.0f}, p95 {took[int(len(took) * 0.95)]:.0f}")
    for row in [row for row in judged if not row["right"]][:show]:
        print(f"\n{row['gold']} -> {row['all'][:3]}\n  {row['prompt'][:160]!r}\n  {row['evidence']}")


def _share(judged: list[dict[str, Any]]) -> float:
    return sum(row["right"] for row in judged) / len(judged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=DATA)
    parser.add_argument("--show", type=int, default=0, help="print this many mistakes")
    options = parser.parse_args()
    report(judge(load_classifier(), rows(options.data)), options.show)


if __name__ == "__main__":
    main()
