"""The call log of one process: the latest calls in memory, all of them in a database, written by a thread.

    flush: write(batch) --rows--> one thread, every GATHER seconds --> all that waits, in one transaction

Rows are made where the records come from, on the event loop: calls wait for what a thread does in Python all
the same, for there is one lock, and for the lock's going to and fro besides.

A disk that is full, a database that is locked for long or isn't ours never touches a call: what could not be
kept is lost and counted, and the next batch is tried again. `archive.py` has the SQL.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from sys import getsizeof
from typing import Any

from msgspec import UNSET, UnsetType

from proxy.record import Grounds
from proxy.telemetry.archive import Archive, ArchiveError, RefusedError, columns
from proxy.telemetry.encoding import Batch, encode, encode_lines
from proxy.telemetry.policy import PROMPT_MARGIN, CallsPolicy
from proxy.telemetry.redaction import REDACTED, redaction
from proxy.telemetry.segments import Latest, Segment
from proxy.types import RoutePlan

logger = logging.getLogger("kuro.calls")

GATHER = 0.25
"""Seconds that calls may wait for more: a transaction costs as much as twenty rows."""
PLENTY = 250
"""Calls that are written without waiting for more."""
BACKLOG = 32 * 1024 * 1024
"""Bytes that may wait to be written: some 13,000 calls, fewer where prompts are kept."""
PATIENCE = 5.0
"""Seconds that the end of the process, or somebody who asks, waits for what isn't written yet."""
PRUNES = 60.0
"""Seconds between two looks for what is to be forgotten, also while there is no call."""


Score = tuple[str, str, float, float]
"""Request id, key, score, Unix time."""


GroundsOf = Callable[[RoutePlan, str], Grounds]
Why = tuple[RoutePlan, str] | UnsetType

STANDINGS = 64
"""How models stood, that is remembered as JSON: decisions that are remembered rest on former ones."""


class Journal:
    """A sink. It goes before those that must not see a prompt: it takes it off the records."""

    def __init__(self, policy: CallsPolicy, wall: Callable[[], float], grounds: GroundsOf) -> None:
        """`grounds`: what is kept of a decision beside its standing."""
        self._wall = wall
        self._grounds = grounds
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        """Somebody waits: nothing is gathered."""
        self._waiting: list[Segment] = []
        """Their prompts are as they were asked: the thread redacts them."""
        self._size = 0
        """Of all that is waiting, bytes."""
        self._calls = 0
        """That are waiting."""
        self._scores: list[Score] = []
        self._unwritten = 0
        self._ending = False
        self._thread: threading.Thread | None = None
        self._standings: dict[int, tuple[Mapping[str, Any], bytes]] = {}
        """By their identity, and as JSON: hundreds of plans share one."""
        self.recent = Latest(policy.recent)
        """The latest."""
        self.unkept = Latest(policy.recent)
        """The latest that could not be kept."""
        self.scored: dict[tuple[str, str], float] = {}
        """The latest feedback: (request id, key) -> score."""
        self.lost = 0
        """Calls that could not be kept."""
        self.adopt(policy)

    def adopt(self, policy: CallsPolicy) -> None:
        """A reload. The file stays the one that it was."""
        self._policy = policy
        for latest in (self.recent, self.unkept):
            latest.least = policy.recent
            latest.forget()

    def write(self, batch: Batch) -> None:
        """Takes a batch, without waiting."""
        whys = [record.why for record in batch]
        prompts = [None if record.prompt is UNSET else record.prompt for record in batch]
        for record in batch:
            record.why = record.prompt = UNSET
        policy = self._policy
        if policy.file is None and not policy.recent:
            return
        shown = Segment(list(map(columns, batch)), batch.lines)
        self.recent.add(shown)
        if policy.file is not None:
            asked = None if prompts.count(None) == len(prompts) else prompts
            self._keep(Segment(shown.rows, shown.records, *self._decided(whys), asked))

    def _keep(self, segment: Segment) -> None:
        size, calls = _size(segment), len(segment.rows)
        with self._changed:
            if self._size + size > BACKLOG:
                self._lose([segment])
                return
            self._size += size
            self._calls += calls
            self._unwritten += calls
            self._waiting.append(segment)
            if self._calls >= PLENTY:
                self._hurry.set()
            self._start()
        self._wake.set()

    def score(self, request_id: str, key: str, score: float) -> None:
        """Feedback on a call of this key."""
        self.scored[request_id, key] = score
        if len(self.scored) > self._policy.recent:
            del self.scored[next(iter(self.scored))]
        if self._policy.file is not None:
            with self._changed:
                self._scores.append((request_id, key, score, self._wall()))
                self._unwritten += 1
                self._start()
            self._wake.set()

    def flush(self, timeout: float = PATIENCE) -> bool:
        """Waits until everything is written or lost; False when that took too long. From any thread."""
        with self._changed:
            self._hurry.set()
            return self._changed.wait_for(lambda: not self._unwritten, timeout)

    def close(self) -> None:
        """Writes what is on its way, as far as that can be done in time."""
        self.flush()
        with self._changed:
            self._ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def _decided(self, whys: Sequence[Why]) -> tuple[bytes | None, bytes | None]:
        """The grounds of decisions, and the standings that they were made on, as a segment has them."""
        grounds: list[Grounds | None] = []
        standings: list[bytes] = []
        seen: dict[bytes, int] = {NULL: -1}
        for number, why in enumerate(whys):
            grounds.append(None if why is UNSET else self._grounds(*why))
            standing = NULL if why is UNSET else self._stood(why[0].standing)
            first = seen.setdefault(standing, number)
            standings.append(standing if first in (-1, number) else b"%d" % first)
        if grounds.count(None) == len(grounds):
            return None, None
        return encode_lines(grounds), b"\n".join(standings)

    def _stood(self, standing: Mapping[str, Any]) -> bytes:
        if not standing:
            return NULL
        known = self._standings.get(id(standing))
        if known is None:
            if len(self._standings) >= STANDINGS:
                del self._standings[next(iter(self._standings))]
            known = self._standings[id(standing)] = standing, encode(standing)
        return known[1]

    def _lose(self, segments: Iterable[Segment]) -> None:
        for segment in segments:
            self.lost += len(segment.rows)
            self.unkept.add(segment)

    # --- the thread ---

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="kuro-calls", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        writer = _Writer()
        while True:
            if self._wake.wait(PRUNES):
                self._hurry.wait(GATHER)
            with self._changed:
                self._wake.clear()
                kept, self._waiting = self._waiting, []
                calls, self._calls, self._size = self._calls, 0, 0
                scores, self._scores = self._scores, []
                ending = self._ending
            done = writer.put(kept, scores, self._policy, self._wall())
            with self._changed:
                if not done:
                    self._lose(kept)
                self._unwritten -= calls + len(scores)
                if not self._unwritten:
                    self._hurry.clear()
                self._changed.notify_all()
            if ending:
                writer.close()
                return


