"""`kuro calls`: a table for people, records for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.__main__ import main
from proxy.record import CallRecord
from proxy.telemetry.archive import Archive, columns
from proxy.telemetry.encoding import encode_lines
from proxy.telemetry.segments import Segment
from proxy.types import Usage


def call(name: str, time: float, **members: object) -> CallRecord:
    record = CallRecord(name, time)
    usual = {
        "requested_model": "auto",
        "selected_model": "groq/llama",
        "intent": "math",
        "route": "score",
        "usage": Usage(10, 20),
        "cost_usd": 0.0015,
        "baseline_usd": 0.0025,
        "latency_ms": 812.4,
        "outcome": "ok",
        "status": 200,
    }
    for member, value in {**usual, **members}.items():
        setattr(record, member, value)
    return record


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "calls.db"
    archive = Archive(path)
    records = [
        call("req-1", 1_799_000_000.0),
        call("req-2", 1_800_000_000.0, fallback_used=True),
        call("req-3", 1_800_000_001.0, outcome="error", status=502, selected_model=None, usage=None,
             cost_usd=None, wasted_usd=0.5),
    ]  # fmt: skip
    archive.add([Segment([columns(record) for record in records], encode_lines(records))])
    archive.close()
    return str(path)


def test_a_call_that_failed_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = Archive(tmp_path / "calls.db")
    failed = call("req-1", 1_800_000_000.0, outcome="error", status=502, error_code="upstream_auth_error")
    archive.add([Segment([columns(failed)], encode_lines([failed]))])
    archive.close()
    assert main(["calls", "--file", str(tmp_path / "calls.db")]) == 0
    _, row, _ = capsys.readouterr().out.splitlines()
    assert row.endswith("  812  upstream_auth_error")


def test_no_call_is_between_now_and_before(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calls", "--file", file, "--since", "2h", "--until", "3h"]) == 2
    assert "--until lies before --since" in capsys.readouterr().err


def test_a_table_with_a_total(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calls", "--file", file]) == 0
    header, third, second, first, total = capsys.readouterr().out.splitlines()
    assert header.split() == [
        "time",
        "id",
        "model",
        "intent",
        "route",
        "outcome",
        "tokens",
        "cost",
        "saved",
        "ms",
    ]
    assert third.split()[2:] == [
        "req-3",
        "auto",
        "math",
        "score",
        "error",
        "502",
        "-",
        "-",
        "-0.500000",
        "812",
    ]
    assert second.split()[2:8] == ["req-2", "groq/llama*", "math", "score", "ok", "10+20"]
    assert first.split()[-3:] == ["0.001500", "0.001000", "812"]
    assert total.startswith("3 of 3 calls, 1 failed, cost $0.0030, wasted $0.5000, saved -$0.4980 ")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--failed"], ["req-3"]),
        (["--since", "2027-01-10"], ["req-3", "req-2"]),
        (["--until", "2027-01-10"], ["req-1"]),
        (["--model", "groq/llama", "--limit", "1"], ["req-2"]),
        (["--id", "req-2"], ["req-2"]),
        (["--intent", "writing"], []),
    ],
)
def test_records(
    file: str, arguments: list[str], found: list[str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["calls", "--file", file, "--json", *arguments]) == 0
    records = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [record["request_id"] for record in records] == found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "no point in time"),
        (["--limit", "0"], "not a number from 1"),
        (["--model", ""], "is empty"),
    ],
)
def test_a_bad_argument_is_explained(
    file: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["calls", "--file", file, *arguments])
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_without_a_database_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calls", "--file", str(tmp_path / "calls.db")]) == 2
    assert "no call has been kept yet" in capsys.readouterr().err


def test_switched_off_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path)]) == 0
    proxy = tmp_path / "proxy.yml"
    proxy.write_text(
        proxy.read_text()
        .replace("  calls:                           #", "  calls:\n    enabled: false  #")
        .replace("    enabled: true\n    file: ", "    file: ", 1)
    )
    assert main(["calls", "--config", str(tmp_path)]) == 2
    assert "switched off in proxy.yml" in capsys.readouterr().err
