"""Several serving processes on one socket, and their parent, who starts, replaces and stops them.

    SIGTERM, SIGINT   all drain; a second one: all hurry; whoever is still there in the end is killed
    SIGHUP            the office reads the configuration anew, and all workers are told to take it
    a worker dies     another takes its place
    the parent dies   the workers see their link close, and drain

Workers are spawned, not forked. What concerns all of them is decided here, once, by the office, and whoever
starts later is given the same. What is said over the links is in `link.py`.
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
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from proxy.server.link import DRAIN, HURRY, READY, Answer, Ask, Done, Order, Reach
from proxy.server.serving import BACKSTOP

logger = logging.getLogger("kuro")

MARGIN = 10.0
"""Seconds beyond their own limits that workers get to flush and end; then they are killed."""
PAUSE = 1.0
"""Seconds before a worker that died is replaced: one that can't live doesn't take the machine along."""

HEARING = {Reach.ALL: 30.0, Reach.SERVING: 2.0, Reach.PARENT: 0.0}
"""Seconds after which whoever asked is told who has said nothing yet. What is ordered stays ordered."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What the parent heeds, for all: a terminal sends them to its workers, too."""

Work = Callable[[socket.socket, "Connection[Any, Any]", str], None]
"""What a worker does, on the shared socket, with its end of the link and its name. Must be picklable."""


class Office(Protocol):
    """Who decides what concerns all workers."""

    def work(self) -> Work:
        """What a worker that starts now does."""

    def decide(self, asked: Any) -> Any:
        """What all workers are ordered; also the answer to who asked."""

    def hung_up(self) -> Any:
        """What SIGHUP asks for."""


@dataclass(eq=False)
class Round:
    """An order on its way."""

    order: Order
    reach: Reach
    waiting: set[Worker]
    until: float
    """When who asked is told, whoever is missing, `time.monotonic`."""
    asker: Worker | None = None
    question: int = 0
    heard: dict[str, Any] = field(default_factory=dict)

    def tell(self) -> None:
        """Answers who asked, once."""
        asker, self.asker = self.asker, None
        if asker is not None:
            missing = tuple(sorted(worker.name for worker in self.waiting))
            asker.tell(Answer(self.question, self.order.what, self.heard, missing))


@dataclass(eq=False)
class Worker:
    """One process as the parent sees it."""

    name: str
    process: SpawnProcess
    link: Connection[Any, Any]
    replaces: Worker | None = None
    """Who is told to drain as soon as this one is ready."""
    ready: bool = False
    retired: bool = False
    owed: list[Order] = field(default_factory=list)
    """Orders that it gets when it is ready."""

    def tell(self, word: object) -> None:
        """Says it, if there is still somebody to hear it."""
        with suppress(OSError):  # it has just ended; its sentinel says so, too
            self.link.send(word)


