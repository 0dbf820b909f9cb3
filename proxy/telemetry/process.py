"""What the system knows of this process, where it says so in /proc (Linux); elsewhere its CPU time alone."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path

_STATM, _FDS = Path("/proc/self/statm"), Path("/proc/self/fd")


def _resident() -> float:
    return float(_STATM.read_text().split()[1]) * resource.getpagesize()


def _open_files() -> float:
    return float(sum(1 for _ in _FDS.iterdir()))


COUNTED: Mapping[str, Callable[[], float]] = {
    "process_cpu_seconds_total": time.process_time,
    **({"process_resident_memory_bytes": _resident} if _STATM.exists() else {}),
    **({"process_open_fds": _open_files} if _FDS.exists() else {}),
}
"""Series -> how it is read."""
