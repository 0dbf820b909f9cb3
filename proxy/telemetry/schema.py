"""The call log's tables, how those of former versions become today's, and whose file a database is.

    calls     a row for each call, narrow: what is asked for, summed up and shown; looking through 400,000 of
              them takes 30 ms, where it took 450 with the records among them
    records   the whole records, in segments: calls that were handed over together are one row, which has the
              id of the last of them; a row for each took twice the time. In parts, each of them lines of
              JSON: the records as they are logged, the grounds of their decisions, how the models stood,
              the prompts. Formerly a row was a call, and before that all was in the first part
    spans     each segment's first and last id, and the times between which its calls came: what was once said
              by an index of all times. A segment goes with the last of its calls
    standings how the models stood, where a row is a call; each has the id of the last of those that say so
    feedback  what callers said of their calls; callers of two keys may give their calls the same id

The schema's number is the database's user_version. A database of another application or of a newer version is
refused and left as it is.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

APPLICATION = 0x4B75726F
""""Kuro", as SQLite's application_id."""

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
    """
    ALTER TABLE calls RENAME TO wide;
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        time REAL NOT NULL, request_id TEXT NOT NULL, session TEXT NOT NULL, key_id TEXT NOT NULL,
        requested_model TEXT NOT NULL, model TEXT, provider TEXT, intent TEXT, route TEXT NOT NULL,
        profile TEXT NOT NULL, outcome TEXT NOT NULL, status INTEGER NOT NULL, error_code TEXT,
        latency_ms REAL NOT NULL, ttft_ms REAL, prompt_tokens INTEGER, completion_tokens INTEGER,
        cost_usd REAL, wasted_usd REAL NOT NULL, baseline_usd REAL, fallback INTEGER NOT NULL
    );
    CREATE TABLE records (id INTEGER PRIMARY KEY, record BLOB NOT NULL);
    INSERT INTO records SELECT id, record FROM wide;
    INSERT INTO calls SELECT
        id, time, request_id, session, key_id, requested_model, model, provider, intent, route, '', outcome,
        status, error_code, latency_ms, ttft_ms, prompt_tokens, completion_tokens, cost_usd, wasted_usd,
        baseline_usd, fallback FROM wide;
    DROP TABLE wide;
    CREATE INDEX calls_time ON calls (time);
    CREATE INDEX calls_request ON calls (request_id)
    """,
    """
    CREATE TABLE standings (id INTEGER PRIMARY KEY, standing BLOB NOT NULL);
    ALTER TABLE records ADD COLUMN standing INTEGER
    """,
    """
    UPDATE records SET standing = NULL, record = CAST(
        SUBSTR(record, 1, LENGTH(record) - 2) || ',"standing":' ||
        (SELECT s.standing FROM standings s WHERE s.id = records.standing) || '}}' AS BLOB)
        WHERE standing IS NOT NULL AND id > (SELECT MIN(id) - 20000 FROM standings);
    DELETE FROM standings;
    ALTER TABLE records ADD COLUMN grounds BLOB;
    ALTER TABLE records ADD COLUMN prompt BLOB
    """,
    """
    ALTER TABLE feedback RENAME TO former;
    CREATE TABLE feedback (
        request_id TEXT NOT NULL, key_id TEXT NOT NULL, score REAL NOT NULL, time REAL NOT NULL,
        PRIMARY KEY (request_id, key_id)
    ) WITHOUT ROWID;
    INSERT INTO feedback SELECT c.request_id, c.key_id, f.score, f.time FROM former f JOIN calls c
        ON c.id = (SELECT MAX(id) FROM calls WHERE request_id = f.request_id);
    DROP TABLE former
    """,
    """
    ALTER TABLE calls ADD COLUMN judge_usd REAL NOT NULL DEFAULT 0;
    UPDATE calls SET judge_usd = COALESCE(
        (SELECT json_extract(CAST(record AS TEXT), '$.judge_usd') FROM records r WHERE r.id = calls.id), 0)
    """,
    """
    ALTER TABLE records ADD COLUMN standings BLOB;
    CREATE TABLE spans (
        id INTEGER PRIMARY KEY, first INTEGER NOT NULL, earliest REAL NOT NULL, latest REAL NOT NULL
    );
    INSERT INTO spans SELECT MAX(id), MIN(id), MIN(time), MAX(time) FROM calls GROUP BY (id - 1) / 50;
    CREATE INDEX spans_latest ON spans (latest, first);
    CREATE INDEX spans_earliest ON spans (earliest);
    DROP INDEX calls_time
    """,
)
"""What makes version n + 1 of version n: statements with `;` between them. Those that stood on main are never
changed."""


TRIES, PAUSE = 100, 0.02
"""How often, and after how many seconds, a file that others are making is asked for again."""


class ArchiveError(Exception):
    """It can't be written or read now; later it may be. Says which file, and what was said about it."""


class RefusedError(ArchiveError):
    """The file is not ours to use, and trying again won't help. Says what will."""


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Whatever SQLite and the disk complain about, as ArchiveError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise ArchiveError(f"{path}: {error}") from error


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
    """All or nothing. DEFERRED: what is read belongs together."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield connection
    except BaseException:
        if connection.in_transaction:  # a full disk rolls back by itself
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Makes it today's schema, whatever the file held before. Raises RefusedError."""
    check(connection, path)
    # The first two are for a new file. Seven records fill a page; smaller ones are a quarter empty.
    connection.execute("PRAGMA page_size = 16384")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # WAL: readers never wait, and what was committed before a kill -9 is there after it.
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    # Each page is written to the log and, at a checkpoint, to the database: after 16 MB, for each transaction
    # writes the last pages again, and what is read back should still be in the processor's cache.
    connection.execute("PRAGMA wal_autocheckpoint = 1000").fetchall()
    connection.execute("PRAGMA cache_size = -1024").fetchall()  # KB; what is written is seldom read again
    connection.execute("PRAGMA journal_size_limit = 67108864").fetchall()
    if _number(connection, "user_version") < len(MIGRATIONS):
        with transaction(connection):
            _migrate(connection)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Others may be making the same file: SQLite waits for them everywhere but here."""
    for attempt in range(TRIES):
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or attempt == TRIES - 1:
                raise
            time.sleep(PAUSE)
        else:
            return


def check(connection: sqlite3.Connection, path: Path, reading: bool = False) -> None:
    """Raises RefusedError for a file that isn't ours. An empty one is; for `reading` it must be of today."""
    try:
        with transaction(connection, "DEFERRED"):  # another process may be making it right now
            application = _number(connection, "application_id")
            version = _number(connection, "user_version")
            used = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise RefusedError(f"{path} is no SQLite database: name another file, or move it away") from error
    if used and application != APPLICATION:
        raise RefusedError(f"{path} is another application's database: name another file")
    known = len(MIGRATIONS)
    if reading and version < known:
        raise RefusedError(
            f"{path} is of an older Kuro: the next call that the proxy serves brings it up to date"
        )
    if version > known:
        raise RefusedError(
            f"{path} is of a newer Kuro (version {version}, known is {known}): upgrade, or name another file"
        )


def _migrate(connection: sqlite3.Connection) -> None:
    version = _number(connection, "user_version")  # anew: another process may have been here meanwhile
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        for statement in filter(str.strip, script.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
    connection.execute(f"PRAGMA application_id = {APPLICATION}")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
