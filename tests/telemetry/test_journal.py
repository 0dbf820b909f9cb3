"""The call log of a process: what it takes, what it loses, and that it never stands in the way."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from proxy.record import Grounds, Query
from proxy.telemetry import journal as room
from proxy.telemetry.archive import Reader
from proxy.telemetry.encoding import Batch, encode_lines
from proxy.telemetry.history import History
from proxy.telemetry.journal import Journal
from proxy.telemetry.policy import PROMPT_MARGIN, CallsPolicy
from proxy.types import Features, RoutePlan
from tests.telemetry.conftest import Make

NOON = 1_800_000_000.0
Open = Callable[..., Journal]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Open]:
    journals: list[Journal] = []

    def open_journal(wall: Callable[[], float] = lambda: NOON, **members: Any) -> Journal:
        policy = CallsPolicy(**{"file": str(path), **members})
        journals.append(Journal(policy, wall, lambda plan, epoch: Grounds(epoch)))
        return journals[-1]

    yield open_journal
    for each in journals:
        each.close()


def ids(path: Path) -> list[str]:
    with Reader(path) as reader:
        return [row["request_id"] for row in reader.find(Query(limit=100_000))]


def remembered(journal: Journal) -> list[str]:
    return [json.loads(line)["request_id"] for _, line in journal.recent.calls()][::-1]


def test_calls_are_written_by_a_thread(opened: Open, make: Make, path: Path) -> None:
    journal = opened()
    journal.write(Batch([make(request_id="a"), make(request_id="b")]))
    journal.write(Batch([make(request_id="c")]))
    assert journal.flush() and journal.lost == 0
    assert ids(path) == ["c", "b", "a"]


def test_its_end_writes_what_waits(opened: Open, make: Make, path: Path) -> None:
    journal = opened()
    journal.write(Batch([make(request_id=f"{n}") for n in range(1000)]))
    journal.close()
    assert len(ids(path)) == 1000


@pytest.mark.parametrize("file", ["database", "memory"])
def test_history_sees_what_was_just_written(opened: Open, make: Make, path: Path, file: str) -> None:
    journal = opened(**({} if file == "database" else {"file": None}))
    history = History(journal, lambda: str(path) if file == "database" else None)
    journal.write(Batch([make(request_id="a"), make(request_id="b", outcome="error")]))
    page = history.find(Query(limit=1))
    assert ([row["request_id"] for row in page.calls], page.source) == (["b"], file)
    assert (page.next is not None) == (file == "database")
    assert [row["request_id"] for row in history.find(Query(failed=True)).calls] == ["b"]
    record = history.record("a")
    assert record is not None and (record["request_id"], record["score"]) == ("a", None)
    assert len(record["attempts"]) == 2
    assert history.record("c") is None
    assert len(history.spend(0.0, NOON + 1)) == (1 if file == "database" else 0)


@pytest.mark.parametrize("file", ["database", "memory"])
def test_feedback_is_kept_beside_the_call_of_its_key(opened: Open, make: Make, path: Path, file: str) -> None:
    journal = opened(**({} if file == "database" else {"file": None}))
    journal.write(Batch([make(request_id="a", key_id=key) for key in ("alice", "bob")]))
    journal.score("a", "alice", 0.25)
    history = History(journal, lambda: str(path) if file == "database" else None)
    found = [history.record("a", key) for key in ("alice", "bob")]
    assert [record and record["score"] for record in found] == [0.25, None]


def test_the_latest_stay_in_memory(opened: Open, make: Make) -> None:
    journal = opened(recent=3, file=None)
    journal.write(Batch([make(request_id=f"{n}") for n in range(5)]))
    assert remembered(journal) == ["2", "3", "4"]
    journal.adopt(CallsPolicy(recent=2))
    assert remembered(journal) == ["3", "4"]


def test_a_prompt_is_taken_off_the_record_and_kept_without_its_secrets(
    opened: Open, make: Make, path: Path
) -> None:
    record = make(request_id="a", prompt="Write to jane@mail.example \ud800")
    journal = opened()
    journal.write(Batch([record, make(request_id="b")]))
    assert record.prompt is UNSET and b"jane" not in journal.recent.calls()[0][1]
    journal.flush()
    with Reader(path) as reader:
        kept = {row["request_id"]: row for row in map(json.loads, reader.records(Query()))}
    assert kept["a"]["prompt"] == "Write to [redacted] ?" and "prompt" not in kept["b"]
    assert kept["a"].keys() - {"prompt"} == kept["b"].keys()


def test_a_decision_is_taken_off_the_record_and_its_grounds_are_kept(
    opened: Open, make: Make, path: Path
) -> None:
    first, then = ({"groq/llama": (0.5, 1.0, quality)} for quality in (0.9, 0.8))
    plans = [
        RoutePlan(("groq/llama",), "score", Features("Hi"), standing=each) for each in (first, first, then)
    ]
    records = [make(request_id=f"{n}", why=(plan, "e")) for n, plan in enumerate(plans)]
    records[1].prompt = "Hi"
    named = RoutePlan(("groq/llama",), "explicit", Features(""))
    journal = opened()
    journal.write(Batch([*records, make(request_id="named", why=(named, "f")), make(request_id="none")]))
    journal.flush()
    assert {record.why for record in records} == {UNSET}
    with Reader(path) as reader:
        kept = {row["request_id"]: row for row in map(json.loads, reader.records(Query()))}
    stood = [[0.5, 1.0, 0.9], [0.5, 1.0, 0.9], [0.5, 1.0, 0.8]]
    assert [kept[f"{n}"]["grounds"] for n in range(3)] == [
        {"epoch": "e", "standing": {"groq/llama": each}} for each in stood
    ]
    assert (kept["named"]["grounds"], kept["1"]["prompt"]) == ({"epoch": "f"}, "Hi")
    assert "grounds" not in kept["none"]


def test_what_is_old_is_forgotten_in_passing(opened: Open, make: Make, path: Path) -> None:
    journal = opened(max_age=100.0)
    journal.write(Batch([make(request_id="old", time=NOON - 101), make(request_id="new", time=NOON - 99)]))
    journal.flush()
    assert ids(path) == ["new"]


def prompt_kept(journal: Journal, path: Path, make: Make, prompt: str) -> str:
    journal.write(Batch([make(prompt=prompt)]))
    journal.flush()
    with Reader(path) as reader:
        text = json.loads(next(reader.records(Query())))["prompt"]
    assert isinstance(text, str)
    return text


CARD = "4111 1111 1111 1111 "


@pytest.mark.parametrize(
    ("chars", "prompt", "kept"),
    [
        pytest.param(60, "x" * 200, "x" * 60, id="no secret"),
        pytest.param(60, "x" * 50 + " jane@mail.example", "x" * 50 + " [redacted", id="across the end"),
        pytest.param(60, "x" * 50 + " sk-" + "1" * 5000, "x" * 50 + " [redacted", id="longer than all"),
        pytest.param(3000, CARD * 195 + "x" * 91 + CARD, ("[redacted] " * 195)[:-1], id="half of one"),
    ],
)
def test_a_long_prompt_is_cut_after_its_secrets_were_taken_out(
    opened: Open, make: Make, path: Path, chars: int, prompt: str, kept: str
) -> None:
    journal = opened(prompt_chars=chars)
    assert prompt_kept(journal, path, make, prompt[: chars + PROMPT_MARGIN]) == kept


def test_a_reload_changes_what_is_redacted(opened: Open, make: Make, path: Path) -> None:
    journal = opened()
    assert prompt_kept(journal, path, make, "zebra, jane@mail.example") == "zebra, [redacted]"
    journal.adopt(CallsPolicy(file=str(path), redact=("zebra",)))
    assert prompt_kept(journal, path, make, "zebra, jane@mail.example") == "[redacted], jane@mail.example"


def test_what_is_old_is_forgotten_without_a_call(
    opened: Open, make: Make, path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(room, "PRUNES", 0.01)
    hours = iter([NOON, *(NOON + 101 for _ in range(100_000))])
    journal = opened(lambda: next(hours), max_age=100.0)
    journal.write(Batch([make(request_id="old", time=NOON)]))
    journal.flush()
    deadline = time.monotonic() + 10
    while ids(path):
        assert time.monotonic() < deadline


# --- what goes wrong -----------------------------------------------------------------------------


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_database_that_stays_locked_loses_a_batch_and_takes_the_next(
    opened: Open, make: Make, path: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("proxy.telemetry.archive.BUSY", 0.01)
    journal = opened()
    journal.write(Batch([make(request_id="a")]))
    journal.flush()
    with locked(path), caplog.at_level(logging.ERROR, "kuro.calls"):
        began = time.monotonic()
        journal.write(Batch([make(request_id="b"), make(request_id="c")]))
        assert time.monotonic() - began < 1
        journal.flush()
    assert journal.lost == 2 and "calls could not be kept" in caplog.text
    journal.write(Batch([make(request_id="d")]))
    journal.flush()
    assert ids(path) == ["d", "a"] and journal.lost == 2


def test_what_could_not_be_kept_is_shown_beside_what_was(
    opened: Open, make: Make, path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("proxy.telemetry.archive.BUSY", 0.01)
    journal = opened(recent=3)
    history = History(journal, lambda: str(path))

    def write(*names: int) -> None:
        journal.write(Batch([make(request_id=f"{n}", time=NOON + n, intent="math") for n in names]))
        journal.flush()

    def seen(**query: Any) -> tuple[list[str], str, int | None]:
        page = history.find(Query(**query))
        return [row["request_id"] for row in page.calls], page.source, page.next

    write(1, 2)
    with locked(path):
        write(3)
        assert seen(after=2) == (["3"], "both", None)
        write(5, 6)
        assert seen() == (["6", "5", "3", "2", "1"], "both", None)
        assert seen(after=2) == (["6", "5", "3"], "both", None)
        assert seen(limit=4) == (["6", "5", "3", "2"], "both", 2)
        assert seen(limit=3) == (["6", "5", "3"], "both", 3)
        assert seen(before=3) == (["2", "1"], "database", None)
        assert seen(intent="code_generation") == ([], "database", None)
        found = history.record("3")
        assert found is not None and found["request_id"] == "3" and "event" not in found
    write(7)
    assert seen() == (["7", "6", "5", "3", "2", "1"], "both", None)
    assert seen(after=2) == (["7"], "database", None)


@pytest.mark.parametrize(
    ("content", "said"), [(b"Dear diary, " * 500, "no SQLite database"), (None, "could not be kept")]
)
def test_a_file_that_is_not_ours_loses_all_and_says_so_once(
    opened: Open, make: Make, path: Path, content: bytes | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir() if content is None else path.write_bytes(content)
    journal = opened()
    with caplog.at_level(logging.ERROR, "kuro.calls"):
        for n in range(3):
            journal.write(Batch([make(request_id=f"{n}")]))
            journal.flush()
    assert journal.lost == 3 and said in caplog.text
    assert len(caplog.records) < 3
    assert remembered(journal) == ["0", "1", "2"]
    if content is not None:
        assert path.read_bytes() == content


@pytest.mark.parametrize(("prompt", "fits"), [(None, 3), ("Hi" * 1000, 1)])
def test_what_finds_the_backlog_full_is_lost(
    opened: Open, make: Make, path: Path, monkeypatch: Any, prompt: str | None, fits: int
) -> None:
    record = make(request_id="0")
    monkeypatch.setattr(room, "BACKLOG", 3 * len(encode_lines([record])))
    monkeypatch.setattr(room, "GATHER", 60.0)  # so that all of them wait together
    journal = opened()
    for n in range(5):
        journal.write(Batch([replace(record, request_id=f"{n}", prompt=UNSET if prompt is None else prompt)]))
    journal.flush()
    assert (journal.lost, len(ids(path))) == (5 - fits, fits)


def test_a_file_that_was_removed_is_made_anew(opened: Open, make: Make, path: Path) -> None:
    journal = opened()
    journal.write(Batch([make(request_id="gone")]))
    journal.flush()
    for file in path.parent.glob("calls.db*"):
        file.unlink()
    journal.write(Batch([make(request_id="kept")]))
    journal.flush()
    assert ids(path) == ["kept"] and journal.lost == 0


def test_a_file_that_breaks_is_answered_for_from_memory(opened: Open, make: Make, path: Path) -> None:
    journal = opened()
    journal.write(Batch([make(request_id="a")]))
    journal.close()
    content = path.read_bytes()
    path.write_bytes(content[:200] + b"\xff" * (len(content) - 200))
    history = History(journal, lambda: str(path))
    page, record = history.find(Query()), history.record("a")
    assert (page.source, [row["request_id"] for row in page.calls]) == ("memory", ["a"])
    assert record is not None and record["request_id"] == "a"
    assert history.spend(0.0, NOON + 1) == [] and history.trends(0.0, 60.0) == []
