"""The call log's database: SQLite; its writer, its readers, and what may be asked.

    one writer in each process (journal.py)  ---+
    readers: admin API, `kuro calls`, replay  --+--> calls.db (WAL), which any number of them may have open

The tables are in schema.py. Nobody outside these two rooms meets SQL, or an error of SQLite's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from proxy.record import CallRecord, Query, Row, Trend
from proxy.telemetry.encoding import encode_lines
from proxy.telemetry.schema import ArchiveError, RefusedError, check, prepare, told, transaction
from proxy.telemetry.segments import NOTHING, Columns, Segment, Trends, read

__all__ = [
    "COLUMNS",
    "FAILED",
    "Archive",
    "ArchiveError",
    "Columns",
    "Reader",
    "RefusedError",
    "Segment",
    "columns",
    "summaries",
]

BUSY = 5.0  # seconds to wait for another process that is writing
SIZES = (100, 25, 5, 1)
"""Rows that go into one statement. SQLite runs each without the interpreter's lock, which comes back late
while calls are served: asked for row by row, that took longer than the writing."""
STEP = 2000  # rows forgotten in one go, so that other writers come between

COLUMNS = (
    "time", "request_id", "session", "key_id", "requested_model", "model", "provider", "intent", "route",
    "profile", "outcome", "status", "error_code", "latency_ms", "ttft_ms", "prompt_tokens",
    "completion_tokens", "cost_usd", "wasted_usd", "baseline_usd", "judge_usd", "fallback",
)  # fmt: skip
"""What a row shows besides the record."""

FAILED = ("error", "aborted")
"""Outcomes that are the proxy's or an upstream's failure, not the caller's doing."""


def columns(record: CallRecord) -> Columns:
    """What is shown of a record."""
    usage = record.usage
    return (
        record.time, record.request_id, record.session, record.key_id, record.requested_model,
        record.selected_model, record.provider, record.intent, record.route, record.profile,
        record.outcome, record.status,
        record.error_code, record.latency_ms, record.ttft_ms, usage.prompt if usage else None,
        usage.completion if usage else None, record.cost_usd, record.wasted_usd, record.baseline_usd,
        record.judge_usd, int(record.fallback_used),
    )  # fmt: skip


