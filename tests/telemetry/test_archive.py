"""The call log's database: what is asked of it, and what it forgets."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.record import CallRecord, Query
from proxy.telemetry import archive as room
from proxy.telemetry.archive import (
    COLUMNS,
    SIZES,
    STEP,
    Archive,
    ArchiveError,
    Reader,
    columns,
)
from proxy.telemetry.encoding import encode, encode_lines
from proxy.telemetry.segments import Segment
from tests.telemetry.conftest import Make

NOON = 1_800_000_000.0


def rows(*records: CallRecord) -> list[Segment]:
    return [Segment([columns(record) for record in records], encode_lines(records))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "calls.db"


@pytest.fixture
def archive(path: Path) -> Iterator[Archive]:
    opened = Archive(path)
    yield opened
    opened.close()


@pytest.fixture
def kept(archive: Archive, make: Make, refused: CallRecord, path: Path) -> Path:
    """Four calls: good, failed, that of a caller who left, and one that was refused at once."""
    archive.add(
        rows(
            make(request_id="a-good", time=NOON, baseline_usd=0.01, judge_usd=0.001, key_id="alice"),
            make(request_id="a-bad", time=NOON + 60, outcome="error", status=502, cost_usd=None, session=""),
            make(request_id="b-left", time=NOON + 120, outcome="caller_left", intent="math"),
        )
    )
    refused.time = NOON + 180
    archive.add(rows(refused))
    return path


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({}, ["req-2", "b-left", "a-bad", "a-good"], id="all, latest first"),
        pytest.param({"limit": 2}, ["req-2", "b-left"], id="so many"),
        pytest.param({"failed": True}, ["a-bad"], id="failed: neither refused nor left"),
        pytest.param({"outcome": "refused"}, ["req-2"], id="by outcome"),
        pytest.param({"model": "or/sonnet"}, ["b-left", "a-bad", "a-good"], id="by the model that answered"),
        pytest.param({"model": "auto"}, ["b-left", "a-bad", "a-good"], id="by the model that was asked for"),
        pytest.param({"intent": "math"}, ["b-left"], id="by intent"),
        pytest.param({"session": "s1"}, ["b-left", "a-good"], id="by conversation"),
        pytest.param({"key": "alice"}, ["a-good"], id="by key"),
        pytest.param({"request_id": "a-"}, ["a-bad", "a-good"], id="by the beginning of an id"),
        pytest.param({"request_id": "a_"}, [], id="an id's beginning is no pattern"),
        pytest.param({"since": NOON + 60}, ["req-2", "b-left", "a-bad"], id="since, inclusive"),
        pytest.param({"until": NOON + 60}, ["a-good"], id="until, exclusive"),
        pytest.param({"since": NOON + 999}, [], id="since, after all"),
        pytest.param({"until": NOON - 999}, [], id="until, before all"),
        pytest.param({"since": NOON + 1, "key": "", "intent": "math"}, ["b-left"], id="all must hold"),
        pytest.param({"model": "' OR 1=1 --"}, [], id="SQL is text"),
    ],
)  # fmt: skip
def test_a_query(kept: Path, query: dict[str, Any], found: list[str]) -> None:
    with Reader(kept) as reader:
        assert [row["request_id"] for row in reader.find(Query(**query))] == found
        assert [json.loads(record)["request_id"] for record in reader.records(Query(**query))] == found


@pytest.mark.parametrize(
    "query", [{"failed": True}, {"model": "auto"}, {"session": "s1"}, {"request_id": "a-"}]
)
def test_memory_answers_as_the_database_does(
    query: dict[str, Any], make: Make, archive: Archive, path: Path
) -> None:
    records = [
        make(request_id="a-1", outcome="error"),
        make(request_id="b-2", session="s2"),
        make(request_id="a-3", requested_model="groq/llama"),
    ]
    archive.add(rows(*records))
    with Reader(path) as reader:
        found = reader.find(Query(**query))
    in_memory = map(room.columns, reversed(records))
    assert room.summaries(in_memory, Query(**query)) == [{**row, "cursor": None} for row in found]


def test_pages_follow_each_other_without_a_gap_while_calls_come(
    kept: Path, archive: Archive, make: Make
) -> None:
    with Reader(kept) as reader:
        first = reader.find(Query(limit=3))
        archive.add(rows(make(request_id="later"), make(request_id="last")))
        second = reader.find(Query(limit=3, before=first[-1]["cursor"]))
        newer = reader.find(Query(after=first[0]["cursor"]))
    assert [row["request_id"] for row in newer] == ["last", "later"]
    assert [row["request_id"] for row in (*first, *second)] == ["req-2", "b-left", "a-bad", "a-good"]


def test_a_summary_has_all_columns_and_a_record_is_whole(kept: Path, archive: Archive) -> None:
    archive.score("a-good", "alice", 0.5, NOON)
    archive.score("a-good", "alice", 1.0, NOON + 1)
    archive.score("a-good", "alice", 0.25, NOON)  # another worker was told it sooner, and writes it later
    with Reader(kept) as reader:
        (summary,) = reader.find(Query(request_id="a-good"))
        found = reader.record("a-good")
        assert reader.record("a-") is None
    assert set(summary) == {"cursor", "score", "saved_usd", *COLUMNS} and summary["score"] == 1.0
    assert (summary["prompt_tokens"], summary["cost_usd"], summary["fallback"]) == (100, 0.002, True)
    assert found is not None and found[1] == 1.0
    assert len(json.loads(found[0])["attempts"]) == 2


def test_who_stops_reading_leaves_nothing_behind(kept: Path) -> None:
    with Reader(kept) as reader:
        records = reader.records(Query())
        assert next(records)
    # As `kuro calls --json | head`: rows were left, and the connection is closed before they are.
    del records


def test_feedback_is_on_the_call_of_its_key(archive: Archive, make: Make, path: Path) -> None:
    archive.add(rows(make(request_id="same", key_id="alice"), make(request_id="same", key_id="bob")))
    archive.score("same", "alice", 0.25, NOON)
    with Reader(path) as reader:
        assert [(row["key_id"], row["score"]) for row in reader.find(Query())] == [
            ("bob", None),
            ("alice", 0.25),
        ]
        assert [(reader.record("same", key) or ("", ""))[1] for key in ("alice", "bob")] == [0.25, None]


def test_spend_by_day_and_model(kept: Path, archive: Archive, make: Make) -> None:
    archive.add(rows(make(request_id="next-day", time=NOON + 86400, selected_model="groq/llama")))
    with Reader(kept) as reader:
        days = reader.spend(NOON, NOON + 2 * 86400)
        total = reader.totals(Query(limit=1))
    assert [(row["day"], row["model"], row["calls"], row["failed"]) for row in days] == [
        ("2027-01-15", "or/sonnet", 3, 1),
        ("2027-01-15", None, 1, 0),
        ("2027-01-16", "groq/llama", 1, 0),
    ]
    assert days[0]["cost_usd"] == pytest.approx(0.004) and days[0]["cost_unknown"] == 1
    assert [days[0][name] for name in ("saved_usd", "judge_usd")] == [
        pytest.approx(0.004),
        pytest.approx(0.001),
    ]
    assert total == {
        "calls": 5,
        "failed": 1,
        "cost_usd": pytest.approx(0.006),
        "wasted_usd": pytest.approx(0.004),
        "judge_usd": pytest.approx(0.001),
        "saved_usd": pytest.approx(0.003),
        "saved_unknown": 3,
    }


NO_ANSWER: dict[str, Any] = {"selected_model": None, "cost_usd": None, "baseline_usd": None}
BESIDE = {"wasted_usd": 0.002, "judge_usd": 0.0005}


@pytest.mark.parametrize(
    ("kept", "saved", "unknown"),
    [
        pytest.param([], 0.0, 0, id="no call"),
        pytest.param([NO_ANSWER], 0.0, 0, id="no answer"),
        pytest.param([{**NO_ANSWER, **BESIDE}], -0.0025, 0, id="no answer, and yet there were costs"),
        pytest.param([BESIDE], 0.0005, 0, id="a baseline, and all that was spent beside the answer"),
        pytest.param([{}], 0.003, 0, id="a baseline"),
        pytest.param([{"baseline_usd": None}], None, 1, id="no baseline"),
        pytest.param([{"cost_usd": None}], None, 1, id="no price"),
        pytest.param([{}, {"baseline_usd": None}], 0.003, 1, id="a baseline since a while"),
    ],
)
def test_what_was_saved_is_unknown_where_nothing_can_be_compared(
    archive: Archive, make: Make, path: Path, kept: list[dict[str, Any]], saved: float | None, unknown: int
) -> None:
    made = {"cost_usd": 0.001, "baseline_usd": 0.004, "wasted_usd": 0.0, "judge_usd": 0.0}
    archive.add(rows(*(make(**{**made, **fields}) for fields in kept)))
    with Reader(path) as reader:
        total, days = reader.totals(Query()), reader.spend(NOON - 1, NOON + 1)
        found = [row["saved_usd"] for row in reader.find(Query()) if row["saved_usd"] is not None]
    assert saved is None or sum(found) == pytest.approx(saved)
    assert (total["saved_usd"], total["saved_unknown"]) == (saved and pytest.approx(saved), unknown)
    assert [(day["saved_usd"], day["saved_unknown"]) for day in days] == [
        (saved and pytest.approx(saved), unknown)
    ][: len(kept)]


def test_trends_count_attempts_by_model_and_time(archive: Archive, make: Make, path: Path) -> None:
    archive.add(rows(*(make(request_id=f"{n}", time=NOON + 30 * n) for n in range(4))))
    with Reader(path) as reader:
        first, second = reader.trends(NOON, 60.0, 100)
        assert sum(point["attempts"] for trend in reader.trends(NOON, 60.0, 1) for point in trend.points) == 2
    assert (first.model, [(p["at"] - NOON, p["attempts"], p["ok"]) for p in first.points]) == (
        "groq/llama",
        [(0.0, 2, 0), (60.0, 2, 0)],
    )
    assert (second.model, second.points[0]["ok"], second.points[0]["ttft_ms"]) == ("or/sonnet", 2, 200.0)


def test_what_is_old_is_forgotten_step_by_step(archive: Archive, make: Make, path: Path) -> None:
    archive.add(rows(*(make(request_id=f"old-{n}", time=NOON) for n in range(STEP + 10))))
    archive.add(rows(make(request_id="new", time=NOON + 100)))
    archive.score("old-1", "", 1.0, NOON)
    assert [archive.prune(NOON + 50, 1 << 40) for _ in range(3)] == [STEP, 10, 0]
    with Reader(path) as reader:
        assert [row["request_id"] for row in reader.find(Query())] == ["new"]


def test_above_its_size_the_oldest_go_and_the_file_shrinks(archive: Archive, make: Make, path: Path) -> None:
    long = "x" * 2000
    for part in range(4):
        archive.add(rows(*(make(request_id=f"{part}-{n}", error_code=long) for n in range(STEP))))
    archive.prune(0.0, 1 << 40)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    before = path.stat().st_size
    while archive.prune(0.0, before // 2):
        pass
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert path.stat().st_size <= before // 2
    with Reader(path) as reader:
        left = [row["request_id"] for row in reader.find(Query(limit=10 * STEP))]
    assert left[0] == f"3-{STEP - 1}" and f"0-{0}" not in left and len(left) >= STEP


def segment(*records: CallRecord, standings: bytes | None = None) -> Segment:
    grounds = encode_lines([{"epoch": record.request_id} for record in records])
    return Segment([columns(record) for record in records], encode_lines(records), grounds, standings)


def segments(path: Path) -> list[tuple[int, int]]:
    """Ids of the first and the last call of each, of which there are records, too."""
    with closing(sqlite3.connect(path)) as other:
        last = other.execute("SELECT id FROM records ORDER BY id").fetchall()
        spans: list[tuple[int, int]] = other.execute("SELECT first, id FROM spans ORDER BY id").fetchall()
    assert last == [(id,) for _, id in spans]
    return spans


def test_what_calls_have_in_common_is_kept_once_and_read_with_each(
    archive: Archive, make: Make, path: Path
) -> None:
    one, two = b'{"groq/llama":[0.5,1.0,0.9]}', b'{"groq/llama":[0.5,0.2,0.9]}'
    said = [one, one, two, None, one, two]
    records = [make(request_id=f"{n}") for n in range(len(said))]
    archive.add([segment(make(request_id="before"))])
    archive.add([segment(*records, standings=b"\n".join([one, b"0", two, b"null", b"0", b"2"]))])
    with Reader(path) as reader:
        whole = [json.loads(record) for record in reader.records(Query(limit=100))][::-1][1:]
        alone = reader.record("4")
    assert [each["grounds"] for each in whole] == [
        {"epoch": f"{n}", "standing": json.loads(standing)} if standing else {"epoch": f"{n}"}
        for n, standing in enumerate(said)
    ]
    assert alone is not None and json.loads(alone[0]) == whole[4]


@pytest.mark.parametrize(
    ("parts", "beside"),
    [
        pytest.param({}, {}, id="no decision"),
        pytest.param(
            {"grounds": b'{"epoch":"e"}\n'}, {"grounds": {"epoch": "e"}}, id="that rests on nothing"
        ),
        pytest.param(
            {"grounds": b'{"epoch":"e"}\n', "standings": b'{"m":[1]}', "prompts": ["Hi"]},
            {"grounds": {"epoch": "e", "standing": {"m": [1]}}, "prompt": "Hi"},
            id="all",
        ),
        pytest.param(
            {"prompts": ["\0 \"}' \u20ac \ud800\r\n"]},
            {"prompt": "\0 \"}' \u20ac ?\r\n"},
            id="odd characters",
        ),
        pytest.param({"prompts": [""]}, {"prompt": ""}, id="nothing was asked"),
        pytest.param({"prompts": [None]}, {}, id="nobody wanted the prompt"),
    ],
)  # fmt: skip
def test_a_record_is_put_together(
    archive: Archive, make: Make, path: Path, parts: dict[str, Any], beside: dict[str, Any]
) -> None:
    record = make()
    archive.add([Segment([columns(record)], encode_lines([record]), **parts)])
    with Reader(path) as reader:
        (found,) = reader.records(Query())
    logged = json.loads(encode(record))
    assert (logged.pop("event"), logged.pop("level")) == ("call", "info")
    assert json.loads(found) == {**logged, **beside}


def test_a_segment_goes_with_the_last_of_its_calls(archive: Archive, make: Make, path: Path) -> None:
    calls = [make(request_id=f"{n}", time=NOON + n) for n in range(4)]
    archive.add([segment(*calls[:2]), segment(*calls[2:])])
    for oldest, left in ((1, [(1, 2), (3, 4)]), (2, [(3, 4)]), (3, [(3, 4)]), (4, [])):
        archive.prune(NOON + oldest, 1 << 40)
        assert segments(path) == left
        with Reader(path) as reader:
            found = [json.loads(record)["request_id"] for record in reader.records(Query())]
        assert found == [f"{n}" for n in range(oldest, 4)][::-1]


def test_a_segment_between_two_that_stay_goes_too(archive: Archive, make: Make, path: Path) -> None:
    """Calls of a clock that was ahead outlast those that came after them."""
    for ahead in (True, False, False, True):
        archive.add([segment(make(time=NOON + 100 * ahead), make(time=NOON + 100 * ahead))])
    assert archive.prune(NOON + 50, 1 << 40) == 4
    assert segments(path) == [(1, 2), (7, 8)]


def test_no_id_comes_twice_while_a_segment_has_it(archive: Archive, make: Make, path: Path) -> None:
    """Calls of a clock that was ahead are forgotten before those of lower ids."""
    archive.add([segment(make(request_id="kept", time=NOON + 100), make(request_id="gone", time=NOON))])
    archive.prune(NOON + 50, 1 << 40)
    archive.add([segment(make(request_id="later", time=NOON + 100))])
    with Reader(path) as reader:
        found = {row["request_id"]: row["grounds"] for row in map(json.loads, reader.records(Query()))}
    assert found == {"kept": {"epoch": "kept"}, "later": {"epoch": "later"}}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({"since": NOON + 10}, ["late", "10"], id="since"),
        pytest.param({"until": NOON + 10}, ["early", "0"], id="until"),
        pytest.param({"since": NOON + 5, "until": NOON + 15}, ["10"], id="both"),
    ],
)
def test_times_are_found_in_whatever_order_calls_ended(
    archive: Archive, make: Make, path: Path, query: dict[str, Any], found: list[str]
) -> None:
    for name, time in (("0", 0), ("10", 10), ("early", -50), ("late", 99)):
        archive.add([segment(make(request_id=name, time=NOON + time))])
    with Reader(path) as reader:
        assert [row["request_id"] for row in reader.find(Query(**query))] == found


def test_what_was_forgotten_while_it_is_read_is_passed_over(archive: Archive, make: Make, path: Path) -> None:
    for n in range(3):
        archive.add([segment(make(request_id=f"{n}", time=NOON + n))])
    with Reader(path) as reader:
        records = reader.records(Query())
        found = [json.loads(next(records))["request_id"]]
        archive.prune(NOON + 2, 1 << 40)
        found += [json.loads(record)["request_id"] for record in records]
    # How many SQLite has looked up by then is its own affair.
    assert found == ["2", "1", "0"][: len(found)]


@pytest.mark.parametrize("count", [0, 1, SIZES[0] - 1, SIZES[0], 2 * sum(SIZES)])
def test_any_number_is_kept_in_order(archive: Archive, make: Make, path: Path, count: int) -> None:
    archive.add(rows(*(make(request_id=f"{n}") for n in range(count))))
    with Reader(path) as reader:
        assert [row["request_id"] for row in reader.find(Query(limit=500))] == [f"{n}" for n in range(count)][
            ::-1
        ]


def test_a_row_that_is_refused_takes_all_of_its_batch_with_it(
    archive: Archive, make: Make, path: Path
) -> None:
    bad = make()
    bad.outcome = None  # type: ignore[assignment]
    with pytest.raises(ArchiveError, match="NOT NULL"):
        archive.add(rows(*(make() for _ in range(SIZES[0] - 1)), bad))
    archive.add(rows(make(request_id="next")))
    with Reader(path) as reader:
        assert [row["cursor"] for row in reader.find(Query())] == [1]


def test_nobody_else_reads_it(archive: Archive, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_two_writers_share_it(archive: Archive, path: Path, make: Make) -> None:
    other = Archive(path)
    for n in range(5):
        archive.add(rows(make(request_id=f"one-{n}")))
        other.add(rows(make(request_id=f"two-{n}")))
    other.close()
    with Reader(path) as reader:
        assert reader.totals(Query())["calls"] == 10


def test_a_reader_sees_what_was_there_while_a_writer_writes(kept: Path) -> None:
    with closing(sqlite3.connect(kept, isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        writing.execute("DELETE FROM calls")
        with Reader(kept) as reader:
            assert reader.totals(Query())["calls"] == 4
        writing.execute("ROLLBACK")
