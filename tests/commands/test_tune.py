"""`kuro tune` as it is typed: what it proposes, when it writes, and what it leaves alone."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from proxy.__main__ import main
from proxy.gateway import book
from proxy.record import CallRecord
from proxy.routers import Live, build
from proxy.routing.grounds import grounds
from proxy.routing.policy import Weights
from proxy.routing.router import new_memory
from proxy.settings import load
from proxy.telemetry.archive import Archive, columns
from proxy.telemetry.encoding import encode
from proxy.telemetry.segments import Segment
from proxy.types import RoutePlan
from proxy.wire.chat import parse

ASKS = (
    "Prove rigorously that the distributed algorithm {} is optimal, step by step, for every constraint.",
    "Who was {}?",
    "Write a Python function that merges {} sorted lists and explain its complexity.",
    "What is 17 * {}?",
)
REGISTRY = """\
providers:
  p: {dialect: simulated}
models:
  - {id: small, provider: p, upstream_model: s, price: {input: 0.1, output: 0.1}, weights: {quality: 0.5}}
  - {id: large, provider: p, upstream_model: l, price: {input: 9, output: 9}, weights: {quality: 0.95}}
"""
ROUTING = """\
# ours
profiles:
  balanced: {quality: 2.0, success: 0.5, latency: 0.25, cost: 1.0}   # plain `auto`
  odd: {quality: 0, cost: 1.0}
