"""Notices that the caller left while somebody is awaited on its behalf.

While a handler awaits an upstream nobody calls `receive()`, so a gone caller would go unnoticed. A task
for it costs more than the rest of the handler; so `receive()` is stepped by hand: it runs up to the
future that it waits for, and that future's callback steps it on. Works with any ASGI server whose
`receive` awaits plain asyncio futures, as uvicorn's does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, MutableMapping
from typing import Any

from proxy.server.types import Receive


class Leaving:
    """From `watch` to `stop`: cancels the current task once when the caller disconnects."""

    __slots__ = ("_receive", "_steps", "_task", "left")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._steps: Generator[Any, None, MutableMapping[str, Any]] | None = None
        self._task: asyncio.Task[Any] | None = None
        self.left = False
        """The caller is gone; a CancelledError that arrives now is ours."""

    def watch(self) -> None:
        """Begins to watch. Call it from the task that is to be cancelled."""
        self._task = asyncio.current_task()
        self._again()

    def stop(self) -> None:
        """Ends the watch; before the last `send`, for a complete response ends `receive()`, too."""
        steps, self._steps = self._steps, None
        self._task = None
        if steps is not None:
            steps.close()

    def _again(self) -> None:
        self._steps = self._receive().__await__()
        self._step(None)

    def _step(self, _: Any) -> None:
        steps = self._steps
        if steps is None:
            return
        try:
            future = steps.send(None)
        except StopIteration as stopped:
            self._arrived(stopped.value)
            return
        if future is None:  # a bare yield: run on in the next turn of the loop
            asyncio.get_running_loop().call_soon(self._step, None)
            return
        # What `await` would do for us: a Task clears this mark before it subscribes.
        future._asyncio_future_blocking = False
        future.add_done_callback(self._step)

    def _arrived(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] != "http.disconnect":
            self._again()  # more of a body that was read to its end already
            return
        self._steps = None
        self.left = True
        if self._task is not None:
            self._task.cancel()