@dataclass
class Supervisor:
    """The parent."""

    office: Office
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
    _asked: list[Any] = field(default_factory=list)
    _rounds: dict[int, Round] = field(default_factory=dict)
    _wakes: socket.socket | None = None
    _stopping_until: float | None = None
    _names: Iterator[str] = field(default_factory=lambda: map(str, count(1)))
    _number: int = 0
    _proven: bool = False
    """Some worker was ready: the configuration was good once."""

    def catch_signals(self) -> None:
        """From now on signals are kept for `run`."""
        self._woken, wakes = socket.socketpair()
        wakes.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno())
        self._wakes = wakes  # for as long as the process lives
        for number in SIGNALS:
            signal.signal(number, lambda number, _: self._signals.append(number))

    def ask(self, asked: object) -> None:
        """Has the office decide about it, soon. From any thread."""
        self._asked.append(asked)
        if self._wakes is not None:
            with suppress(BlockingIOError):  # full: it will wake
                self._wakes.send(b"\0")

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
            target=_begin, args=(self.listening, theirs, name), name=f"kuro-worker-{name}"
        )
        # Kept from it until it can say what it does about them: it begins with our mask, which
        # multiprocessing clears when it has to start its tracker on the way.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        process.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # or its end would never be seen
        worker = Worker(name, process, ours, replaces)
        worker.tell(self.office.work())
        self.workers.append(worker)

    def _pause(self) -> float | None:
        moments = [*self._due] if self._stopping_until is None else [self._stopping_until]
        moments += [each.until for each in self._rounds.values() if each.asker is not None]
        return max(min(moments) - time.monotonic(), 0.0) if moments else None

    def _heed(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGHUP and self._stopping_until is None:
                self._order(self.office.hung_up())
            elif number != signal.SIGHUP:
                self._stop()
        while self._asked:
            self._order(self._asked.pop(0))

    def _order(
        self, asked: Any, reach: Reach = Reach.ALL, asker: Worker | None = None, question: int = 0
    ) -> None:
        """Has it decided, and all whom it reaches do it."""
        try:
            decided = self.office.decide(asked)
        except Exception:  # a question must not end the parent, and all workers with it
            logger.exception("what was asked for could not be decided")
            if asker is not None:
                asker.tell(Answer(question, None, failed=True))
            return
        self._number += 1
        order = Order(self._number, decided)
        until = time.monotonic() + HEARING[reach]
        under_way = Round(order, reach, self._reached(reach), until, asker, question)
        self._rounds[order.number] = under_way
        for worker in under_way.waiting:
            if worker.ready:
                worker.tell(order)
            else:
                worker.owed.append(order)
        self._end(under_way)

    def _reached(self, reach: Reach) -> set[Worker]:
        if reach is Reach.PARENT:
            return set()
        return {each for each in self.workers if not each.retired and (each.ready or reach is Reach.ALL)}

    def _done(self, worker: Worker, done: Done) -> None:
        """One has done it, or ended; when all have, who asked is answered."""
        under_way = self._rounds.get(done.number)
        if under_way is None:
            return
        under_way.waiting.discard(worker)
        if done.said is not None:
            under_way.heard[worker.name] = done.said
        if done.failed and not worker.retired and under_way.reach is Reach.ALL:
            logger.error("a worker could not do what it was told: a fresh one takes its place")
            self._start(replaces=worker)
        self._end(under_way)

    def _end(self, under_way: Round) -> None:
        """When all are done, or who asked has waited long enough."""
        late = under_way.until <= time.monotonic()
        if late or not under_way.waiting:
            under_way.tell()
        if not under_way.waiting or (late and under_way.reach is Reach.SERVING):
            del self._rounds[under_way.order.number]

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
                self._hear(worker, worker.link.recv())
        if worker.process.sentinel in seen:
            worker.process.join()
            worker.link.close()
            self.workers.remove(worker)
            code = worker.process.exitcode or 0
            self.settle(worker.name, code != 0 and self._stopping_until is None)
            self._ended(worker, code)

    def _hear(self, worker: Worker, said: Any) -> None:
        match said:
            case Ask():
                self._order(said.asked, said.reach, worker, said.number)
            case Done():
                self._done(worker, said)
            case _ if said == READY:
                self._serves(worker)

    def _serves(self, worker: Worker) -> None:
        worker.ready = self._proven = True
        for order in worker.owed:
            worker.tell(order)
        worker.owed.clear()
        if worker.replaces is not None:
            worker.replaces.retired = True
            worker.replaces.tell(DRAIN)
            worker.replaces = None

    def _ended(self, worker: Worker, code: int) -> None:
        for number in [number for number, each in self._rounds.items() if worker in each.waiting]:
            self._done(worker, Done(number))
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
        for under_way in tuple(self._rounds.values()):
            self._end(under_way)
        if self._stopping_until is not None and self._stopping_until <= now:
            for worker in self.workers:
                logger.error("a worker did not end in time: it is killed")
                worker.process.kill()
            self._stopping_until = now + MARGIN


def _begin(listening: socket.socket, link: Connection[Any, Any], name: str) -> None:
    """In the worker: what it does comes over the link, with a whole configuration in it.

    As the process's own target it would wait in a pipe of which the parent holds both ends: filling that, the
    parent would wait for ever, deaf to signals, for a worker that died before it could read.
    """
    try:
        work: Work = link.recv()
    except EOFError:  # the parent has ended meanwhile
        return
    work(listening, link, name)
