"""Routers that decide without a proxy around them, and the CPU that this takes them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from proxy import settings
from proxy.routers import Live, build
from proxy.routing.router import Router, new_memory
from proxy.wire.chat import parse


def routers(config: Path) -> tuple[Router, Router]:
    """Those of a configuration, healthy: one that remembers no decision, and one that does."""
    loaded = settings.load(config, {})
    memory = new_memory(loaded.routing, time.monotonic)
    remembering = build(loaded, Live(memory, lambda _: frozenset(), lambda _: None, dict, lambda _: ""))
    return remembering.apart(), remembering


def cpu_us(router: Router, asked: Iterable[bytes], rounds: int = 0) -> float:
    """Of a decision, the median; with `rounds`, of so many after a first one that isn't counted."""
    requests = [parse(body) for body in asked]
    took = []
    for request in requests * (rounds + 1):
        began = time.process_time_ns()
        router.plan(request, {}, "")
        took.append(time.process_time_ns() - began)
    return median(took[len(requests) if rounds else 0 :]) / 1e3