cache: {size: 7}   # few
"""


def configured(folder: Path) -> Path:
    (folder / "model_registry.yml").write_text(REGISTRY, "utf-8")
    (folder / "routing.yml").write_text(ROUTING, "utf-8")
    return folder


def outcomes(folder: Path, rows: int, small: float, large: float) -> str:
    """How often each of the two is right; the large one costs a cent."""
    chance, file = Random(4), folder / "outcomes.jsonl"
    found: list[dict[str, Any]] = [
        {
            "prompt": ASKS[row % len(ASKS)].format(row),
            "q": {"small": float(chance.random() < small), "large": float(chance.random() < large)},
            "cost": {"small": 1e-4, "large": 1e-2},
        }
        for row in range(rows)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in found), "utf-8")
    return str(file)


def tune(folder: Path, rows: str, *more: str) -> int:
    return main(["tune", "--config", str(folder), "--outcomes", rows, "--resamples", "200", *more])


def test_better_weights_are_proposed_then_written_and_nothing_else_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = configured(tmp_path), outcomes(tmp_path, 400, 0.8, 0.8)
    assert tune(folder, file) == 0
    out = capsys.readouterr().out
    assert "the new weights are better" in out and "written" not in out
    assert (folder / "routing.yml").read_text("utf-8") == ROUTING

    assert tune(folder, file, "--write", "--json") == 0
    card = json.loads(capsys.readouterr().out)
    new = card["new"]["weights"]["cost"]
    assert new > 1.0 and card["gain"]["low"] > 0.0 > card["cost"]["high"]
    former = "worth: {balanced: {quality: 2, success: 0.5, latency: 0.25, cost: 1}}\n"
    assert (folder / "routing.yml").read_text("utf-8") == ROUTING.replace(
        "latency: 0.25, cost: 1.0}", f"latency: 0.25, cost: {new:g}}}"
    ) + former
    assert load(folder).routing.profiles["balanced"].cost == new
    assert not list(folder.glob(".routing*"))

    tune(folder, file, "--json")
    again = json.loads(capsys.readouterr().out)
    assert again["price"]["cost"] == 1.0, "what an answer is worth is still what the operator wrote"
    assert again["old"]["weights"]["cost"] == new
    assert again["old"]["worth"]["value"] == pytest.approx(card["new"]["worth"]["value"])


def test_what_is_not_better_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, file = configured(tmp_path), outcomes(tmp_path, 200, 0.4, 0.57)
    assert tune(folder, file, "--write") == 1
    assert "NOT shown to be better" in capsys.readouterr().out
    assert (folder / "routing.yml").read_text("utf-8") == ROUTING


@pytest.mark.parametrize(
    ("rows", "more", "problem"),
    [
        (60, [], "give at least 100"),
        (100, ["--profile", "brave"], "--profile: 'brave' is none of balanced, odd"),
        (100, ["--profile", "odd"], "gives quality no weight"),
        (100, ["--models", "tiny=small"], "--models: 'tiny' is no ready model"),
        (0, [], "holds no row"),
    ],
    ids=["few rows", "an unknown profile", "quality counts nothing", "an unknown model", "no rows"],
)
def test_what_cannot_be_judged_is_refused(
    rows: int, more: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(configured(tmp_path), outcomes(tmp_path, rows, 0.5, 0.5), *more) == 2
    assert problem in capsys.readouterr().err


def test_models_that_the_registry_does_not_have_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = configured(tmp_path), Path(outcomes(tmp_path, 100, 0.5, 0.5))
    file.write_text(file.read_text("utf-8").replace("large", "huge"), "utf-8")
    assert tune(folder, str(file)) == 2
    assert "q: of huge, small the registry has 1 ready, and two are needed" in capsys.readouterr().err


def test_the_carried_configuration_is_never_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KURO_CONFIG", raising=False)
    assert main(["tune", "--outcomes", outcomes(tmp_path, 100, 0.5, 0.5), "--write"]) == 2
    assert "--write needs --config" in capsys.readouterr().err


def test_weights_from_the_environment_are_left_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = configured(tmp_path), outcomes(tmp_path, 400, 0.8, 0.8)
    written = ROUTING.replace("0.25, cost: 1.0}", "0.25, cost: ${PRICE:-1.0}}")
    (folder / "routing.yml").write_text(written, "utf-8")
    assert tune(folder, file, "--write") == 2
    assert "profiles.balanced.cost: comes from the environment: change it there" in capsys.readouterr().err
    assert (folder / "routing.yml").read_text("utf-8") == written


def test_a_linked_file_is_changed_where_it_lies(tmp_path: Path) -> None:
    (elsewhere := tmp_path / "repository").mkdir()
    folder, file = configured(tmp_path), outcomes(tmp_path, 400, 0.8, 0.8)
    lies = (folder / "routing.yml").rename(elsewhere / "routing.yml")
    lies.chmod(0o640)
    (folder / "routing.yml").symlink_to(lies)
    assert tune(folder, file, "--write") == 0
    assert (folder / "routing.yml").is_symlink() and "worth" in lies.read_text("utf-8")
    assert lies.stat().st_mode & 0o777 == 0o640


# --- the call log --------------------------------------------------------------------------------

DRAWING = ROUTING + "explore: {share: 0.2, models: 2}\n"


def logged(folder: Path, calls: int, small: float, large: float) -> str:
    """A call log of the configuration in `folder`; how often callers are pleased with each of the two."""
    (folder / "routing.yml").write_text(DRAWING, "utf-8")
    settings, chance = load(folder), Random(8)
    live = Live(new_memory(settings.routing, lambda: 0.0), lambda _: frozenset(), lambda _: None, dict, str)
    router = build(settings, live)
    router._chance = chance.random
    file = folder / "calls.db"
    archive = Archive(file)
    for number in range(calls):
        body = {"model": "auto", "messages": [{"role": "user", "content": ASKS[0].format(number)}]}
        plan = router.plan(parse(msgspec.json.encode(body)), {})
        assert isinstance(plan, RoutePlan)
        record = CallRecord(f"call-{number}", 1_800_000_000.0 + number)
        book(record, plan, settings.epoch)
        record.selected_model = plan.models[0]
        record.cost_usd = 1e-2 if plan.models[0] == "large" else 1e-4
        record.why = UNSET
        kept = encode(grounds(plan, settings.epoch)), encode(plan.standing)
        archive.add([Segment([columns(record)], encode(record), *kept)])
        good = chance.random() < (large if plan.models[0] == "large" else small)
        archive.score(record.request_id, "", float(good), record.time + 1.0)
    archive.close()
    return str(file)


def tune_calls(folder: Path, *more: str) -> int:
    file = str(folder / "calls.db")
    return main(["tune", "--config", str(folder), "--calls", file, "--resamples", "200", *more])


def test_feedback_on_calls_that_were_drawn_moves_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logged(configured(tmp_path), 500, 0.9, 0.5)
    assert tune_calls(tmp_path) == 0
    out = capsys.readouterr().out
    assert "on unseen calls" in out and "to which chance had given" in out and "are better" in out
    assert tune_calls(tmp_path, "--write", "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["met"] >= 20 and card["unknown"] == 0 and card["cost"]["high"] < 0.0 < card["gain"]["low"]
    assert load(tmp_path).routing.profiles["balanced"].cost == card["new"]["weights"]["cost"] > 1.0

    # By the new weights their choice is the small one, which the same calls know as well.
    tune_calls(tmp_path, "--json")
    again = json.loads(capsys.readouterr().out)
    assert again["old"]["weights"] == card["new"]["weights"] and not again["better"]
    assert again["old"]["worth"]["value"] == pytest.approx(card["new"]["worth"]["value"], abs=0.1)


def test_calls_that_show_nothing_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logged(configured(tmp_path), 300, 0.5, 0.8)
    assert tune_calls(tmp_path, "--write") == 1
    assert "NOT shown to be better" in capsys.readouterr().out
    assert (tmp_path / "routing.yml").read_text("utf-8") == DRAWING


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--since", "2099-01-01"], "of 0 calls that chance had a hand in, 0 tell something"),
        (["--profile", "odd"], "gives quality no weight"),
        (["--models", "a=b"], "--models goes with --outcomes"),
    ],
    ids=["nothing so late", "quality counts nothing", "names of outcomes"],
)
def test_calls_that_cannot_be_judged_are_refused(
    more: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logged(configured(tmp_path), 10, 0.5, 0.5)
    assert tune_calls(tmp_path, *more) == 2
    assert problem in capsys.readouterr().err


def test_a_log_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune_calls(configured(tmp_path)) == 2
    assert "is not there" in capsys.readouterr().err
    assert tune(tmp_path, "-", "--since", "1h") == 2
    assert "--since goes with --calls" in capsys.readouterr().err


def test_chances_that_can_not_be_right_are_not_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if somebody had dropped the calls that were not drawn."""
    file = logged(configured(tmp_path), 500, 0.9, 0.5)
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM calls WHERE route <> 'explore' AND id % 2")
    assert tune_calls(tmp_path, "--write") == 1
    assert "was asked first" in capsys.readouterr().out


def test_profiles_that_are_written_nowhere_are_not_lost_to_the_one_that_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = configured(tmp_path), outcomes(tmp_path, 400, 0.8, 0.8)
    (folder / "routing.yml").write_text("cache: {size: 7}\n", "utf-8")
    before = load(folder).routing
    assert tune(folder, file, "--write", "--json") == 0
    new = json.loads(capsys.readouterr().out)["new"]["weights"]
    after = load(folder).routing
    assert after.profiles == {**before.profiles, "balanced": Weights(**new)} and after.cache.size == 7
    assert after.worth == {"balanced": before.profiles["balanced"]}
