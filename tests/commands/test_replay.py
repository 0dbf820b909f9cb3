"""`kuro replay`: records of the call log, decided again."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from proxy.__main__ import main
from proxy.record import CallRecord
from proxy.routers import replayer
from proxy.routing.grounds import grounds
from proxy.settings import load
from proxy.telemetry.archive import Archive, columns
from proxy.telemetry.segments import Segment
from proxy.types import RoutePlan, Usage
from proxy.wire.chat import parse

PROMPTS = ("Write a Python function that merges two sorted lists", "Tell me a joke", "Prove that 2 is prime")


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GROQ_API_KEY", "OPENROUTER_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OLLAMA_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def records() -> list[bytes]:
    """As the default configuration decides, with the simulated models."""
    settings = load(None)
    router = replayer(settings)._router
    found = []
    for number, prompt in enumerate(PROMPTS):
        plan = router.plan(
            parse(msgspec.json.encode({"model": "auto", "messages": [{"role": "user", "content": prompt}]})),
            {},
        )
        assert isinstance(plan, RoutePlan) and plan.classification is not None
        record = CallRecord(
            f"req-{number}",
            1_800_000_000.0 + number,
            requested_model="auto",
            selected_model=plan.models[0],
            route=plan.route,
            profile=plan.profile,
            plan=plan.models,
            scores=plan.ranking,
            intents=dict(plan.classification.intents),
            difficulty=plan.classification.difficulty,
            usage=Usage(10, 10),
            cost_usd=0.0,
        )
        whole = {
            **msgspec.to_builtins(record),
            "grounds": replace(grounds(plan, settings.epoch), standing=plan.standing),
        }
        found.append(msgspec.json.encode(whole))
    return found


@pytest.fixture
def file(tmp_path: Path, records: list[bytes]) -> str:
    path = tmp_path / "calls.jsonl"
    path.write_bytes(b"\n".join([*records, b""]))
    return str(path)


@pytest.fixture
def other(tmp_path: Path) -> str:
    """The same configuration with a rule before everything."""
    directory = tmp_path / "other"
    assert main(["init", str(directory)]) == 0
    routing = directory / "routing.yml"
    routing.write_text(
        routing.read_text().replace("rules:\n", "rules:\n  - {name: all, model: simulated/fast}\n", 1)
    )
    return str(directory)


def test_under_the_same_configuration_nothing_changes(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", file, "--strict"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "3 records, 3 decided again, 0 otherwise (0.0%)"


def test_under_another_one_it_says_what_would(
    file: str, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["replay", "--config", other, file]) == 0
    out = capsys.readouterr().out
    assert "2 otherwise (66.7%)" in out and "simulated/code -> simulated/fast" in out
    assert "because rule:all holds" in out and "cost of 3 calls, with as many tokens: $0.0000" in out
    assert "3  by their former intents, for their words were not kept" in out
    assert main(["replay", "--config", other, file, "--strict"]) == 1


def test_rows_for_programs(file: str, other: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    capfdbinary.readouterr()
    assert main(["replay", "--config", other, file, "--json"]) == 0
    *rows, last = map(json.loads, capfdbinary.readouterr().out.splitlines())
    assert [row["request_id"] for row in rows] == ["req-0", "req-1", "req-2"]
    assert (
        rows[0]["before"] == "simulated/code" and rows[0]["after"] == "simulated/fast" and rows[0]["changed"]
    )
    assert (last["summary"]["decided"], last["summary"]["changed"]) == (3, 2)


def test_a_database_and_standard_input(
    tmp_path: Path, records: list[bytes], monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = Archive(tmp_path / "calls.db")
    calls = [CallRecord(f"{n}", 1_800_000_000.0 + n) for n in range(len(records))]
    archive.add([Segment([columns(call) for call in calls], b"\n".join(records))])
    archive.close()
    (tmp_path / "calls.jsonl").write_bytes(b"\n".join(records))
    for name in ("calls.db", "calls.jsonl"):
        assert main(["replay", str(tmp_path / name), "--since", "1800000001"]) == 0
        assert capsys.readouterr().out.startswith("2 records, 2 decided again")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(records))))
    assert main(["replay", "-"]) == 0
    assert capsys.readouterr().out.startswith("3 records")


def test_bad_rows_are_named_and_the_others_go_on(
    tmp_path: Path, records: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_bytes(
        b"\n".join([records[0], b"no JSON", b'{"request_id": "old", "plan": ["a"], "route": "score"}'])
    )
    assert main(["replay", str(path)]) == 1
    found = capsys.readouterr()
    assert "row 2 is no call record" in found.err
    assert "2 records, 1 decided again" in found.out and "its grounds were not kept" in found.out
    assert main(["replay", str(path), "--json"]) == 1
    last = json.loads(capsys.readouterr().out.splitlines()[1])
    assert (last["request_id"], last["undecided"]) == ("old", "its grounds were not kept")


def test_of_many_bad_rows_the_first_are_named_and_the_others_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b'{"prompt": "Hello"}\n' * 1008)
    assert main(["replay", str(path)]) == 1
    *named, rest = capsys.readouterr().err.splitlines()
    assert [line.partition(" is ")[0] for line in named] == [f"row {n}" for n in range(1, 6)]
    assert rest == "1,003 more rows are no call records"


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", "--help"])
    assert "1 when some row is no call record" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_what_can_not_be_read_is_said(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.startswith("kuro: ")
