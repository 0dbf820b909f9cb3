"""Looks into the call log, for who asks: the database, and what memory holds of what could not be kept.

Every method may wait for the disk, and is called in a thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

from msgspec.structs import replace

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
                unkept = self._unkept(query, reader)
        except ArchiveError:
            recent = self._journal.recent.calls()
            # Before the first call nothing is kept anywhere, and nothing is wrong with that.
            source = "memory" if recent or self._file() is None else "database"
            return Page(summaries([row for row, _ in recent], query), None, source)
        return _joined(calls, unkept, query.limit)

    def record(self, request_id: str, key: str | None = None) -> dict[str, Any] | None:
        """The whole record of the last call of this id (of this key), with the feedback on it."""
        try:
            with self._reader() as reader:
                found = reader.record(request_id, key)
        except ArchiveError:
            found = None
        if found is not None:
            return {**json.loads(found[0]), "score": found[1]}
        for row, line in (*self._journal.recent.calls(), *self._journal.unkept.calls()):
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

    def _unkept(self, query: Query, reader: Reader) -> list[Row]:
        """Those of this process that the database lacks. They have no cursors: they are on the first page,
        and come after another only while nothing is kept."""
        lost = [row for row, _ in self._journal.unkept.calls()]
        if query.before is not None or not lost:
            return []
        if query.after is not None:
            newest = max((row["time"] for row in reader.find(Query(limit=1))), default=0.0)
            query = replace(query, since=max(newest, query.since or 0.0))
        return summaries(lost, query)

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        """Raises ArchiveError where there is no database, or none that can be read."""
        file = self._file()
        if file is None:
            raise RefusedError("no call is kept")
        self._journal.flush()
        with Reader(Path(file)) as reader:
            yield reader


def _joined(kept: list[Row], unkept: list[Row], limit: int) -> Page:
    """Both by time, the latest first; the next page begins behind the last that has a cursor."""
    full = len(kept) + len(unkept) > limit or len(kept) == limit
    calls = sorted([*kept, *unkept], key=itemgetter("time"), reverse=True)[:limit] if unkept else kept
    cursors = [call["cursor"] for call in calls if call["cursor"] is not None]
    if not cursors and kept:
        cursors.append(kept[0]["cursor"] + 1)
    return Page(calls, cursors[-1] if full and cursors else None, "both" if unkept else "database")
