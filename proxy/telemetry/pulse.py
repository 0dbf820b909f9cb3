"""The heartbeat: how late the event loop wakes, and every now and then the counts for the other workers.

A loop that is late makes every call late, whatever it waits for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

TICK = 0.1
"""Seconds between two looks at the clock."""
BEAT = 5
"""Ticks between two beats."""

logger = logging.getLogger("kuro.metrics")


class Pulse:
    """An async context manager for as long as calls are served."""

    def __init__(self, late: Callable[[float], None], post: Callable[[], None]) -> None:
        """`late` is told seconds; `post` may raise OSError, which is logged when it begins."""
        self._late = late
        self._post = post
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Pulse:
        self._task = asyncio.create_task(self._run(), name="pulse")
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def beat(self) -> None:
        """Lets the others see what was counted."""
        try:
            self._post()
        except OSError as error:
            if not self._failing:
                logger.warning("other workers don't see what this one counts: %s", error)
            self._failing = True
        else:
            self._failing = False

    async def _run(self) -> None:
        ticks = 0
        while True:
            due = monotonic() + TICK
            await asyncio.sleep(TICK)
            self._late(max(monotonic() - due, 0.0))
            ticks += 1
            if ticks % BEAT == 0:
                self.beat()
