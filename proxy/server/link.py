"""What a worker and its parent say to each other.

worker                      parent
  READY  ------------------->
  Ask    ------------------->   somebody asked this worker for something that concerns others, too
         <------------------- Order    to every worker that it reaches
  Done   ------------------->
         <------------------- Answer   to the one who asked, when all are done
         <------------------- DRAIN, HURRY
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from msgspec import Struct

from proxy.errors import ApiError

READY, DRAIN, HURRY = b"ready", b"drain", b"hurry"
"""What a worker says to its parent, and what it is told by it."""


class Reach(StrEnum):
    """Whom what is asked for concerns."""

    ALL = "all"
    """Every worker, those that are starting too: they get the order when they serve."""
    SERVING = "serving"
    """Those that serve now, as far as they answer in time. They are asked, and change nothing."""
    PARENT = "parent"
    """The parent alone."""


class Ask(Struct, frozen=True):
    """`number` is the worker's own."""

    number: int
    asked: Any
    reach: Reach = Reach.ALL


class Order(Struct, frozen=True):
    """`number` is the parent's own."""

    number: int
    what: Any


class Done(Struct, frozen=True):
    """The worker has done what it was ordered, or `failed` to; what it says to it, if anything."""

    number: int
    failed: bool = False
    said: Any = None


class Answer(Struct, frozen=True):
    """`number` is the question's."""

    number: int
    said: Any
    """What was decided."""
    heard: dict[str, Any] = {}
    """What each worker said, by its name."""
    silent: tuple[str, ...] = ()
    """Workers that said nothing in time."""
    failed: bool = False
    """Nothing could be decided: the parent's log says why."""


PATIENCE = 60.0
"""Seconds after which a parent that says nothing is given up: it answers itself when workers are silent."""


class Line:
    """The worker's end, for questions. Belongs to one event loop."""

    def __init__(self, link: Connection[Any, Any], patience: float = PATIENCE) -> None:
        self._link = link
        self._patience = patience
        self._numbers = count()
        self._open: dict[int, asyncio.Future[Answer]] = {}

    async def ask(self, asked: object, reach: Reach) -> Answer:
        """The parent's answer, when all workers whom it reaches have done what follows from it.

        Raises ApiError 503 when it says nothing, RuntimeError when it could decide nothing.
        """
        number = next(self._numbers)
        self._open[number] = asyncio.get_running_loop().create_future()
        try:
            self._link.send(Ask(number, asked, reach))
            async with asyncio.timeout(self._patience):
                answer = await self._open[number]
        except TimeoutError:
            raise _silent() from None
        finally:
            del self._open[number]
        if answer.failed:
            raise RuntimeError("the parent could not decide on this: its log says why")
        return answer

    def answered(self, answer: Answer) -> None:
        """The parent has spoken."""
        waiting = self._open.get(answer.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def done(self, done: Done) -> None:
        """An order was carried out, or not."""
        self._link.send(done)


def _silent() -> ApiError:
    return ApiError(
        503,
        "The parent of the workers says nothing. What was asked for is done when it comes to it.",
        type="server_error",
        code="parent_silent",
    )
