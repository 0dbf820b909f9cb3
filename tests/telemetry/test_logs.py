"""JSON lines, of calls and of messages."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.record import Attempt, CallRecord
from proxy.telemetry import logs
from proxy.telemetry.encoding import Batch
from proxy.telemetry.logs import REASON_LIMIT, CallLog
from proxy.telemetry.policy import LogLevel, LogPolicy


def lines(policy: LogPolicy) -> list[dict[str, Any]]:
    assert logs.stream(policy).flush(10)
    assert policy.file is not None
    path = Path(policy.file)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def policy(tmp_path: Path) -> LogPolicy:
    return LogPolicy(file=str(tmp_path / "kuro.log"))


@pytest.fixture
def configured(policy: LogPolicy) -> Iterator[LogPolicy]:
    """Logging as a running proxy has it; put back afterwards."""
    names = [None, *logs._FOREIGN]
    before = [
        (logging.getLogger(n), logging.getLogger(n).level, logging.getLogger(n).handlers[:]) for n in names
    ]
    logs.configure(policy)
    yield policy
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


class TestCalls:
    def test_a_line_for_each_call(self, policy: LogPolicy, make: Any, refused: CallRecord) -> None:
        CallLog(policy).write(Batch([make(), refused]))
        first, second = lines(policy)
        assert (first["event"], first["level"]) == ("call", "info")
        assert first["request_id"] == "req-1"
        assert first["intent"] == "code_generation"
        assert first["selected_model"] == "or/sonnet"
        assert first["latency_ms"] == 780.0
        assert first["fallback_used"] is True
        assert [a["outcome"] for a in first["attempts"]] == ["failed", "ok"]
        assert first["attempts"][0]["failure"] == "server_error"
        assert first["usage"]["prompt"] == 100
        assert (second["selected_model"], second["intent"], second["attempts"]) == (None, None, [])
        assert (second["outcome"], second["cost_usd"]) == ("refused", None)

    def test_every_member_of_a_record_is_there(self, policy: LogPolicy, refused: CallRecord) -> None:
        CallLog(policy).write(Batch([refused]))
        assert lines(policy)[0].keys() == {"event", "level", *CallRecord.__struct_fields__} - {
            "propensity",
            "prompt",
            "why",
        }

    @pytest.mark.parametrize(
        "level", [pytest.param(level, id=level.value) for level in LogLevel if level is not LogLevel.CRITICAL]
    )
    def test_at_any_level_but_critical(self, tmp_path: Path, refused: CallRecord, level: LogLevel) -> None:
        policy = LogPolicy(level=level, file=str(tmp_path / "log"))
        CallLog(policy).write(Batch([refused]))
        assert len(lines(policy)) == 1

    @pytest.mark.parametrize("off", [{"calls": False}, {"level": LogLevel.CRITICAL}])
    def test_not_when_they_are_switched_off(self, tmp_path: Path, refused: CallRecord, off: Any) -> None:
        policy = LogPolicy(file=str(tmp_path / "log"), **off)
        CallLog(policy).write(Batch([refused]))
        assert lines(policy) == []

    def test_what_an_upstream_said_is_cut_short(self, policy: LogPolicy, make: Any) -> None:
        said = "Invalid prompt: " + "secret " * 500
        record = make(attempts=[Attempt("m", "p", reason=said), Attempt("n", "p", reason="short")])
        CallLog(policy).write(Batch([record]))
        long, short = (attempt["reason"] for attempt in lines(policy)[0]["attempts"])
        assert len(long) == REASON_LIMIT
        assert long.startswith("Invalid prompt: secret")
        assert short == "short"
        assert record.attempts[0].reason == said, "the record itself is others', too"

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            pytest.param("line\nbreak", "line\nbreak", id="a line break stays inside the line"),
            pytest.param('"quoted"', '"quoted"', id="quotes"),
            pytest.param("日本", "日本", id="other scripts"),
            pytest.param("half \ud800", "half ?", id="half of a surrogate pair"),
        ],
    )
    def test_odd_text_never_breaks_a_line(self, policy: LogPolicy, make: Any, text: str, shown: str) -> None:
        record = make(error_code=text, attempts=[Attempt("m", "p", reason=text)], intents={text: 1.0})
        CallLog(policy).write(Batch([record, make()]))
        odd, after = lines(policy)
        assert odd["error_code"] == odd["attempts"][0]["reason"] == shown
        assert odd["intents"] == {shown: 1.0}
        assert after["request_id"] == "req-1"

    def test_close_waits_for_the_lines(self, policy: LogPolicy, refused: CallRecord) -> None:
        log = CallLog(policy)
        log.write(Batch([refused]))
        log.close()
        assert policy.file is not None
        assert Path(policy.file).read_bytes().endswith(b"}\n")


class TestMessages:
    @pytest.mark.parametrize("name", ["kuro", "uvicorn.error", "litestar", "asyncio", "anything.else"])
    def test_all_loggers_write_into_the_same_stream(self, configured: LogPolicy, name: str) -> None:
        logging.getLogger(name).warning("%d models", 3)
        line = lines(configured)[0]
        assert line.pop("time") > 1.7e9
        assert line == {"level": "warning", "logger": name, "pid": os.getpid(), "message": "3 models"}

    def test_extras_and_tracebacks_are_members(self, configured: LogPolicy) -> None:
        try:
            raise ValueError("boom")
        except ValueError:
            logging.getLogger("kuro").exception("bad", extra={"event": "circuit", "model": "m", "x": 1})
        line = lines(configured)[0]
        assert (line["event"], line["model"]) == ("circuit", "m")
        assert "x" not in line
        assert line["traceback"].endswith("ValueError: boom")

    def test_requests_of_libraries_are_not_told(self, configured: LogPolicy) -> None:
        for name in ("httpx", "uvicorn.access", "uvicorn"):
            logging.getLogger(name).info("GET / 200")
        assert lines(configured) == []

    def test_a_level_holds_for_libraries_too(self, configured: LogPolicy) -> None:
        logs.configure(configured, "error")
        logging.getLogger("uvicorn.error").warning("not this")
        logging.getLogger("kuro").warning("nor this")
        logging.getLogger("kuro").error("this")
        assert [line["message"] for line in lines(configured)] == ["this"]

    def test_a_message_that_does_not_fit_its_arguments_is_no_accident_for_the_caller(
        self, configured: LogPolicy, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (handler,) = [h for h in logging.getLogger().handlers if isinstance(h, logs.StreamHandler)]
        handler.handle(logging.LogRecord("kuro", logging.WARNING, "", 1, "%d", ("three",), None))
        assert lines(configured) == []
        assert "Logging error" in capsys.readouterr().err

    def test_calls_and_messages_share_one_stream(self, configured: LogPolicy, refused: CallRecord) -> None:
        logging.getLogger("kuro").info("before")
        CallLog(configured).write(Batch([refused]))
        logging.getLogger("kuro").info("after")
        assert [line.get("message", line.get("event")) for line in lines(configured)] == [
            "before",
            "call",
            "after",
        ]


def test_lost_lines_are_counted(tmp_path: Path, refused: CallRecord) -> None:
    before = logs.lost_lines()
    policy = LogPolicy(file=str(tmp_path))  # a folder
    CallLog(policy).write(Batch([refused, refused]))
    assert logs.stream(policy).flush(10)
    assert logs.lost_lines() == before + 2


def test_a_process_that_ends_writes_out_what_waits() -> None:
    script = (
        "import logging\n"
        "from proxy.telemetry import logs\n"
        "from proxy.telemetry.policy import LogPolicy\n"
        "logs.configure(LogPolicy())\n"
        "for n in range(500): logging.getLogger('kuro').info('%d', n)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    assert [json.loads(line)["message"] for line in result.stdout.splitlines()] == [
        str(n) for n in range(500)
    ]
    assert result.stderr == b""
