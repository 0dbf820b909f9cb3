"""`kuro eval` as it is typed: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from proxy.__main__ import main
from proxy.record import CallRecord
from proxy.telemetry.archive import Archive, columns
from proxy.telemetry.encoding import encode
from proxy.telemetry.segments import Segment
from tests.commands.test_tune import configured, logged

LABELS = [
    {"prompt": "Write a Python function that reverses a list", "gold_intent": "code", "lang": "en"},
    {"prompt": "What is 17 * 23?", "gold_intent": "math", "lang": "en"},
    {"prompt": "Hallo, wie geht es dir?", "gold_intent": "casual_chat", "lang": "de"},
    {"prompt": "Translate to French: good morning", "gold_intent": "writing", "also_ok": ["translation"]},
    {"prompt": "What is 4 * 4?", "gold_intent": "roleplay"},
]
HARD = "Prove rigorously that the distributed algorithm is optimal, step by step, for constraint {}."
EASY = "Who was {}?"


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def outcomes(small: str, large: str) -> list[dict[str, Any]]:
    """A small model that fails at what is hard, and a large one at nine times the price."""
    chance, rows = Random(2), []
    for number in range(80):
        hard = bool(number % 2)
        fails = chance.random() < (0.8 if hard else 0.1)
        q = {small: float(not fails), large: 1.0}
        rows.append(
            {"prompt": (HARD if hard else EASY).format(number), "q": q, "cost": {small: 1e-5, large: 9e-5}}
        )
    return rows


def test_labelled_asks_become_a_scorecard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["eval", "--intents", written(tmp_path / "a.jsonl", LABELS), "--json", "--resamples", "20"]) == 0
    )
    card = json.loads(capsys.readouterr().out)
    assert card["rows"] == 5 and card["accuracy"]["value"] == 0.8
    assert card["confusion"]["roleplay"] == {"math": 1} and card["languages"]["en"] == {
        "right": 1.0,
        "rows": 2,
    }


def test_the_same_scorecard_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--intents", written(tmp_path / "a.jsonl", LABELS), "--resamples", "20"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("5 asks; 95 % intervals\naccuracy 0.800 [")
    assert main(["eval", "--intents", str(tmp_path / "a.jsonl"), "--resamples", "0"]) == 0
    assert capsys.readouterr().out.startswith("5 asks; no intervals\naccuracy 0.800, macro-F1")
    assert "1  roleplay taken for math" in out


def test_mistakes_are_shown_with_what_spoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "a.jsonl", [*LABELS, *LABELS])
    common = ["eval", "--intents", file, "--resamples", "0", "--mistakes"]
    assert main([*common, "1", "--json"]) == 0
    (mistake,) = json.loads(capsys.readouterr().out)["mistakes"]
    assert (mistake["ask"], mistake["gold"], next(iter(mistake["intents"]))) == (
        "What is 4 * 4?",
        "roleplay",
        "math",
    )
    assert mistake["evidence"]
    assert main([*common, "9"]) == 0
    assert capsys.readouterr().out.count("\n  What is 4 * 4?\n") == 2


def test_difficulty_that_knows_who_needs_the_strong_model_is_better_than_chance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, plot = written(tmp_path / "o.jsonl", outcomes("tiny", "huge")), tmp_path / "o.svg"
    assert main(["eval", "--outcomes", file, "--plot", str(plot), "--resamples", "100"]) == 0
    out = capsys.readouterr().out
    assert "80 asks, from tiny (weak) to huge (strong)" in out and "averaged over the curve" in out
    assert plot.read_text("utf-8").startswith("<svg ")


def test_difficulty_that_sends_the_wrong_asks_up_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "o.jsonl", outcomes("tiny", "huge"))
    assert main(["eval", "--outcomes", file, "--models", "weak=huge,strong=tiny", "--resamples", "50"]) == 1
    assert "NOT shown to be better than chance" in capsys.readouterr().out


def test_the_routers_own_choices_are_measured_among_models_of_the_registry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "o.jsonl", outcomes("fast", "simulated/reasoning"))
    main(["eval", "--outcomes", file, "--json", "--resamples", "20"])
    card = json.loads(capsys.readouterr().out)
    points = card["points"]
    assert {f"router dial {place}" for place in range(11)} <= points.keys() and "router dial" in card[
        "curves"
    ]
    assert points["router dial 10"]["cost"]["value"] <= points["router dial 0"]["cost"]["value"]
    assert {"router auto", "router auto:cheap", "router auto:best", "shuffle"} <= points.keys()
    assert points["router auto:best"]["quality"]["value"] >= points["router auto:cheap"]["quality"]["value"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--outcomes", "{missing}"], "missing.jsonl: No such file or directory"),
        (["--outcomes", "{labels}"], "a.jsonl: line 1: Object missing required field `q`"),
        (["--outcomes", "{outcomes}", "--mistakes", "3"], "--mistakes goes with --intents"),
        (["--intents", "{labels}", "--plot", "x.svg"], "--plot and --models go with --outcomes"),
        (["--outcomes", "{outcomes}", "--models", "gpt=tiny"], "--models: 'gpt' is no ready model"),
        (["--outcomes", "{outcomes}", "--model", "auto:brave"], "auto:brave"),
    ],
    ids=[
        "no such file",
        "rows of the other kind",
        "mistakes of outcomes",
        "a plot of labels",
        "an unknown model",
        "an unknown profile",
    ],
)
def test_bad_input_is_named(
    arguments: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "{missing}": str(tmp_path / "missing.jsonl"),
        "{labels}": written(tmp_path / "a.jsonl", LABELS),
        "{outcomes}": written(tmp_path / "o.jsonl", outcomes("tiny", "huge")),
    }
    assert main(["eval", *(files.get(argument, argument) for argument in arguments)]) == 2
    assert problem in capsys.readouterr().err


def kept(path: Path, calls: list[tuple[str, str, float | None, float, float]]) -> str:
    """A call log of (id, model, feedback, difficulty, cost)."""
    archive = Archive(path)
    for id, model, score, hard, cost in calls:
        record = CallRecord(id, 1_800_000_000.0)
        record.selected_model, record.intent, record.difficulty, record.cost_usd = model, "math", hard, cost
        archive.add([Segment([columns(record)], encode(record))])
        if score is not None:
            archive.score(id, "", score, 1_800_000_001.0)
    archive.close()
    return str(path)


def test_former_calls_with_feedback_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[tuple[str, str, float | None, float, float]] = []
    for number in range(60):
        hard, suited = number % 2 / 2 + 0.25, number % 7 != 0
        model = "large" if (hard > 0.5) == suited else "small"
        right = float(model == "large" or hard < 0.5)
        calls.append((f"r{number}", model, right, hard, 9e-4 if model == "large" else 1e-4))
    file = kept(tmp_path / "calls.db", [*calls, ("unsaid", "small", None, 0.1, 1e-4)])
    assert main(["eval", "--calls", file, "--resamples", "50"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("60 calls with feedback") and "better than chance" in out


def test_calls_that_were_left_to_chance_tell_what_others_would_have_made_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = logged(configured(tmp_path), 600, 0.9, 0.5)
    asked = ["eval", "--config", str(tmp_path), "--calls", file, "--resamples", "50"]
    assert main([*asked, "--json"]) == 1, "the router chooses the worse one everywhere: so does its shuffle"
    ways = json.loads(capsys.readouterr().out)["drawn"]["ways"]
    assert {"router", "always small", "always large", "random", "shuffle"} == ways.keys()
    assert ways["always small"]["quality"]["low"] < 0.9 < ways["always small"]["quality"]["high"]
    assert ways["always small"]["lead"]["high"] < 0.0 == ways["shuffle"]["lead"]["value"]
    assert main(asked) == 1
    out = capsys.readouterr().out
    assert "of them were left to chance" in out and "as drawn: " in out


@pytest.mark.parametrize(
    ("calls", "problem"),
    [([("a", "small", None, 0.1, 1e-4)], "no call has feedback"), (None, "is not there")],
    ids=["nobody said anything", "no log"],
)
def test_a_log_that_says_nothing_is_named(
    calls: list[tuple[str, str, float | None, float, float]] | None,
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "calls.db"
    if calls is not None:
        kept(file, calls)
    assert main(["eval", "--calls", str(file)]) == 2
    assert problem in capsys.readouterr().err
