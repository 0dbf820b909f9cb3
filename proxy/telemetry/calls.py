"""From the hot path to the sinks: a call's record is put into a list, everything else happens later.

    emit(record) --list--> every `interval`, or after `batch` records --> each sink's `write(records)`

A batch is handed over in slices, between which calls go on. A sink that fails is counted and never
touches a request; when the list is full, new records are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from proxy.record import CallRecord
from proxy.telemetry.encoding import Batch
from proxy.telemetry.policy import RecordPolicy

logger = logging.getLogger("kuro.records")

SLICE = 50
"""Records that are handed over in one go: half a millisecond's work."""


class Sink(Protocol):
    """Where records go, in batches, in the order in which the calls ended."""

    def write(self, batch: Batch, /) -> None:
        """Takes a batch. May raise: the batch is then lost for this sink alone."""

    def close(self) -> None:
        """No more records come: writes out whatever it holds."""


class Recorder:
    """Collects records and hands them on; an async context manager for as long as calls are served."""

    def __init__(self, policy: RecordPolicy, sinks: Sequence[Sink]) -> None:
        self._policy = policy
        self._sinks = tuple(sinks)
        self._waiting: list[CallRecord] = []
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        """Records that found the list full."""
        self.failures = 0
        """Batches that some sink failed to take."""

    def emit(self, record: CallRecord) -> None:
        """A call has ended."""
        waiting = self._waiting
        if len(waiting) >= self._policy.limit:
            self.dropped += 1
            return
        waiting.append(record)
        if len(waiting) == self._policy.batch:
            self._due.set()

    def adopt(self, policy: RecordPolicy) -> None:
        """A reload."""
        self._policy = policy

    def flush(self) -> None:
        """Hands everything that waits to the sinks, now."""
        records, self._waiting = self._waiting, []
        self._hand_over(records)

    async def __aenter__(self) -> Recorder:
        self._task = asyncio.create_task(self._flushing(), name="records")
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.flush()
        for sink in self._sinks:
            self._close(sink)

    async def _flushing(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._policy.interval):
                    await self._due.wait()
            except TimeoutError:
                pass  # the usual way: the interval has passed
            self._due.clear()
            while self._waiting:
                records = self._waiting[:SLICE]
                del self._waiting[:SLICE]
                self._hand_over(records)
                await asyncio.sleep(0)

    def _hand_over(self, records: Sequence[CallRecord]) -> None:
        if records:
            batch = Batch(records)
            for sink in self._sinks:
                self._write(sink, batch)

    def _write(self, sink: Sink, batch: Batch) -> None:
        try:
            sink.write(batch)
        except Exception:
            self._failed(sink)

    def _close(self, sink: Sink) -> None:
        try:
            sink.close()
        except Exception:
            self._failed(sink)

    def _failed(self, sink: Sink) -> None:
        self.failures += 1
        # The first, and then ever more rarely: a full disk must not fill the log that is left.
        if self.failures & (self.failures - 1) == 0:
            logger.exception("%s failed (%d times so far)", type(sink).__name__, self.failures)
