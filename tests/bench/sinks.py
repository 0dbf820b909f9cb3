"""What each sink takes for a record: CPU on the event loop, and in the threads behind it.

python -m tests.bench.sinks [--rounds 9] [--calls 2000]

The records are those of real calls through the gateway to the stub, handed over as the recorder does it. The
rounds take turns; medians are shown. The interpreter has one lock: what a thread takes, calls wait for, too.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median

from msgspec import UNSET

from proxy import settings
from proxy.app import Engine
from proxy.record import CallRecord
from proxy.routing.grounds import grounds
from proxy.server.headers import session_of
from proxy.telemetry.calls import SLICE, Sink
from proxy.telemetry.encoding import Batch
from proxy.telemetry.journal import Journal
from proxy.telemetry.logs import CallLog
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.policy import CallsPolicy, LogPolicy
from proxy.wire import chat
from tests.bench import contenders
from tests.bench.prompts import bodies

GATHERED = 250
"""Records between two looks whether all is written: what a quarter of a second brings at 1,000 a second."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sinks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kuro-sinks-") as place:
        records = _recorded(Path(place), options.calls)
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in SINKS}
        for turn in range(options.rounds):
            for name, make in SINKS.items():
                took[name].append(_fed(make(Path(place) / f"{name}-{turn}"), records))
    print(f"{'us a record':<12}{'loop':>8}{'threads':>9}{'all':>8}")
    for name, turns in took.items():
        loop, process = (median(each[part] for each in turns) for part in (0, 1))
        print(f"{name:<12}{loop:>8.2f}{process - loop:>9.2f}{process:>8.2f}")
    return 0


def _nothing(_: Path) -> list[Sink]:
    return []


def _log(place: Path) -> list[Sink]:
    # Without a file a journal takes the decisions off the records, and no more.
    return [Journal(CallsPolicy(file=None), time.time, grounds), _lines(place)]


def _lines(place: Path) -> Sink:
    return CallLog(LogPolicy(file=f"{place}.log"))


def _journal(place: Path) -> list[Sink]:
    return [Journal(CallsPolicy(file=f"{place}.db"), time.time, grounds)]


def _metrics(_: Path) -> list[Sink]:
    return [Metrics((), (), dict)]


def _both(place: Path) -> list[Sink]:
    return [*_journal(place), _lines(place)]


SINKS: dict[str, Callable[[Path], list[Sink]]] = {
    "nothing": _nothing,
    "log lines": _log,
    "call log": _journal,
    "both": _both,
    "metrics": _metrics,
}


def _fed(sinks: Sequence[Sink], records: list[CallRecord]) -> tuple[float, float]:
    """Microseconds a record: of this thread, and of all."""
    reasons = [record.why for record in records]
    waits = [sink.flush for sink in sinks if isinstance(sink, Journal)]
    waits += [sink.close for sink in sinks if isinstance(sink, CallLog)]
    loop, process = time.thread_time(), time.process_time()
    for start in range(0, len(records), SLICE):
        part = Batch(records[start : start + SLICE])
        for sink in sinks:
            sink.write(part)
        if (start + SLICE) % GATHERED == 0:
            for wait in waits:
                wait()
    loop = time.thread_time() - loop
    for sink in sinks:
        sink.close()
    process = time.process_time() - process
    for record, why in zip(records, reasons, strict=True):
        record.why = why
    return loop / len(records) * 1e6, process / len(records) * 1e6


def _recorded(place: Path, calls: int) -> list[CallRecord]:
    """Records of calls as the benchmark makes them, with their decisions."""
    stub, upstream = contenders.stub()
    try:
        contenders.kuro(upstream, place)
        engine = Engine(settings.load(place / "kuro"))
        return asyncio.run(_called(engine, calls))
    finally:
        stub.kill()
        stub.wait()
        if stub.stdout is not None:
            stub.stdout.close()


async def _called(engine: Engine, calls: int) -> list[CallRecord]:
    records = []
    for number, body in enumerate(islice(bodies("auto"), calls)):
        call = engine.gateway.begin(f"req-65e915e3aaff-{number}")
        call.record.key_id = "bench"
        request = chat.parse(body)
        session = session_of({}, request.fields, request.messages, "bench")
        answer = await engine.gateway.call(call, request, {}, session)
        answer.settle()
        answer.close()
        assert call.record.outcome == "ok" and call.record.why is not UNSET
        records.append(call.record)
    for upstream in engine.upstreams.values():
        await upstream.aclose()
    return records


if __name__ == "__main__":
    raise SystemExit(main())
