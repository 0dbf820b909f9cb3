"""How many streams are held at once before one is lost or stalls; load, stub and proxy share this machine.

    python -m tests.bench.most [--workers 2] [--rate 20] [--seconds 8] 500 1000 ...

For each number a proxy of its own: streams that were lost, the longest stall of any (the wait between two
reads beyond the pace), and where the CPU went, in cores.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.bench import contenders
from tests.bench.load import Plan
from tests.bench.measure import Watch, cpu_seconds
from tests.bench.scenarios import Bench

HEADINGS = ("streams", "events/s", "lost", "stall ms", "kuro", "stub", "load", "MB")
RAMP = 400
"""Streams that begin in a second; the last one begins, then all are held for the given seconds."""
ALLOWED_MS = 250.0
"""Of a stall."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.most", description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=int, default=20, help="events a second of each stream")
    parser.add_argument("--seconds", type=int, default=8, help="that all are held at once")
    parser.add_argument("streams", type=int, nargs="+")
    options = parser.parse_args()
    print(("{:>9}" * len(HEADINGS)).format(*HEADINGS))
    for streams in options.streams:
        held(streams, options.workers, options.rate, options.seconds)
    return 0


def held(streams: int, workers: int, rate: int, seconds: int) -> None:
    """One line of the table."""
    stub, upstream = contenders.stub()
    try:
        with tempfile.TemporaryDirectory() as place:
            kuro = contenders.kuro(upstream, Path(place))
            kuro = replace(kuro, command=[*kuro.command, "--workers", str(workers)])
            kuro.start()
            try:
                _measure(Bench({"kuro": kuro}, upstream, Path(place)), stub.pid, streams, rate, seconds)
            finally:
                kuro.stop()
    finally:
        stub.kill()
        stub.wait()
        if stub.stdout is not None:
            stub.stdout.close()


def _measure(bench: Bench, stub: int, streams: int, rate: int, seconds: int) -> None:
    kuro = bench.running["kuro"]
    bench.load("kuro", Plan(kuro.port, 32, 1000))
    before, others, own, began = cpu_seconds(kuro.pid), cpu_seconds(stub), _children(), time.perf_counter()
    with Watch(kuro.pid) as watch:
        events = rate * (seconds + streams // RAMP)
        plan = Plan(kuro.port, streams, streams, events=events, rate=rate, ramp=RAMP)
        report = bench.load("kuro", plan)
    took = time.perf_counter() - began
    cores = [
        (cpu_seconds(kuro.pid) - before) / took,
        (cpu_seconds(stub) - others) / took,
        (_children() - own) / took,
    ]
    lost = streams - report.requests + report.errors
    stall = report.gap_ms - 1000 / rate
    done = report.events / took
    row = (
        streams,
        f"{done:,.0f}",
        lost,
        f"{stall:.0f}",
        *(f"{c:.2f}" for c in cores),
        f"{watch.peak_mb:.0f}",
    )
    kept = not lost and stall < ALLOWED_MS
    print(("{:>9}" * len(row)).format(*row), "" if kept else " missed", report.first_error[:100], flush=True)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
