"""`kuro tune` as it is typed: what it proposes, when it writes, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from proxy.__main__ import main
from proxy.settings import load

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
