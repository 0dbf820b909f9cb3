"""What a worker and its parent say to each other.

worker                      parent
  READY  ------------------->
  Ask    ------------------->   somebody asked this worker for something that concerns all
         <------------------- Order    to every worker
  Done   ------------------->
         <------------------- Answer   to the one who asked, when all are done
         <------------------- DRAIN, HURRY
"""

from __future__ import annotations

import asyncio
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from msgspec import Struct

READY, DRAIN, HURRY = b"ready", b"drain", b"hurry"
"""What a worker says to its parent, and what it is told by it."""


class Ask(Struct, frozen=True):
    """`number` is the worker's own."""

    number: int
    asked: Any


class Order(Struct, frozen=True):
    """`number` is the parent's own."""

    number: int
    what: Any


class Done(Struct, frozen=True):
    """The worker has done what it was ordered, or `failed` to."""

    number: int
    failed: bool = False


class Answer(Struct, frozen=True):
    """`number` is the question's."""

    number: int
    said: Any


class Line:
    """The worker's end, for questions. Belongs to one event loop."""

    def __init__(self, link: Connection[Any, Any]) -> None:
        self._link = link
        self._numbers = count()
        self._open: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, asked: object) -> Any:
        """The parent's answer, when all workers have done what follows from it."""
        number = next(self._numbers)
        self._open[number] = asyncio.get_running_loop().create_future()
        try:
            self._link.send(Ask(number, asked))
            return await self._open[number]
        finally:
            del self._open[number]

    def answered(self, answer: Answer) -> None:
        """The parent has spoken."""
        waiting = self._open.get(answer.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer.said)

    def done(self, number: int, failed: bool) -> None:
        """An order was carried out."""
        self._link.send(Done(number, failed))
