"""The way from the hot path to the sinks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from proxy.record import CallRecord
from proxy.telemetry.calls import SLICE, Recorder
from proxy.telemetry.policy import RecordPolicy

NEVER = 3600.0


class Sink:
    """Keeps what it gets."""

    def __init__(self, until: int = 1) -> None:
        self.batches: list[list[str]] = []
        self.closed = 0
        self.full = asyncio.Event()
        self._until = until

    def write(self, records: Sequence[CallRecord]) -> None:
        self.batches.append([record.request_id for record in records])
        if len(self.seen) >= self._until:
            self.full.set()

    def close(self) -> None:
        self.closed += 1

    @property
    def seen(self) -> list[str]:
        return [request_id for batch in self.batches for request_id in batch]


class Broken(Sink):
    def write(self, records: Sequence[CallRecord]) -> None:
        raise OSError("no space left")

    def close(self) -> None:
        raise RuntimeError("nor any way out")


def record(number: int) -> CallRecord:
    return CallRecord(request_id=str(number), time=0.0)


async def test_records_wait_until_they_are_flushed() -> None:
    sink = Sink()
    recorder = Recorder(RecordPolicy(interval=NEVER), [sink])
    recorder.emit(record(1))
    assert sink.batches == []
    recorder.flush()
    recorder.flush()
    assert sink.batches == [["1"]]


async def test_the_interval_flushes() -> None:
    sink = Sink()
    async with Recorder(RecordPolicy(interval=0.001), [sink]) as recorder:
        recorder.emit(record(1))
        await asyncio.wait_for(sink.full.wait(), 5)


async def test_many_records_are_flushed_at_once_in_slices_and_in_order() -> None:
    count = 3 * SLICE + 1
    sink = Sink(until=count)
    async with Recorder(RecordPolicy(interval=NEVER, batch=count), [sink]) as recorder:
        for number in range(count):
            recorder.emit(record(number))
        await asyncio.wait_for(sink.full.wait(), 5)
    assert [len(batch) for batch in sink.batches] == [SLICE, SLICE, SLICE, 1]
    assert sink.seen == [str(number) for number in range(count)]


async def test_the_end_flushes_and_closes() -> None:
    sink = Sink()
    async with Recorder(RecordPolicy(interval=NEVER), [sink]) as recorder:
        recorder.emit(record(1))
    assert (sink.seen, sink.closed) == (["1"], 1)


async def test_a_full_queue_drops_the_newest_and_counts() -> None:
    sink = Sink()
    recorder = Recorder(RecordPolicy(interval=NEVER, limit=2), [sink])
    for number in range(5):
        recorder.emit(record(number))
    recorder.flush()
    assert (sink.seen, recorder.dropped) == (["0", "1"], 3)


async def test_a_failing_sink_is_counted_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    with caplog.at_level(logging.ERROR):
        async with Recorder(RecordPolicy(interval=NEVER), [Broken(), sink]) as recorder:
            for number in range(10):
                recorder.emit(record(number))
                recorder.flush()
    assert len(sink.seen) == 10
    assert sink.closed == 1
    assert recorder.failures == 11
    told = [message for message in caplog.messages if "Broken" in message]
    assert len(told) == 4, "the first, second, fourth and eighth"


async def test_a_process_that_is_cancelled_still_hands_over_what_it_has() -> None:
    sink = Sink()
    started = asyncio.Event()

    async def serve() -> None:
        async with Recorder(RecordPolicy(interval=NEVER), [sink]) as recorder:
            recorder.emit(record(1))
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (sink.seen, sink.closed) == (["1"], 1)
