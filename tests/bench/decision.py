"""What deciding costs, in a process of its own: CPU of a decision and of loading, and the memory it adds.

    python -m tests.bench.decision CONFIG_DIRECTORY      prints it as JSON

A decision is all between a request that is parsed and its plan: features, intents, difficulty, scores.
"""

from __future__ import annotations

import asyncio  # noqa: F401  # asyncio and TLS are in every server: what they take isn't deciding's
import os
import ssl  # noqa: F401
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import msgspec

from tests.bench.measure import resident_mb
from tests.bench.prompts import LENGTH, PROMPTS, bodies, body, texts

NEW = 1_000
"""Asks that are new; as many came before them."""
LONG = 100_000
"""Characters."""


class Costs(msgspec.Struct):
    """Microseconds are CPU, and medians."""

    known_us: float
    """500 characters of every kind that is classified, in words that were seen before."""
    new_us: float
    """500 characters that are new."""
    long_us: float
    """100,000 characters of the dearest kind."""
    repeat_us: float
    """500 characters whose decision is remembered."""
    load_ms: float
    """CPU from the files to a router that has decided once; its modules are imported."""
    memory_mb: float
    """Resident, with all modules, after `NEW` asks twice."""


def measure(config: Path) -> Costs:
    """Everything, in the order in which a process meets it."""
    new = _new(2 * NEW)
    before = resident_mb(os.getpid())
    from tests.bench.deciding import cpu_us, routers

    known = list(islice(bodies("auto"), len(PROMPTS)))
    began = time.process_time()
    router, remembering = routers(config)
    cpu_us(router, known[:1], 1)
    load_ms = (time.process_time() - began) * 1e3
    cpu_us(router, new[:NEW])
    new_us = cpu_us(router, new[NEW:])
    memory_mb = resident_mb(os.getpid()) - before
    return Costs(
        known_us=cpu_us(router, known, 50),
        new_us=new_us,
        long_us=max(cpu_us(router, [asked], 10) for asked in _long()),
        repeat_us=cpu_us(remembering, known, 50),
        load_ms=load_ms,
        memory_mb=memory_mb,
    )


def _new(number: int) -> list[bytes]:
    """From another process, so that nothing of what they are made of is in this one."""
    command = (
        "import sys; from tests.bench.prompts import unseen; print(*map(bytes.decode, unseen({})), sep='\\n')"
    )
    made = subprocess.run([sys.executable, "-c", command.format(number)], capture_output=True, check=True)
    return made.stdout.splitlines()


def _long() -> list[bytes]:
    """Prose, code, another script, and a conversation's many turns."""
    code = Path(__file__).read_text("utf-8")
    chinese = "请帮我写一个程序，读取订单文件，并返回消费最多的十位顾客。"
    turns = list(islice(texts(), LONG // LENGTH + 1))
    return [
        body("auto", " ".join(turns)[:LONG]),
        body("auto", (code * (LONG // len(code) + 1))[:LONG]),
        body("auto", (chinese * (LONG // len(chinese) + 1))[:LONG]),
        body("auto", *turns),
    ]


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(measure(Path(sys.argv[1]))).decode() + "\n")
