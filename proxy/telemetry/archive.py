"""The call log's database: SQLite, a row per call; what is asked for as columns, the whole record as JSON.

    one writer in each process (journal.py)  ---+
    readers: admin API, `kuro calls`, replay  --+--> calls.db (WAL), which any number of them may have open

Everything that knows SQL is in this file. The schema's number is the database's user_version; a database of
another application or of a newer version is refused and left as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from proxy.record import CallRecord, Query, Row, Trend

APPLICATION = 0x4B75726F
""""Kuro", as SQLite's application_id."""
BUSY = 5.0
"""Seconds to wait for another process that is writing."""
STEP = 2000
"""Rows forgotten in one go, so that other writers come between."""

MIGRATIONS = (
    """
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        time REAL NOT NULL, request_id TEXT NOT NULL, session TEXT NOT NULL, key_id TEXT NOT NULL,
        requested_model TEXT NOT NULL, model TEXT, provider TEXT, intent TEXT, route TEXT NOT NULL,
        outcome TEXT NOT NULL, status INTEGER NOT NULL, error_code TEXT,
        latency_ms REAL NOT NULL, ttft_ms REAL, prompt_tokens INTEGER, completion_tokens INTEGER,
        cost_usd REAL, wasted_usd REAL NOT NULL, baseline_usd REAL, fallback INTEGER NOT NULL,
        record BLOB NOT NULL
    );
    CREATE INDEX calls_time ON calls (time);
    CREATE INDEX calls_request ON calls (request_id);
    CREATE INDEX calls_session ON calls (session) WHERE session <> '';
    CREATE TABLE feedback (
        request_id TEXT PRIMARY KEY, score REAL NOT NULL, time REAL NOT NULL
    ) WITHOUT ROWID;
    """,
)
"""What makes version n + 1 of version n. Those that were released are never changed."""

COLUMNS = (
    "time", "request_id", "session", "key_id", "requested_model", "model", "provider", "intent", "route",
    "outcome", "status", "error_code", "latency_ms", "ttft_ms", "prompt_tokens", "completion_tokens",
    "cost_usd", "wasted_usd", "baseline_usd", "fallback",
)  # fmt: skip
"""What a row shows besides the record."""

FAILED = ("error", "aborted")
"""Outcomes that are the proxy's or an upstream's failure, not the caller's doing."""


class ArchiveError(Exception):
    """The file can't be used, and trying again won't help."""


def row(record: CallRecord, stored: bytes) -> tuple[Any, ...]:
    """A record as it is kept; `stored` is its JSON."""
    usage = record.usage
    return (
        record.time, record.request_id, record.session, record.key_id, record.requested_model,
        record.selected_model, record.provider, record.intent, record.route, record.outcome, record.status,
        record.error_code, record.latency_ms, record.ttft_ms, usage.prompt if usage else None,
        usage.completion if usage else None, record.cost_usd, record.wasted_usd, record.baseline_usd,
        int(record.fallback_used), stored,
    )  # fmt: skip


class Archive:
    """The writer's connection. Belongs to one thread. Every method may raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        """Opens the database, or makes it. Raises ArchiveError for a file that isn't ours."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
        try:
            _prepare(self._connection, path)
        except BaseException:
            self._connection.close()
            raise

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Keeps them, all or none."""
        with _transaction(self._connection) as connection:
            connection.executemany(_INSERT, rows)

    def score(self, request_id: str, score: float, time: float) -> None:
        """A caller's feedback on a call; the last one counts."""
        with _transaction(self._connection) as connection:
            connection.execute("REPLACE INTO feedback VALUES (?, ?, ?)", (request_id, score, time))

    def prune(self, oldest: float, max_bytes: int) -> int:
        """Forgets some of what arrived before `oldest`, or of the oldest where the file is too large.

        How many calls it forgot; none: there is nothing more to do. Room that they took is given back.
        """
        with _transaction(self._connection) as connection:
            cursor = connection.execute(
                "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE time < ? ORDER BY time LIMIT ?)",
                (oldest, STEP),
            )
            gone = cursor.rowcount
            if not gone and self._bytes() > max_bytes:
                cursor = connection.execute(
                    "DELETE FROM calls WHERE id IN (SELECT id FROM calls ORDER BY id LIMIT ?)", (STEP,)
                )
                gone = cursor.rowcount
            connection.execute("DELETE FROM feedback WHERE time < ?", (oldest,))
        if gone:
            # It gives back a page at each step, and `execute` takes one.
            self._connection.executescript("PRAGMA incremental_vacuum")
        return gone

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()

    def _bytes(self) -> int:
        """In use: pages that are free again will be used first."""
        pages = {name: self._pragma(name) for name in ("page_count", "freelist_count", "page_size")}
        return (pages["page_count"] - pages["freelist_count"]) * pages["page_size"]

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])


