"""What is read of a process from outside: CPU and memory, of it and of all its descendants (Linux /proc)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import median

_TICK = 1e9 / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for member in found:
        for task in _tasks(member):
            found += map(int, _text(task / "children").split())
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of the family so far, over all threads.

    The scheduler's own nanoseconds, where the kernel gives them: utime and stime count in ticks of 10 ms.
    """
    return sum(_scheduled(member) or _ticks(member) for member in family(pid)) / 1e9


def resident_mb(pid: int) -> float:
    """Resident memory of the family, MB of 10^6 bytes."""
    return sum(_status_kb(member, "VmRSS:") for member in family(pid)) * 1024 / 1e6


class Watch:
    """The largest resident memory of a family while a `with` lasts, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.peak_mb = max(self.peak_mb, resident_mb(self._pid))


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the rounds' ratios: what disturbs a round disturbs both halves of it."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def _tasks(pid: int) -> Iterator[Path]:
    try:
        yield from Path(f"/proc/{pid}/task").iterdir()
    except FileNotFoundError:
        return


def _scheduled(pid: int) -> float:
    """Nanoseconds on a CPU of the threads that live."""
    return sum(float((_text(task / "schedstat") or "0").split()[0]) for task in _tasks(pid))


def _ticks(pid: int) -> float:
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK if fields else 0.0


def _status_kb(pid: int, name: str) -> int:
    lines = _text(Path(f"/proc/{pid}/status")).splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _text(path: Path) -> str:
    """The file's text; nothing when the process is gone."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