class Archive:
    """The writer's connection. Belongs to one thread. Every method may raise ArchiveError."""

    def __init__(self, path: Path) -> None:
        """Opens the database, or makes it. Raises RefusedError for a file that isn't ours."""
        self._path = path
        with told(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._inode = path.stat().st_ino
            self._connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
            try:
                prepare(self._connection, path)
            except BaseException:
                self._connection.close()
                raise

    def stands(self) -> bool:
        """Whether the path still leads to it: nobody has moved or removed the file."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def add(self, segments: Sequence[Segment]) -> None:
        """Keeps them, all or none."""
        with told(self._path), transaction(self._connection) as connection:
            id: int = connection.execute(_NEXT).fetchone()[0]
            calls: list[Any] = []
            for segment in segments:
                first = id
                for row in segment.rows:
                    calls.append(id)
                    calls += row
                    id += 1
                _lay(connection, first, id - 1, segment)
            _insert(connection, calls)

    def score(self, request_id: str, key: str, score: float, time: float) -> None:
        """Feedback on a call of this key; the last one counts."""
        with told(self._path), transaction(self._connection) as connection:
            connection.execute(_INSERT_SCORE, (request_id, key, score, time))

    def prune(self, oldest: float, max_bytes: int) -> int:
        """Forgets some of what arrived before `oldest`, or of the oldest where the file is too large.

        How many calls it forgot; none: there is nothing more to do. Room that they took is given back.
        """
        with told(self._path):
            with transaction(self._connection) as connection:
                gone = self._ids(_OLD, oldest, oldest, STEP)
                if not gone and self._bytes() > max_bytes:
                    gone = self._ids("SELECT id FROM calls ORDER BY id LIMIT ?", STEP)
                connection.executemany("DELETE FROM calls WHERE id = ?", gone)
                if gone:
                    self._forsake(gone[0][0], gone[-1][0])
                connection.execute("DELETE FROM feedback WHERE time < ?", (oldest,))
            if gone:
                # It gives back a page at each step, and `execute` takes one.
                self._connection.executescript("PRAGMA incremental_vacuum")
        return len(gone)

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()

    def _forsake(self, first: int, last: int) -> None:
        """Forgets the segments whose calls are all gone, near those ids."""
        empty = self._connection.execute(_EMPTY, (first, last)).fetchall()
        self._connection.executemany("DELETE FROM records WHERE id BETWEEN ? AND ?", empty)
        self._connection.executemany("DELETE FROM spans WHERE first = ? AND id = ?", empty)
        self._connection.execute(_FORSAKE)

    def _ids(self, sql: str, *values: float) -> list[tuple[int]]:
        return self._connection.execute(sql, values).fetchall()

    def _bytes(self) -> int:
        """In use: pages that are free again will be used first."""
        pages = {name: self._pragma(name) for name in ("page_count", "freelist_count", "page_size")}
        return (pages["page_count"] - pages["freelist_count"]) * pages["page_size"]

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])


class Reader:
    """A look at a database, that of a running proxy too. Every method may raise ArchiveError."""

    def __init__(self, path: Path) -> None:
        """Raises RefusedError when there is none, or not one of ours."""
        if not path.is_file():
            raise RefusedError(f"{path} is not there: no call has been kept yet")
        self._path = path
        self._lines = NOTHING
        with told(path):
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=BUSY, uri=True)
            try:
                check(self._connection, path, reading=True)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def find(self, query: Query) -> list[Row]:
        """Summaries, latest first."""
        names = ("cursor", *COLUMNS, "score")
        select = f"SELECT id, {', '.join(COLUMNS)}, {_SCORE}"
        return [_told(dict(zip(names, found, strict=True))) for found in self._select(select, query)]

    def records(self, query: Query) -> Iterator[bytes]:
        """The whole records as JSON, latest first."""
        return (record for record, _ in self._joined(self._select("SELECT id, NULL", query)))

    def scored(self, query: Query) -> Iterator[tuple[bytes, float | None]]:
        """The whole records, and the feedback on each; latest first."""
        return self._joined(self._select(f"SELECT id, {_SCORE}", query))

    def record(self, request_id: str, key: str | None = None) -> tuple[bytes, float | None] | None:
        """The last call of this id (of this key), as JSON, and the feedback on it."""
        of_key = "(? IS NULL OR key_id = ?)"
        sql = f"SELECT id, {_SCORE} FROM calls c WHERE request_id = ? AND {of_key} ORDER BY id DESC LIMIT 1"  # noqa: S608
        return next(self._joined(self._rows(sql, (request_id, key, key))), None)

    def spend(self, since: float, until: float) -> list[Row]:
        """By day (UTC) and model that answered: calls, tokens and USD. Days ascending."""
        names = ("day", "model", "calls", "failed", "prompt_tokens", "completion_tokens", "cost_usd",
                 "cost_unknown", "wasted_usd", "judge_usd", "baseline_usd", "saved_usd",
                 "saved_unknown")  # fmt: skip
        values = (since, since, until, until)
        return [dict(zip(names, found, strict=True)) for found in self._rows(_SPEND, values)]

    def trends(self, since: float, step: float, most: int) -> list[Trend]:
        """Attempts by model and `step` seconds, of the latest `most` calls since then."""
        trends = Trends(since, step)
        for (id,) in self._select("SELECT id", Query(since=since, limit=most)):
            if self._find(id):
                trends.count(self._lines.logged(id))
        return trends.told()

    def totals(self, query: Query) -> Row:
        """Of all that the query asks for, whatever its limit."""
        names = ("calls", "failed", "cost_usd", "wasted_usd", "judge_usd", "saved_usd", "saved_unknown")
        where, values = _where(query)
        (found,) = self._rows(f"SELECT {_TOTALS} FROM calls c {where}", values)  # noqa: S608
        return dict(zip(names, found, strict=True))

    def last(self) -> int:
        """The cursor of the latest call; 0 when there is none."""
        ((found,),) = self._rows("SELECT COALESCE(MAX(id), 0) FROM calls", ())
        return int(found)

    def _joined(self, found: Iterator[tuple[Any, ...]]) -> Iterator[tuple[bytes, float | None]]:
        """Whole records, instead of their ids; of each with what was found besides."""
        for id, score in found:
            if self._find(id):
                yield self._lines.whole(id), score

    def _find(self, id: int) -> bool:
        """Has the segment of a call at hand; False where it was forgotten in the meantime."""
        if id not in self._lines:
            for row in self._rows(_SEGMENT, (id,)):
                self._lines = read(*row)
        return id in self._lines

    def _select(self, select: str, query: Query) -> Iterator[tuple[Any, ...]]:
        where, values = _where(query)
        return self._rows(f"{select} FROM calls c {where} ORDER BY id DESC LIMIT ?", (*values, query.limit))

    def _rows(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        with told(self._path):
            # Not `yield from`, which closes a cursor that is left: that fails where the connection is closed.
            for row in self._connection.execute(sql, values):  # noqa: UP028
                yield row


def _itself(value: Any) -> Any:
    return value


for kind in (bytes, type(None)):
    # Of what no table says how to adapt it sqlite3 asks for two methods that it lacks: 0.2 us for each value.
    sqlite3.register_adapter(kind, _itself)


_WIDTH = 1 + len(COLUMNS)
"""Values of a row of `calls`."""
_ROW = f"({', '.join('?' * _WIDTH)})"
_INTO_CALLS = {
    size: f"INSERT OR ROLLBACK INTO calls (id, {', '.join(COLUMNS)}) VALUES {', '.join([_ROW] * size)}"  # noqa: S608
    for size in SIZES
}
"""A row that is refused takes the transaction with it."""


def _insert(connection: sqlite3.Connection, values: list[Any]) -> None:
    """`values` are those of all rows, one after the other."""
    done = 0
    for size, statement in _INTO_CALLS.items():
        taken = size * _WIDTH
        while len(values) - done >= taken:
            connection.execute(statement, values[done : done + taken])
            done += taken


def _lay(connection: sqlite3.Connection, first: int, last: int, segment: Segment) -> None:
    """Everything of a segment but its rows, which have these ids."""
    if last < first:
        return
    prompts = None if segment.prompts is None else encode_lines(segment.prompts)
    parts = last, segment.records, segment.grounds, segment.standings, prompts
    connection.execute(_INTO_RECORDS, parts)
    times = [row[0] for row in segment.rows]
    connection.execute("INSERT INTO spans VALUES (?, ?, ?, ?)", (last, first, min(times), max(times)))


_INTO_RECORDS = "INSERT INTO records (id, record, grounds, standings, prompt) VALUES (?, ?, ?, ?, ?)"
_NEXT = """
    SELECT 1 + MAX(COALESCE((SELECT MAX(id) FROM calls), 0), COALESCE((SELECT MAX(id) FROM spans), 0))
"""
_OLD = """
    SELECT id FROM calls WHERE id <= (SELECT MAX(id) FROM spans WHERE earliest < ?) AND time < ?
    ORDER BY id LIMIT ?
"""
_EMPTY = """
    SELECT first, id FROM spans
    WHERE id BETWEEN ?1 AND COALESCE((SELECT MIN(id) FROM spans WHERE id >= ?2), ?2)
        AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.id BETWEEN spans.first AND spans.id)