class Reader:
    """A look at a database, that of a running proxy too. Every method may raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        """Raises ArchiveError when there is none, or not one of ours."""
        if not path.is_file():
            raise ArchiveError(f"{path} is not there: no call has been kept yet")
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=BUSY, uri=True)
        try:
            _check(self._connection, path)
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
        sql = f"SELECT id, {', '.join(COLUMNS)}, (SELECT score FROM feedback WHERE request_id = c.request_id)"  # noqa: S608
        return [dict(zip(names, found, strict=True)) for found in self._select(sql, query)]

    def records(self, query: Query) -> Iterator[bytes]:
        """The whole records as JSON, latest first."""
        for found in self._select("SELECT record", query):
            yield found[0]

    def record(self, request_id: str, key: str | None = None) -> tuple[bytes, float | None] | None:
        """The last call of this id (of this key), as JSON, and the feedback on it."""
        sql = (
            "SELECT record, (SELECT score FROM feedback WHERE request_id = c.request_id) FROM calls c "
            "WHERE request_id = ? AND (? IS NULL OR key_id = ?) ORDER BY id DESC LIMIT 1"
        )
        cursor = self._connection.execute(sql, (request_id, key, key))
        found: tuple[bytes, float | None] | None = cursor.fetchone()
        return found

    def spend(self, since: float, until: float) -> list[Row]:
        """By day (UTC) and model that answered: calls, tokens and USD. Days ascending."""
        names = ("day", "model", "calls", "failed", "prompt_tokens", "completion_tokens", "cost_usd",
                 "cost_unknown", "wasted_usd", "baseline_usd", "saved_usd")  # fmt: skip
        cursor = self._connection.execute(_SPEND, {"since": since, "until": until})
        return [dict(zip(names, found, strict=True)) for found in cursor]

    def trends(self, since: float, step: float, most: int) -> list[Trend]:
        """Attempts by model and `step` seconds, of the latest `most` calls since then."""
        found: dict[str, list[Row]] = {}
        values = {"since": since, "step": step, "most": most}
        for model, number, attempts, ok, ttft in self._connection.execute(_TRENDS, values):
            point = {"at": since + number * step, "attempts": attempts, "ok": ok, "ttft_ms": ttft}
            found.setdefault(model, []).append(point)
        return [Trend(model, points) for model, points in found.items()]

    def totals(self, query: Query) -> Row:
        """Of all that the query asks for, whatever its limit."""
        names = ("calls", "failed", "cost_usd", "wasted_usd", "saved_usd")
        where, values = _where(query)
        sql = f"SELECT {_TOTALS} FROM calls c {where}"  # noqa: S608
        (found,) = self._connection.execute(sql, values)
        return dict(zip(names, found, strict=True))

    def _select(self, select: str, query: Query) -> Iterator[tuple[Any, ...]]:
        where, values = _where(query)
        sql = f"{select} FROM calls c {where} ORDER BY id DESC LIMIT ?"
        with closing(self._connection.execute(sql, (*values, query.limit))) as cursor:
            yield from cursor


_INSERT = f"INSERT INTO calls ({', '.join(COLUMNS)}, record) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"  # noqa: S608
_FAILS = f"outcome IN ({', '.join(repr(outcome) for outcome in FAILED)})"
_SAVED = "TOTAL(CASE WHEN cost_usd IS NOT NULL THEN baseline_usd - cost_usd END)"
"""Beside a known cost only, and nothing where there was no baseline."""
_TOTALS = f"COUNT(*), COALESCE(SUM({_FAILS}), 0), TOTAL(cost_usd), TOTAL(wasted_usd), {_SAVED}"
_SPEND = f"""
    SELECT DATE(time, 'unixepoch') AS day, model, COUNT(*), SUM({_FAILS}), TOTAL(prompt_tokens),
        TOTAL(completion_tokens), TOTAL(cost_usd), SUM(model IS NOT NULL AND cost_usd IS NULL),
        TOTAL(wasted_usd), TOTAL(baseline_usd), {_SAVED}
    FROM calls WHERE time >= :since AND time < :until GROUP BY day, model ORDER BY day, TOTAL(cost_usd) DESC
