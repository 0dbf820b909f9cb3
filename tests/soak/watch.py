"""What is seen of the process from outside: memory, threads, descriptors in /proc, the rest in /metrics."""

from __future__ import annotations

import asyncio
import csv
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e import raw

GAUGES = ("llm_tasks", "llm_upstream_connections", "llm_queue_in_flight", "llm_queue_waiting")
"""What goes up and down, and has to come back."""
LOST = ("llm_records_dropped_total", "llm_batches_lost_total", "llm_log_lines_lost_total")
"""What must stay at zero."""

CLOSED = 0.02
"""Seconds for the proxy to notice that the scrape's connection has been closed."""


@dataclass(frozen=True)
class Sample:
    """One look. Memory in MB of 10^6 bytes."""

    at: float
    """Seconds since the load began."""
    resident: float
    anonymous: float
    """The part of it that is the process's own: without the files that it has mapped."""
    threads: int
    descriptors: Counter[str]
    """By kind: socket, pipe, file, anonymous."""
    gauges: dict[str, float] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """Descriptors in all."""
        return self.descriptors.total()


async def look(pid: int, port: int, at: float) -> Sample:
    """One sample. The scrape's connection is closed before descriptors are counted."""
    gauges = await scrape(port)
    await asyncio.sleep(CLOSED)
    memory = _fields(Path(f"/proc/{pid}/smaps_rollup"))
    threads = _fields(Path(f"/proc/{pid}/status"))["Threads"]
    return Sample(at, memory["Rss"] / 1e3, memory["Anonymous"] / 1e3, threads, descriptors(pid), gauges)


async def scrape(port: int) -> dict[str, float]:
    """The series without labels that are watched."""
    text = (await raw.get(port, "/metrics")).body.decode()
    pairs = (line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    return {pair[0]: float(pair[1]) for pair in pairs if pair[0] in (*GAUGES, *LOST)}


def descriptors(pid: int) -> Counter[str]:
    """Open ones by kind."""
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        found["file" if target.startswith("/") else target.partition(":")[0]] += 1
    return found


def save(samples: list[Sample], path: Path) -> None:
    """As CSV, a line each."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seconds", "resident_mb", "anonymous_mb", "threads", "descriptors", *GAUGES])
        for each in samples:
            row = [f"{each.at:.1f}", f"{each.resident:.3f}", f"{each.anonymous:.3f}", each.threads, each.open]
            writer.writerow([*row, *(each.gauges.get(name, "") for name in GAUGES)])


def _fields(path: Path) -> dict[str, int]:
    """The numbers of a file of `Name:   123 kB` lines; kB of 1024 bytes are made such of 1000."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        value, _, unit = rest.strip().partition(" ")
        if value.isdigit():
            found[name] = int(value) * 1024 // 1000 if unit == "kB" else int(value)
    return found