"""
_FORSAKE = f"DELETE FROM standings WHERE id < COALESCE((SELECT MIN(id) FROM calls), {2**63 - 1})"  # noqa: S608
_INSERT_SCORE = """
    INSERT INTO feedback VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET score = excluded.score, time = excluded.time WHERE excluded.time >= time
"""
"""Two workers may write in another order than they were told in."""
_SEGMENT = """
    SELECT r.id, record, grounds, COALESCE(standings, s.standing), prompt
    FROM records r LEFT JOIN standings s ON s.id = r.standing WHERE r.id >= ? ORDER BY r.id LIMIT 1
"""
_SCORE = "(SELECT score FROM feedback WHERE request_id = c.request_id AND key_id = c.key_id)"
_FAILS = f"outcome IN ({', '.join(repr(outcome) for outcome in FAILED)})"
_UNCOMPARED = "model IS NOT NULL AND (cost_usd IS NULL OR baseline_usd IS NULL)"
"""An answer of which nobody knows what it saved."""
_SAVED = f"""
    CASE WHEN SUM({_UNCOMPARED}) THEN SUM(baseline_usd - cost_usd) ELSE TOTAL(baseline_usd - cost_usd) END
        - TOTAL(wasted_usd) - TOTAL(judge_usd),
    COALESCE(SUM({_UNCOMPARED}), 0)
