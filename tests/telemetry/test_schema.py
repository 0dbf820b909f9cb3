"""The tables of the call log: made once by many, brought up to date, and whose file is refused."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.record import CallRecord, Query
from proxy.telemetry import schema as room
from proxy.telemetry.archive import Archive, Reader, columns
from proxy.telemetry.encoding import encode_lines
from proxy.telemetry.schema import APPLICATION, MIGRATIONS, ArchiveError, RefusedError
from proxy.telemetry.segments import Segment
from tests.telemetry.conftest import Make

NOON = 1_800_000_000.0


def rows(*records: CallRecord) -> list[Segment]:
    return [Segment([columns(record) for record in records], encode_lines(records))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "calls.db"


# --- whose file it is ----------------------------------------------------------------------------


def made(path: Path, *statements: str) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def made_by(path: Path, version: int, *scripts: str) -> None:
    """The database of a former version, by statements with `;` between them."""
    statements = [statement for script in scripts for statement in script.split(";") if statement.strip()]
    stamps = f"PRAGMA application_id = {APPLICATION}", f"PRAGMA user_version = {version}"
    made(path, *statements, *stamps)


FOREIGN = [
    pytest.param(("CREATE TABLE calls (x)",), "another application's database", id="another application's"),
    pytest.param(
        (f"PRAGMA application_id = {APPLICATION}", f"PRAGMA user_version = {len(MIGRATIONS) + 1}",
         "CREATE TABLE calls (x)"),
        "of a newer Kuro",
        id="a newer version's",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("statements", "said"), FOREIGN)
@pytest.mark.parametrize("opens", [Archive, Reader])
def test_a_foreign_database_is_refused_and_left_as_it_is(
    opens: type[Any], statements: tuple[str, ...], said: str, path: Path
) -> None:
    made(path, *statements)
    before = path.read_bytes()
    with pytest.raises(RefusedError, match=said):
        opens(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("opens", [Archive, Reader])
def test_what_is_no_database_is_refused_and_left_as_it_is(opens: type[Any], path: Path) -> None:
    path.parent.mkdir()
    path.write_text("Dear diary, " * 500)
    with pytest.raises(RefusedError, match="no SQLite database"):
        opens(path)
    assert path.read_text() == "Dear diary, " * 500


def test_a_reader_makes_no_database(path: Path) -> None:
    with pytest.raises(RefusedError, match="no call has been kept yet"):
        Reader(path)
    assert not path.exists()


def test_many_that_make_it_at_once_have_one(tmp_path: Path, make: Make) -> None:
    """None sees it half made, and takes it for another application's."""

    def write(path: Path, name: str) -> None:
        start.wait()
        archive = Archive(path)
        archive.add(rows(make(request_id=name)))
        archive.close()

    for n in range(10):
        start = threading.Barrier(8)
        path = tmp_path / f"{n}.db"
        writers = [threading.Thread(target=write, args=(path, f"{k}")) for k in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        with Reader(path) as reader:
            assert sorted(found["request_id"] for found in reader.find(Query())) == [f"{k}" for k in range(8)]


INDEXES = {"calls_request", "spans_latest", "spans_earliest"}
FORMER = """
INSERT INTO calls VALUES (7, 1800000000.0, 'a', 's', 'alice', 'auto', 'groq/llama', 'groq', 'math', 'score',
    'ok', 200, NULL, 12.5, NULL, 10, 20, 0.5, 0.0, NULL, 1, CAST('{"request_id":"a"}' AS BLOB))
"""


def test_calls_of_the_first_version_are_kept(path: Path, make: Make) -> None:
    scored = "INSERT INTO feedback VALUES ('a', 0.5, 1); INSERT INTO feedback VALUES ('forgotten', 0.5, 1)"
    made_by(path, 1, MIGRATIONS[0], FORMER, scored)
    with pytest.raises(RefusedError, match="of an older Kuro"):
        Reader(path)
    archive = Archive(path)
    archive.add(rows(make(request_id="b")))
    archive.close()
    with Reader(path) as reader:
        later, former = reader.find(Query())
        assert reader.record("a") == reader.record("a", "alice") == (b'{"request_id":"a"}', 0.5)
        assert json.loads(next(reader.records(Query())))["request_id"] == "b"
    assert (former["cursor"], former["model"], former["cost_usd"]) == (7, "groq/llama", 0.5)
    assert (later["cursor"], later["profile"], former["profile"]) == (8, make().profile, "")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE sql <> ''")}
    assert names == {"calls", "records", "standings", "spans", "feedback", *INDEXES}


THIRD = """
INSERT INTO calls SELECT 8, time, 'b', session, key_id, requested_model, model, provider, intent, route, '',
    outcome, status, error_code, latency_ms, ttft_ms, prompt_tokens, completion_tokens, cost_usd,
    wasted_usd, baseline_usd, fallback FROM calls;
INSERT INTO records VALUES (8, CAST('{"request_id":"b","grounds":{"epoch":"e"}}' AS BLOB), 8);
INSERT INTO standings VALUES (8, CAST('{"m":[1]}' AS BLOB))
"""


def test_calls_of_the_third_version_are_whole(path: Path) -> None:
    steps = [MIGRATIONS[0], FORMER, *MIGRATIONS[1:3], THIRD]
    made_by(path, 3, *steps)
    Archive(path).close()
    with Reader(path) as reader:
        assert reader.record("a") == (b'{"request_id":"a"}', None)
        assert reader.record("b") == (
            b'{"request_id":"b","grounds":{"epoch":"e","standing":{"m":[1]}}}', None
        )  # fmt: skip


FIFTH = """
INSERT INTO calls SELECT 8, time, 'b', session, key_id, requested_model, model, provider, intent, route, '',
    outcome, status, error_code, latency_ms, ttft_ms, prompt_tokens, completion_tokens, cost_usd,
    wasted_usd, baseline_usd, fallback FROM calls;
INSERT INTO records (id, record) VALUES (8, CAST('{"request_id":"b","judge_usd":0.25}' AS BLOB))
"""


def test_what_the_judge_cost_in_calls_of_the_fifth_version_is_added_up(path: Path) -> None:
    steps = [MIGRATIONS[0], FORMER, *MIGRATIONS[1:5], FIFTH]
    made_by(path, 5, *steps)
    Archive(path).close()
    with Reader(path) as reader:
        assert [row["judge_usd"] for row in reader.find(Query())] == [0.25, 0.0]
        assert reader.totals(Query())["judge_usd"] == 0.25


SIXTH = """
WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 240)
INSERT INTO calls SELECT id, 1800000000.0 + id, 'req-' || id, 's', 'alice', 'auto', 'groq/llama', 'groq',
    'math', 'score', 'balanced', 'ok', 200, NULL, 12.5, NULL, 10, 20, 0.5, 0.0, NULL, 0, 0
    FROM n WHERE id NOT IN (60, 61);
INSERT INTO records (id, record, grounds, standing, prompt) SELECT id, CAST('{"request_id":"req-' || id ||
    '","time":' || time || ',"attempts":[{"model":"m","outcome":"ok"}]}' AS BLOB),
    CAST('{"epoch":"e"}' AS BLOB),
    CASE WHEN id > 100 THEN 240 END, CASE WHEN id = 7 THEN CAST('"Hi"' AS BLOB) END FROM calls;
INSERT INTO standings VALUES (240, CAST('{"m":[1]}' AS BLOB))
"""


def test_calls_of_the_sixth_version_are_found_and_forgotten_like_todays(path: Path, make: Make) -> None:
    """There a row of `records` was a call, and times had an index."""
    made_by(path, 6, *MIGRATIONS[:6], SIXTH)
    archive = Archive(path)
    archive.add([*rows(make(request_id="x", time=NOON + 241), make(request_id="y", time=NOON + 242))])
    with Reader(path) as reader:
        assert reader.record("req-7") == (b'%b,"grounds":{"epoch":"e"},"prompt":"Hi"}' % former(7), None)
        assert reader.record("req-240") == (
            b'%b,"grounds":{"epoch":"e","standing":{"m":[1]}}}' % former(240), None
        )  # fmt: skip
        found = reader.find(Query(since=NOON + 238, until=NOON + 242))
        assert [row["request_id"] for row in found] == ["x", "req-240", "req-239", "req-238"]
        assert len([*reader.records(Query(limit=1000))]) == 240
        trends = {trend.model: trend.points for trend in reader.trends(NOON + 101, 1000.0, 1000)}
        assert [trends[name][0]["attempts"] for name in ("m", "or/sonnet")] == [140, 2]
        assert reader.spend(NOON, NOON + 999)[0]["calls"] == 238
    assert archive.prune(NOON + 101, 1 << 40) == 98
    with Reader(path) as reader:
        assert len(reader.find(Query(limit=1000))) == len([*reader.records(Query(limit=1000))]) == 142
    archive.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT MIN(id), COUNT(*) FROM records").fetchone() == (101, 141)


def former(id: int) -> bytes:
    """Its record, but for the last brace."""
    attempts = b'[{"model":"m","outcome":"ok"}]'
    return b'{"request_id":"req-%d","time":%d.0,"attempts":%b' % (id, NOON + id, attempts)


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: Any) -> None:
    Archive(path).close()
    monkeypatch.setattr(room, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE later (x); NOT SQL;"))
    with pytest.raises(ArchiveError, match="syntax error"):
        Archive(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert not connection.execute("SELECT * FROM sqlite_schema WHERE name = 'later'").fetchall()
