"""Looks into the call log, for who asks: the database, or what is in memory where there is none.

Every method may wait for the disk, and is called in a thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proxy.record import Page, Query, Row, Trend
from proxy.telemetry.archive import COLUMNS, ArchiveError, Reader, RefusedError, summaries
from proxy.telemetry.encoding import unlogged
from proxy.telemetry.journal import Journal

TREND_CALLS = 5000
"""Calls that trends look at: their records have to be read, 10 us each."""


class History:
    """What is known of former calls. What this process has just recorded is seen."""

    def __init__(self, journal: Journal, file: Callable[[], str | None]) -> None:
        """`file`: the database in use."""
        self._journal = journal
        self._file = file

    def find(self, query: Query) -> Page:
        """Summaries, latest first."""
        try:
            with self._reader() as reader:
                calls = reader.find(query)
        except ArchiveError:
            recent = self._journal.latest()
            # Before the first call nothing is kept anywhere, and nothing is wrong with that.
            source = "memory" if recent or self._file() is None else "database"
            return Page(summaries([row for row, _ in recent], query), None, source)
        full = len(calls) == query.limit
        return Page(calls, calls[-1]["cursor"] if full else None, "database")

    def record(self, request_id: str, key: str | None = None) -> dict[str, Any] | None:
        """The whole record of the last call of this id (of this key), with the feedback on it."""
        try:
            with self._reader() as reader:
                found = reader.record(request_id, key)
        except ArchiveError:
            found = None
        if found is not None:
            return {**json.loads(found[0]), "score": found[1]}
        for row, line in self._journal.latest():
            told = dict(zip(COLUMNS, row, strict=True))
            if told["request_id"] == request_id and key in (None, told["key_id"]):
                score = self._journal.scored.get((request_id, told["key_id"]))
                return {**json.loads(unlogged(line)), "score": score}
        return None

    def spend(self, since: float, until: float) -> list[Row]:
        """By day and model; nothing without a database."""
        try:
            with self._reader() as reader:
                return reader.spend(since, until)
        except ArchiveError:
            return []

    def trends(self, since: float, step: float) -> list[Trend]:
        """How attempts at each model went; nothing without a database."""
        try:
            with self._reader() as reader:
                return reader.trends(since, step, TREND_CALLS)
        except ArchiveError:
            return []

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        """Raises ArchiveError where there is no database, or none that can be read."""
        file = self._file()
        if file is None:
            raise RefusedError("no call is kept")
        self._journal.flush()
        with Reader(Path(file)) as reader:
            yield reader
