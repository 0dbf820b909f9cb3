"""What is measured: each scenario is a function from the running contenders to rows of the table.

chat      CPU per request, 32 and 100 connections       latency   one connection, beside the stub itself
stream    CPU per event, paced and in bursts             start     to the first answer
decision  what deciding costs, in-process                memory    after 20,000 requests, and 20,000 more
                                                         hold      2,000 streams at once
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import msgspec

from tests.bench import contenders
from tests.bench.contenders import ROOT, Process
from tests.bench.decision import Costs
from tests.bench.load import Plan, Report
from tests.bench.measure import Watch, cpu_seconds, median_ratio, resident_mb

SLOW = {"litellm": 15, "portkey": 4}
"""They get so many times fewer requests: the figure is per request, and the run has an end."""


@dataclass(frozen=True)
class Row:
    """One line of the table. `kept` is None where there is no target."""

    what: str
    kuro: str
    beside: str = ""
    ratio: str = ""
    target: str = ""
    kept: bool | None = None


@dataclass
class Bench:
    """The running contenders by name, the stub's port, and how thorough to be."""

    running: dict[str, Process]
    upstream: int
    place: Path
    rounds: int = 5
    scale: float = 1.0
    problems: list[str] = field(default_factory=list)
    """Answers that were wrong: a figure of a run with errors is worth nothing."""

    def count(self, number: int) -> int:
        return max(1, int(number * self.scale))

    def load(self, name: str, plan: Plan) -> Report:
        """One run of the load in a process of its own; wrong answers are noted."""
        arguments = [f"--{key}={value}" for key, value in msgspec.to_builtins(plan).items()]
        command = [sys.executable, "-m", "tests.bench.load", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the load on {name} failed:\n{done.stderr[-2000:]}")
        report = msgspec.convert(json.loads(done.stdout), Report)
        if report.errors:
            self.problems.append(f"{name}: {report.errors} wrong answers, the first: {report.first_error}")
        return report


# --- CPU -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """A load whose CPU is measured per request, or per event where there are events."""

    what: str
    plan: Plan
    targets: dict[str, float]
    """Contender -> the largest allowed ratio of ours to theirs."""


@dataclass(frozen=True)
class Turn:
    """One contender's turn in a round: CPU in microseconds per request or event, and the waits."""

    cost_us: float
    p50_ms: float
    p99_ms: float


CHATS = (
    Work(
        "chat, 32 connections",
        Plan(0, 32, 6000),
        {"silent": 1.15, "floor": 2.0, "nginx": 8.0, "litellm": 0.01},
    ),
    Work(
        "chat, 100 connections",
        Plan(0, 100, 6000),
        {"silent": 1.15, "floor": 2.0, "nginx": 8.0, "litellm": 0.01},
    ),
    # A contender that is done sooner keeps its peers awake, who then needn't be woken for each message:
    # as fast as they go, the floor is spared a third of what the same request costs it here.
    Work(
        "chat, 1,000 a second",
        Plan(0, 100, 3000, pace=1000),
        {"silent": 1.15, "floor": 2.0, "nginx": 8.0},
    ),
)
STREAMS = (
    Work(
        "stream, 100 at 20 events/s",
        Plan(0, 100, 100, events=100, rate=20),
        {"silent": 1.15, "floor": 1.3, "litellm": 0.05},
    ),
    Work(
        "stream, 100 at 20 bursts of 10/s",
        Plan(0, 100, 100, events=1000, rate=20, burst=10),
        {"floor": 2.2, "litellm": 0.05},
    ),
    Work(
        "stream, 100 as fast as they go",
        Plan(0, 100, 200, events=1000, burst=10),
        {"floor": 2.2, "litellm": 0.05},
    ),
)


def chat(bench: Bench) -> list[Row]:
    return [row for work in CHATS for row in _cpu(bench, work)]


def stream(bench: Bench) -> list[Row]:
    shorter = replace(bench, rounds=max(2, bench.rounds * 3 // 5))  # a paced round takes its time
    return [row for work in STREAMS for row in _cpu(shorter, work)]


def _cpu(bench: Bench, work: Work) -> list[Row]:
    """Rounds in which every contender has its turn; then a row for each that kuro is compared with."""
    names = [name for name, process in bench.running.items() if process.streams or not work.plan.events]
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    for name in names:
        _turn(bench, name, work, 0.2)
    for turn in range(bench.rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            turns[name].append(_turn(bench, name, work))
    rows = [_against(work, name, turns) for name in names if name != "kuro"]
    return rows if work.plan.events else [*rows, _waits(work, turns)]


def _turn(bench: Bench, name: str, work: Work, part: float = 1.0) -> Turn:
    process = bench.running[name]
    requests = max(1, bench.count(int(work.plan.requests * part)) // SLOW.get(name, 1))
    connections = min(work.plan.connections, requests)
    plan = msgspec.structs.replace(
        work.plan, port=process.port, requests=requests, connections=connections, head=process.head
    )
    before = cpu_seconds(process.pid)
    report = bench.load(name, plan)
    spent = cpu_seconds(process.pid) - before
    units = report.events if plan.events else report.requests
    return Turn(spent / max(units, 1) * 1e6, report.p50_ms, report.p99_ms)


def _against(work: Work, name: str, turns: dict[str, list[Turn]]) -> Row:
    theirs, ours = ([turn.cost_us for turn in turns[who]] for who in (name, "kuro"))
    ratio, allowed = median_ratio(ours, theirs), work.targets.get(name)
    return Row(
        f"{work.what}, CPU per {'event' if work.plan.events else 'request'}",
        f"{median(ours):.1f} us",
        f"{name} {median(theirs):.1f} us",
        _times(ratio),
        f"<= {_times(allowed)}" if allowed else "",
        None if allowed is None else ratio <= allowed,
    )


def _waits(work: Work, turns: dict[str, list[Turn]]) -> Row:
    """How long callers wait when all connections ask at once; beside the floor, no target."""
    shown = {
        name: f"{median(turn.p50_ms for turn in part):.1f} / {median(turn.p99_ms for turn in part):.1f} ms"
        for name, part in turns.items()
    }
    beside = f"floor {shown['floor']}" if "floor" in shown else ""
    return Row(f"{work.what}, p50 / p99", shown["kuro"], beside)


def _times(ratio: float) -> str:
    return f"{ratio:.2f} x" if ratio > 0.5 else f"1/{1 / ratio:.0f}"


# --- latency -------------------------------------------------------------------------------------


def latency(bench: Bench) -> list[Row]:
    """One connection: what kuro adds to the stub itself, the two in turn."""
    ports = {"direct": bench.upstream, "kuro": bench.running["kuro"].port}
    reports: dict[str, list[Report]] = {name: [] for name in ports}
    for name, port in ports.items():
        bench.load(name, Plan(port, 1, bench.count(300)))
    for _ in range(2 * bench.rounds):
        for name, port in ports.items():
            reports[name].append(bench.load(name, Plan(port, 1, bench.count(1000))))
    rows = []
    for part, allowed in (("p50_ms", 0.25), ("p99_ms", 1.5)):
        direct, through = ([getattr(r, part) for r in reports[name]] for name in ("direct", "kuro"))
        added = median(ours - theirs for ours, theirs in zip(through, direct, strict=True))
        what = f"one connection, {part[:3]} added"
        beside = f"direct {median(direct):.3f} ms"
        rows.append(
            Row(
                what,
                f"{median(through):.3f} ms",
                beside,
                f"+{added:.3f} ms",
                f"< {allowed} ms",
                added < allowed,
            )
        )
    return rows


def decision(bench: Bench) -> list[Row]:
    command = [sys.executable, "-m", "tests.bench.decision", str(bench.place / "kuro")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    costs = msgspec.json.decode(done.stdout, type=Costs)
    return [
        _below("routing decision, 500 characters, 12 models", costs.known_us, 60, "us"),
        _below("... of words that were never seen", costs.new_us, 400, "us"),
        _below("... of 100,000 characters, the dearest kind", costs.long_us, 3000, "us"),
        _below("... that is remembered", costs.repeat_us, 20, "us"),
        _below("deciding: memory, after 2,000 new asks", costs.memory_mb, 40, "MB"),
        _below("deciding: CPU to load what it takes", costs.load_ms, 150, "ms"),
    ]


def _below(what: str, found: float, most: float, unit: str) -> Row:
    return Row(what, f"{found:.1f} {unit}", target=f"< {most} {unit}", kept=found < most)


# --- life ----------------------------------------------------------------------------------------


def start(bench: Bench) -> list[Row]:
    """From the start of the process to its first answered chat."""
    took = []
    for _ in range(bench.rounds):
        process = _another(bench, "start")
        took.append(process.started_in)
        process.stop()
    seconds = median(took)
    return [Row("start to first answer", f"{seconds:.2f} s", target="< 1 s", kept=seconds < 1)]


def memory(bench: Bench) -> list[Row]:
    """Resident memory of a fresh process after 20,000 requests, and what 20,000 more add."""
    process = _another(bench, "memory")
    try:
        plan = Plan(process.port, 32, bench.count(20_000))
        bench.load("kuro", plan)
        after = resident_mb(process.pid)
        bench.load("kuro", plan)
        grown = resident_mb(process.pid) - after
    finally:
        process.stop()
    many = f"{plan.requests:,} requests"
    return [
        Row(f"resident after {many}", f"{after:.1f} MB", target="< 75 MB", kept=after < 75),
        Row(f"growth over {many} more", f"{grown:+.1f} MB", target="flat: < 2 MB", kept=grown < 2),
    ]


HELD, PACE = 2000, 4
"""Streams held at once, and the events a second of each."""


def hold(bench: Bench) -> list[Row]:
    """Many slow streams at once: memory for each, none lost, none starved."""
    process, streams = _another(bench, "hold"), bench.count(HELD)
    try:
        bench.load("kuro", Plan(process.port, 32, 2000))
        before = resident_mb(process.pid)
        with Watch(process.pid) as watch:
            plan = Plan(process.port, streams, streams, events=PACE * 10, rate=PACE)
            report = bench.load("kuro", plan)
    finally:
        process.stop()
    each = (watch.peak_mb - before) * 1000 / streams
    late = report.gap_ms - 1000 / PACE
    lost = streams - report.requests + report.errors
    return [
        Row(f"{streams:,} streams held, memory each", f"{each:.1f} KB", target="< 25 KB", kept=each < 25),
        Row(f"{streams:,} streams held, lost", str(lost), target="none", kept=not lost),
        Row("... longest delay of an event", f"{late:.0f} ms", target="< 250 ms", kept=late < 250),
    ]


def _another(bench: Bench, name: str) -> Process:
    """A kuro of its own, just started."""
    place = bench.place / name
    place.mkdir(exist_ok=True)
    process = contenders.kuro(bench.upstream, place)
    process.start()
    return process


Scenario = Callable[[Bench], Sequence[Row]]
SCENARIOS: dict[str, Scenario] = {
    "chat": chat,
    "stream": stream,
    "latency": latency,
    "decision": decision,
    "start": start,
    "memory": memory,
    "hold": hold,
}
