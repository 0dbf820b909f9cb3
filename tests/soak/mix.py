"""What callers ask, and when they leave: an endless, seeded mixture, 40 % streams, 20 % of all leave."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

from tests.bench.prompts import PROMPTS, texts
from tests.soak.house import EXTRA, KEYS, NAMES

STREAMS, LEAVERS = 0.4, 0.2
"""Shares of the asks."""
SESSIONS = 100
"""Conversations that are gone on with; half of all asks begin another."""


class Leave(StrEnum):
    """When a caller leaves."""

    NEVER = "never"
    SENDING = "in the middle of its body"
    WAITING = "without having read anything"
    READING = "in the middle of the answer"


@dataclass(frozen=True)
class Ask:
    """One request and how its caller behaves."""

    id: str
    head: dict[str, str]
    body: bytes
    kind: str
    stream: bool = False
    statuses: tuple[int, ...] = ()
    """One of these must come; empty: any that the record agrees with."""
    leave: Leave = Leave.NEVER
    patience: float = 0.0
    """Seconds until it leaves, where it waits; bytes of the answer, where it reads."""
    abruptly: bool = False
    """It leaves by a reset."""
    fresh: bool = False
    """On a connection of its own."""


Fields = dict[str, Any]


class Mix:
    """Makes asks. The same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._seed = seed
        self._texts: Iterator[str] = texts(seed << 32)
        self._sessions: deque[str] = deque(["s-first"], SESSIONS)
        self._number = 0

    def next(self) -> Ask:
        """The next ask."""
        random, self._number = self._random, self._number + 1
        name = f"soak-{self._seed}-{self._number}"
        head = {"content-type": "application/json", "x-request-id": name, "x-session-id": self._session()}
        head["authorization"] = f"Bearer {random.choice(KEYS)}"
        fresh = random.random() < 0.25
        if random.random() < 0.06:
            kind, (statuses, body, more) = "bad", random.choice(BAD)(self)
            return Ask(name, head | more, body, kind, statuses=statuses, fresh=fresh)
        kind = random.choices(_NAMES, _WEIGHTS)[0]
        fields = {"model": "auto", "temperature": 0.7, **KINDS[kind][1](self)}
        if stream := random.random() < STREAMS:
            fields |= {"stream": True}
            if random.random() < 0.5:
                fields |= {"stream_options": {"include_usage": True}}
        head |= random.choices(_EXTRAS, (90, 5, 5))[0]
        leave, patience = self._leave()
        abruptly = random.random() < 0.5
        body = json.dumps(fields).encode()
        return Ask(name, head, body, kind, stream, (), leave, patience, abruptly, fresh)

    def _session(self) -> str:
        if self._random.random() < 0.5:
            self._sessions.append(f"s-{self._number}")
        return self._random.choice(self._sessions)

    def _leave(self) -> tuple[Leave, float]:
        random = self._random
        if random.random() >= LEAVERS:
            return Leave.NEVER, 0.0
        leave = random.choice((Leave.SENDING, Leave.WAITING, Leave.READING, Leave.READING))
        return leave, random.uniform(0, 12_000) if leave is Leave.READING else random.uniform(0, 0.12)

    # --- what is said ----------------------------------------------------------------------------

    def said(self, text: str, **fields: Any) -> Fields:
        """A body's fields, for one turn."""
        return {"messages": [{"role": "user", "content": text}], **fields}

    def plain(self) -> Fields:
        """Half of these prompts come again."""
        return self.said(next(self._texts))

    def brief(self) -> Fields:
        return self.said(self._random.choice(PROMPTS))

    def profiled(self) -> Fields:
        return {**self.plain(), "model": self._random.choice(("auto:cheap", "auto:fast", "auto:best"))}

    def named(self) -> Fields:
        return {**self.plain(), "model": self._random.choice(NAMES)}

    def listed(self) -> Fields:
        return {**self.plain(), "models": self._random.sample(NAMES, 2)}

    def tools(self) -> Fields:
        return {**self.plain(), "tools": _TOOLS}

    def dialogue(self) -> Fields:
        """Some turns, each with its answer."""
        turns = []
        for _ in range(self._random.randint(2, 8)):
            turns += [
                {"role": "user", "content": next(self._texts)},
                {"role": "assistant", "content": "Well."},
            ]
        system = {"role": "system", "content": "You are brief."}
        return {"messages": [system, *turns[:-1]]}

    def long(self) -> Fields:
        return self.said(next(self._texts) + _FILLER[: self._random.randint(50_000, 150_000)])

    def huge(self) -> Fields:
        return self.said(next(self._texts) + _FILLER)

    def extra(self) -> Fields:
        """A model that is there after every other reload only."""
        return {**self.plain(), "model": EXTRA}


_FILLER = " ".join(PROMPTS)[:1000] * 1000
"""A megabyte."""
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Tells the {name} of a city, in the unit that is asked for.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "kelvin"]}},
                "required": ["city"],
            },
        },
    }
    for name in ("weather", "temperature", "humidity", "forecast")
]
_EXTRAS: tuple[dict[str, str], ...] = ({}, {"x-kuro-trace": "1"}, {"x-request-timeout": "0.5"})

KINDS: dict[str, tuple[float, Callable[[Mix], Fields]]] = {
    "plain": (40, Mix.plain),
    "brief": (10, Mix.brief),
    "profile": (10, Mix.profiled),
    "named": (15, Mix.named),
    "listed": (4, Mix.listed),
    "tools": (8, Mix.tools),
    "dialogue": (8, Mix.dialogue),
    "long": (2, Mix.long),
    "huge": (0.1, Mix.huge),
    "extra": (1, Mix.extra),
}
"""Name -> weight, and what makes the fields."""
_NAMES, _WEIGHTS = [*KINDS], [weight for weight, _ in KINDS.values()]

Bad = tuple[tuple[int, ...], bytes, dict[str, str]]


def _wrong_key(mix: Mix) -> Bad:
    return (401,), json.dumps({"model": "auto", **mix.brief()}).encode(), {"authorization": "Bearer sk-wrong"}


def _unknown_model(mix: Mix) -> Bad:
    return (404,), json.dumps({**mix.brief(), "model": f"no-such-{mix.next}"[:40]}).encode(), {}


def _no_json(mix: Mix) -> Bad:
    return (400,), b'{"model": "auto", "messages": [', {}


def _no_messages(mix: Mix) -> Bad:
    return (400,), b'{"model": "auto", "messages": []}', {}


def _wrong_type(mix: Mix) -> Bad:
    return (415,), json.dumps({"model": "auto", **mix.brief()}).encode(), {"content-type": "text/plain"}


def _bad_deadline(mix: Mix) -> Bad:
    return (400,), json.dumps({"model": "auto", **mix.brief()}).encode(), {"x-request-timeout": "soon"}


BAD: tuple[Callable[[Mix], Bad], ...] = (
    _wrong_key,
    _unknown_model,
    _no_json,
    _no_messages,
    _wrong_type,
    _bad_deadline,
)