"""  # noqa: S608

_TRENDS = """
    SELECT a.value ->> '$.model' AS model, CAST((time - :since) / :step AS INTEGER) AS number,
        COUNT(*), SUM(a.value ->> '$.outcome' IN ('ok', 'cut')), AVG(a.value ->> '$.ttft_ms')
    FROM
        (SELECT time, CAST(record AS TEXT) AS text FROM calls WHERE time >= :since
            ORDER BY id DESC LIMIT :most),
        json_each(text, '$.attempts') a
    WHERE a.value ->> '$.outcome' IN ('ok', 'cut', 'failed')
    GROUP BY model, number ORDER BY model, number
"""

_CONDITIONS: dict[str, str] = {
    "model": "(model = ? OR requested_model = ?)",
    "intent": "intent = ?",
    "outcome": "outcome = ?",
    "since": "time >= ?",
    "until": "time < ?",
    "request_id": "request_id >= ? AND request_id < ? || char(1114111)",
    "session": "session = ?",
    "key": "key_id = ?",
    "before": "id < ?",
    "after": "id > ?",
}
"""Field of a query -> what it asks; its value fills every `?`."""


def _where(query: Query) -> tuple[str, list[Any]]:
    conditions, values = [_FAILS] if query.failed else [], []
    for name, condition in _CONDITIONS.items():
        value = getattr(query, name)
        if value is not None and value != "":
            conditions.append(condition)
            values += [value] * condition.count("?")
    return f"WHERE {' AND '.join(conditions)}" if conditions else "", values


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """The schema of today, whatever the file held before."""
    _check(connection, path)
    # WAL: readers never wait, and what was committed before a kill -9 is there after it.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = NORMAL")
    # Each page is written to the log and, at a checkpoint, to the database: rarer ones save a third of that.
    connection.execute("PRAGMA wal_autocheckpoint = 8000").fetchall()
    connection.execute("PRAGMA cache_size = -512").fetchall()  # KB; what is written is seldom read again
    connection.execute("PRAGMA journal_size_limit = 67108864").fetchall()
    with _transaction(connection):
        version = _version(connection)  # anew: another process may have been here meanwhile
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = _version(connection)
        used = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise ArchiveError(f"{path} is no SQLite database: name another file, or move it away") from error
    if used and application != APPLICATION:
        raise ArchiveError(f"{path} is another application's database: name another file")
    if version > len(MIGRATIONS):
        known = len(MIGRATIONS)
        raise ArchiveError(
            f"{path} is of a newer Kuro (version {version}, known is {known}): upgrade, or name another file"
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        if connection.in_transaction:  # a full disk rolls back by itself
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def summaries(records: Iterable[CallRecord], query: Query) -> list[Row]:
    """As `Reader.find`, of records in memory, the latest first. Without cursors: there is one page."""
    found: list[Row] = []
    for record in records:
        values = dict(zip(COLUMNS, row(record, b""), strict=False))
        if len(found) < query.limit and _matches(values, query):
            found.append({"cursor": None, **values, "score": None})
    return found


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