"""
"""What the answers that can be compared would have cost at the baseline's price, less what they cost and all
that was spent beside; nothing where there are only others. And how many those are. `kuro:saved_usd` in
deploy/prometheus says the same."""
_TOTALS = (
    f"COUNT(*), COALESCE(SUM({_FAILS}), 0), TOTAL(cost_usd), TOTAL(wasted_usd), TOTAL(judge_usd), {_SAVED}"
)
_SINCE = "id >= (SELECT MIN(first) FROM spans WHERE latest >= ?) AND time >= ?"
_UNTIL = "id <= (SELECT MAX(id) FROM spans WHERE earliest < ?) AND time < ?"
_SPEND = f"""
    SELECT DATE(time, 'unixepoch') AS day, model, COUNT(*), SUM({_FAILS}), TOTAL(prompt_tokens),
        TOTAL(completion_tokens), TOTAL(cost_usd), SUM(model IS NOT NULL AND cost_usd IS NULL),
        TOTAL(wasted_usd), TOTAL(judge_usd), SUM(baseline_usd), {_SAVED}
    FROM calls WHERE {_SINCE} AND {_UNTIL} GROUP BY day, model ORDER BY day, TOTAL(cost_usd) DESC
"""  # noqa: S608

_CONDITIONS: dict[str, str] = {
    "model": "(model = ? OR requested_model = ?)",
    "intent": "intent = ?",
    "outcome": "outcome = ?",
    "since": _SINCE,
    "until": _UNTIL,
    "request_id": "request_id >= ? AND request_id < ? || char(1114111)",
    "session": "session = ?",
    "key": "key_id = ?",
    "before": "id < ?",
    "after": "id > ?",
}
"""Field of a query -> what it asks; its value fills every `?`.

Calls are looked through by id, which says nearly when they came: bounds by id save looking at the others.
"""


def _where(query: Query) -> tuple[str, list[Any]]:
    conditions, values = [_FAILS] if query.failed else [], []
    for name, condition in _CONDITIONS.items():
        value = getattr(query, name)
        if value is not None and value != "":
            conditions.append(condition)
            values += [value] * condition.count("?")
    return f"WHERE {' AND '.join(conditions)}" if conditions else "", values


def summaries(rows: Iterable[Columns], query: Query) -> list[Row]:
    """As `Reader.find`, of calls in memory, the latest first. Without cursors: there is one page."""
    found: list[Row] = []
    for row in rows:
        values = dict(zip(COLUMNS, row, strict=True))
        if len(found) < query.limit and _matches(values, query):
            found.append(_told({"cursor": None, **values, "score": None}))
    return found


def _told(summary: Row) -> Row:
    """With truth values, which SQLite lacks, and what the call saved."""
    return {**summary, "fallback": bool(summary["fallback"]), "saved_usd": _saved(summary)}


def _saved(summary: Row) -> float | None:
    """None where nobody knows, for lack of a price or a baseline, and where nothing was spent."""
    spent: float = summary["wasted_usd"] + summary["judge_usd"]
    if summary["model"] is None:
        return -spent or None
    cost, baseline = summary["cost_usd"], summary["baseline_usd"]
    return None if cost is None or baseline is None else baseline - cost - spent


def _matches(values: Row, query: Query) -> bool:
    q = query
    return (
        (not q.failed or values["outcome"] in FAILED)
        and (not q.model or q.model in (values["model"], values["requested_model"]))
        and (not q.intent or values["intent"] == q.intent)
        and (not q.outcome or values["outcome"] == q.outcome)
        and (q.since is None or values["time"] >= q.since)
        and (q.until is None or values["time"] < q.until)
        and (not q.request_id or values["request_id"].startswith(q.request_id))
        and (not q.session or values["session"] == q.session)
        and (not q.key or values["key_id"] == q.key)
    )
