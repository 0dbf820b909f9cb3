"""Several serving processes on one socket, and their parent, who starts, replaces and stops them.

    SIGTERM, SIGINT   all drain; a second one: all hurry; whoever is still there in the end is killed
    SIGHUP            one after the other is replaced by a fresh one, which reads the configuration anew
    a worker dies     another takes its place
    the parent dies   the workers see their link close, and drain

Workers are spawned, not forked. Each has a link to the parent: READY one way, DRAIN and HURRY the other.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from proxy.server.serving import BACKSTOP, DRAIN, HURRY, READY

logger = logging.getLogger("kuro")

MARGIN = 10.0
"""Seconds beyond their own limits that workers get to flush and end; then they are killed."""
PAUSE = 1.0
"""Seconds before a worker that died is replaced: one that can't live doesn't take the machine along."""

Work = Callable[[socket.socket, "Connection[bytes, bytes]", str], None]
"""What a worker does, on the shared socket, with its end of the link and its name. Must be picklable."""


@dataclass(eq=False)
class Worker:
    """One process as the parent sees it."""

    name: str
    process: SpawnProcess
    link: Connection[bytes, bytes]
    replaces: Worker | None = None
    """Who is told to drain as soon as this one is ready."""
    ready: bool = False
    retired: bool = False

    def tell(self, word: bytes) -> None:
        """Says it, if there is still somebody to hear it."""
        with suppress(OSError):  # it has just ended; its sentinel says so, too
            self.link.send(word)


@dataclass
class Supervisor:
    """The parent."""

    work: Work
    listening: socket.socket
    count: int
    patience: float
    """Seconds that a worker lets its open calls finish."""
    settle: Callable[[str, bool], None] = lambda name, died: None
    """Is told of each worker that has ended, and whether it did so without having been told to."""
    workers: list[Worker] = field(default_factory=list)
    code: int = 0
    """The exit code, so far."""
    _woken: socket.socket | None = None
    """Has something to read when a signal has come."""
    _due: list[float] = field(default_factory=list)
    """When workers are to be started, `time.monotonic`."""
    _signals: list[int] = field(default_factory=list)
    _stopping_until: float | None = None
    _names: Iterator[str] = field(default_factory=lambda: map(str, count(1)))
    _proven: bool = False
    """Some worker was ready: the configuration was good once."""

    def catch_signals(self) -> None:
        """From now on signals are kept for `run`."""
        self._woken, wakes = socket.socketpair()
        wakes.setblocking(False)
        signal.set_wakeup_fd(wakes.detach())  # for as long as the process lives
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._signals.append(number))

    def run(self) -> int:
        """Until all workers have ended; the exit code: 0 after an ordered end."""
        if self._woken is None:
            self.catch_signals()
        assert self._woken is not None
        for _ in range(self.count):
            self._start()
        while self.workers or self._due:
            sources: list[Any] = [self._woken]
            for worker in self.workers:
                sources += (worker.process.sentinel, worker.link)
            seen = wait(sources, self._pause())
            if self._woken in seen:
                self._woken.recv(4096)
            self._heed()
            for worker in tuple(self.workers):
                self._look(worker, seen)
            self._keep_time()
        return self.code

    def _start(self, replaces: Worker | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        name = next(self._names)
        process = context.Process(
            target=self.work, args=(self.listening, theirs, name), name=f"kuro-worker-{name}"
        )
        process.start()
        theirs.close()  # or its end would never be seen
        self.workers.append(Worker(name, process, ours, replaces))

    def _pause(self) -> float | None:
        moments = [*self._due] if self._stopping_until is None else [self._stopping_until]
        return max(min(moments) - time.monotonic(), 0.0) if moments else None

    def _heed(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGHUP and self._stopping_until is None:
                for worker in [w for w in self.workers if not w.retired]:
                    self._start(replaces=worker)
            elif number != signal.SIGHUP:
                self._stop()

    def _stop(self) -> None:
        """The first time all drain, after that all hurry."""
        word = DRAIN if self._stopping_until is None else HURRY
        if self._stopping_until is None:
            self._stopping_until = time.monotonic() + self.patience + BACKSTOP + MARGIN
            self.listening.close()  # so that the last worker's is the last: nobody waits at a dead one
        self._due.clear()
        for worker in self.workers:
            worker.tell(word)

    def _look(self, worker: Worker, seen: list[Any]) -> None:
        if worker.link in seen:
            with suppress(EOFError, OSError):
                if worker.link.recv() == READY:
                    self._serves(worker)
        if worker.process.sentinel in seen:
            worker.process.join()
            worker.link.close()
            self.workers.remove(worker)
            code = worker.process.exitcode or 0
            self.settle(worker.name, code != 0 and self._stopping_until is None)
            self._ended(worker, code)

    def _serves(self, worker: Worker) -> None:
        worker.ready = self._proven = True
        if worker.replaces is not None:
            worker.replaces.retired = True
            worker.replaces.tell(DRAIN)
            worker.replaces = None

    def _ended(self, worker: Worker, code: int) -> None:
        if self._stopping_until is not None:
            self.code = self.code or int(code != 0)
        elif worker.retired:
            return
        elif worker.replaces is not None:
            logger.error("a fresh worker ended with %d instead of serving: the old one stays", code)
        elif not self._proven and code > 0:
            logger.error("a worker ended with %d instead of serving", code)
            self.code = code
            self._stop()
        else:
            logger.warning("a worker ended with %d: another takes its place", code)
            self._due.append(time.monotonic() + PAUSE)

    def _keep_time(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0] <= now:
            del self._due[0]
            self._start()
        if self._stopping_until is not None and self._stopping_until <= now:
            for worker in self.workers:
                logger.error("a worker did not end in time: it is killed")
                worker.process.kill()
            self._stopping_until = now + MARGIN