NULL = b"null"


def _size(segment: Segment) -> int:
    """What it takes while it waits; of its rows, which are short, no account is taken."""
    size = len(segment.records) + len(segment.grounds or b"") + len(segment.standings or b"")
    return size if segment.prompts is None else size + sum(map(getsizeof, segment.prompts))


class _Writer:
    """The thread's part: opens the database when there is something to write, and again after a failure."""

    def __init__(self) -> None:
        self._archive: Archive | None = None
        self._redact = redaction(())
        self._patterns: tuple[str, ...] = ()
        self._refused = False
        self._failures = 0
        self._pruned = 0.0

    def put(self, kept: list[Segment], scores: list[Score], policy: CallsPolicy, now: float) -> bool:
        """Writes; whether the calls were kept."""
        if self._refused or policy.file is None:
            return False
        try:
            archive = self._opened(Path(policy.file))
            if kept:
                archive.add([self._redacted(segment, policy) for segment in kept])
            for score in scores:
                archive.score(*score)
            self._failures = 0
        except RefusedError as error:
            self._refused = True
            logger.error("calls are not kept: %s", error)
        except ArchiveError as error:
            self._fail(error)
        else:
            self._prune(archive, policy, now)
            return True
        return False

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()
            self._archive = None

    def _opened(self, path: Path) -> Archive:
        """The database; a new one where somebody has moved or removed it."""
        if self._archive is not None and not self._archive.stands():
            self.close()
        if self._archive is None:
            self._archive = Archive(path)
        return self._archive

    def _redacted(self, segment: Segment, policy: CallsPolicy) -> Segment:
        if segment.prompts is None:
            return segment
        return segment._replace(prompts=[self._without(prompt, policy) for prompt in segment.prompts])

    def _without(self, prompt: str | None, policy: CallsPolicy) -> str | None:
        """What may be kept of a prompt."""
        if prompt is None:
            return None
        if policy.redact != self._patterns:
            self._redact, self._patterns = redaction(policy.redact), policy.redact
        text = self._redact(prompt)
        if len(prompt) >= policy.prompt_chars + PROMPT_MARGIN:
            # It was cut, perhaps within a secret that is too short now to be found: its end goes, as far
            # as nothing was found in it.
            text = text[: max(len(text) - PROMPT_MARGIN, text.rfind(REDACTED) + len(REDACTED))]
        return text[: policy.prompt_chars]

    def _fail(self, error: Exception) -> None:
        self.close()
        self._failures += 1
        # The first, and then ever more rarely: the disk may be full of log lines already.
        if self._failures & (self._failures - 1) == 0:
            logger.error("calls could not be kept (%d times by now): %s", self._failures, error)

    def _prune(self, archive: Archive, policy: CallsPolicy, now: float) -> None:
        """A step at a time, so that other processes may write in between."""
        if now - self._pruned < PRUNES:
            return
        try:
            if not archive.prune(now - policy.max_age, policy.max_bytes):
                self._pruned = now
        except ArchiveError as error:
            self._fail(error)
