"""Looks into the call log, for who asks: the database, or what is in memory where there is none.

Every method may wait for the disk, and is called in a thread.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proxy.record import Page, Query, Row, Trend
from proxy.telemetry.archive import ArchiveError, Reader, summaries
from proxy.telemetry.encoding import encode
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
        reader = self._open()
        if reader is None:
            return Page(summaries(reversed(list(self._journal.recent)), query), None, "memory")
        with reader:
            calls = reader.find(query)
        full = len(calls) == query.limit
        return Page(calls, calls[-1]["cursor"] if full else None, "database")

    def record(self, request_id: str, key: str | None = None) -> dict[str, Any] | None:
        """The whole record of the last call of this id (of this key), with the feedback on it."""
        reader, found = self._open(), None
        if reader is not None:
            with reader:
                found = reader.record(request_id, key)
        if found is not None:
            return {**json.loads(found[0]), "score": found[1]}
        recent = (each for each in reversed(list(self._journal.recent)) if each.request_id == request_id)
        record = next((each for each in recent if key is None or each.key_id == key), None)
        if record is None:
            return None
        return {**json.loads(encode(record)), "score": self._journal.scored.get(request_id)}

    def spend(self, since: float, until: float) -> list[Row]:
        """By day and model; nothing without a database."""
        reader = self._open()
        if reader is None:
            return []
        with reader:
            return reader.spend(since, until)

    def trends(self, since: float, step: float) -> list[Trend]:
        """How attempts at each model went; nothing without a database."""
        reader = self._open()
        if reader is None:
            return []
        with reader:
            return reader.trends(since, step, TREND_CALLS)

    def _open(self) -> Reader | None:
        file = self._file()
        if file is None:
            return None
        self._journal.flush()
        try:
            return Reader(Path(file))
        except (ArchiveError, sqlite3.Error):
            return None
