"""The books: what each caller heard beside what was recorded of its call. Both are forgotten once they agree.

heard(id) --+-- both there --> agree?   a disagreement is kept, with both sides
record(id) -+-- one only ----> waits; whatever still waits at the end is unaccounted for
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from tests.soak.mix import Ask, Leave

KEPT = 20
"""Problems that are told; more are only counted."""


@dataclass(frozen=True)
class Heard:
    """What one caller saw of its call."""

    ask: Ask
    status: int = 0
    """0: no head came, or it was not read."""
    code: str | None = None
    """An error's, whole or as a stream's last event."""
    model: str | None = None
    whole: bool = False
    """The answer came to its proper end."""
    done: bool = False
    """It ended with `[DONE]`, or was a whole reply."""
    excused: bool = False
    """The end of the process had been announced: nothing need have come."""


class Attempt(msgspec.Struct):
    outcome: str
    failure: str | None = None


class Line(msgspec.Struct):
    """What is read of a log line: a call's record, or a message."""

    event: str = ""
    level: str = ""
    message: str = ""
    traceback: str | None = None
    request_id: str = ""
    outcome: str = ""
    status: int = 0
    error_code: str | None = None
    selected_model: str | None = None
    fallback_used: bool = False
    stream: bool = False
    attempts: list[Attempt] = []


@dataclass
class Accounts:
    """All calls of one soak."""

    asked: int = 0
    """Calls whose head was sent."""
    recorded: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    """Log messages by level, calls' records apart."""
    reloaded: int = 0
    """Reloads that changed something."""
    fallbacks: int = 0
    splices: int = 0
    excused: int = 0
    twice: int = 0
    disagreements: int = 0
    problems: list[str] = field(default_factory=list)
    _heard: dict[str, Heard] = field(default_factory=dict)
    _lines: dict[str, Line] = field(default_factory=dict)
    _settled: set[str] = field(default_factory=set)

    @property
    def unrecorded(self) -> int:
        """Calls without a record, so far."""
        return sum(not heard.excused for heard in self._heard.values())

    @property
    def unasked(self) -> int:
        """Records without a call, so far."""
        return len(self._lines)

    def hear(self, heard: Heard) -> None:
        """A caller has had its answer, or left."""
        name = heard.ask.id
        self.asked += 1
        line = self._lines.pop(name, None)
        if line is None:
            self._heard[name] = heard
        else:
            self._settle(heard, line)

    def read(self, text: bytes) -> None:
        """A line of the log."""
        line = _decode(text)
        if line.event != "call":
            self._tell(line)
            return
        self.recorded += 1
        self.outcomes[line.outcome] += 1
        self.fallbacks += line.fallback_used
        self.failures.update(attempt.failure for attempt in line.attempts if attempt.failure)
        self.splices += any(attempt.outcome == "cut" for attempt in line.attempts) and line.outcome == "ok"
        name = line.request_id
        if name in self._settled or name in self._lines:
            self.twice += 1
            self._note(f"recorded twice: {text!r}")
            return
        heard = self._heard.pop(name, None)
        if heard is None:
            self._lines[name] = line
        else:
            self._settle(heard, line)

    def close(self) -> None:
        """No more comes: notes who is left."""
        self.excused = len(self._heard) - self.unrecorded
        for heard in self._heard.values():
            if not heard.excused:
                self._note(f"no record: {_shown(heard)}")
        for line in self._lines.values():
            self._note(f"nobody asked: {line}")

    def _settle(self, heard: Heard, line: Line) -> None:
        self._settled.add(line.request_id)
        problem = disagreement(heard, line)
        if problem is not None:
            self.disagreements += 1
            self._note(f"{problem}: {_shown(heard)} beside {line}")

    def _tell(self, line: Line) -> None:
        self.told[line.level] += 1
        self.reloaded += line.event == "reload" and line.message.startswith("configuration changed")
        if line.level in ("error", "critical") or line.traceback:
            self._note(f"logged: {line.message} {line.traceback or ''}")

    def _note(self, problem: str) -> None:
        if len(self.problems) < KEPT:
            self.problems.append(problem)


def disagreement(heard: Heard, line: Line) -> str | None:
    """What the two sides differ in; None when they tell the same."""
    if heard.ask.leave is not Leave.NEVER:
        return _of_leaver(heard, line)
    if heard.excused and not heard.status:
        return None
    if not heard.whole:
        return "no whole answer"
    if heard.ask.statuses and heard.status not in heard.ask.statuses and heard.code != STOPPING:
        return "the wrong status"
    if line.status != heard.status:
        return "another status"
    if line.error_code != heard.code:
        return "another error"
    if line.outcome not in _wanted(heard):
        return "another outcome"
    if heard.status == 200 and not heard.ask.stream and heard.model != line.selected_model:
        return "another model"
    return None


STOPPING = "proxy_stopping"


def _wanted(heard: Heard) -> tuple[str, ...]:
    if heard.status != 200:
        return ("refused", "error")
    return ("ok",) if heard.done else ("aborted",)


def _of_leaver(heard: Heard, line: Line) -> str | None:
    """Who leaves may have had the whole answer all the same: in the kernel, unread."""
    if heard.ask.leave is Leave.SENDING and (line.outcome, line.status) != ("caller_left", 499):
        return None if line.error_code == STOPPING else "it left before its body was sent"
    if line.outcome == "caller_left" and line.status != 499:
        return "left, and not 499"
    if heard.status and line.status not in (heard.status, 499):
        return "another status"
    return None


def _shown(heard: Heard) -> str:
    ask = heard.ask
    seen = f"{heard.status} {heard.code}, model {heard.model}, whole {heard.whole}, done {heard.done}"
    return f"{ask.id} ({ask.kind}, stream {ask.stream}, leaves {ask.leave}, {len(ask.body)} bytes): {seen}"


_decode = msgspec.json.Decoder(Line).decode
