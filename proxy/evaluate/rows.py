"""Reads what is evaluated: JSON Lines of labelled asks, or of asks with the graded outcome of each model.

    --intents    {"prompt" | "messages", "gold_intent", "also_ok": [], "lang", "source", "id"}
    --outcomes   {"prompt" | "messages", "q": {model: 0..1}, "cost": {model: USD}, "group", "id"}

Whatever else stands in a row (`tools`, `max_tokens`, ...) is part of the request. A file with bad rows is
refused with all of them told: a scorecard that leaves rows out measures something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from proxy.errors import ConfigError

TOLD = 20
"""Bad rows that are named; of the others only how many there are."""

USUAL = {
    "chat": "casual_chat",
    "code": "code_generation",
    "coding": "code_generation",
    "reasoning": "complex_reasoning",
    "summarization": "long_context_summary",
    "summary": "long_context_summary",
    "qa": "factual_qa",
}
"""What public sets call intents of ours; for labels that the configuration doesn't know."""


class Labelled(Struct, frozen=True):
    """An ask and the intent that people gave it."""

    gold_intent: str
    also_ok: tuple[str, ...] = ()
    """Other intents that are right, too."""
    lang: str = "?"
    source: str = "?"
    body: dict[str, Any] = {}
    """The request."""


class Graded(Struct, frozen=True):
    """An ask and what several models made of it."""

    q: dict[str, Annotated[float, Meta(ge=0, le=1)]]
    """Model -> quality of its answer, 0..1."""
    cost: dict[str, Annotated[float, Meta(ge=0)]]
    """Model -> USD for the whole call."""
    group: str = "?"
    body: dict[str, Any] = {}


Row = TypeVar("Row", Labelled, Graded)


def labelled(lines: Iterable[bytes], source: str, intents: Iterable[str]) -> list[Labelled]:
    """Raises ConfigError with the bad rows, and with labels that are no intents."""
    known = set(intents)

    def read(row: dict[str, Any]) -> Labelled:
        found = _converted(row, Labelled)
        gold, *others = [_intent(name, known) for name in (found.gold_intent, *found.also_ok)]
        if gold not in known:
            raise ValueError(f"gold_intent: {gold!r} is none of {', '.join(sorted(known))}")
        return msgspec.structs.replace(found, gold_intent=gold, also_ok=tuple(others))

    return _rows(lines, source, read)


def graded(lines: Iterable[bytes], source: str) -> list[Graded]:
    """Raises ConfigError with the bad rows, and where not all rows have the same models."""
    models: set[str] = set()

    def read(row: dict[str, Any]) -> Graded:
        found = _converted(row, Graded)
        models.update(() if models else found.q)
        if len(models) < 2:
            raise ValueError("q: expected two models or more")
        for name, column in (("q", found.q), ("cost", found.cost)):
            if odd := models.symmetric_difference(column):
                raise ValueError(f"{name}: expected the models of the first row, {sorted(odd)[0]!r} differs")
        return found

    return _rows(lines, source, read)


def _rows(lines: Iterable[bytes], source: str, read: Callable[[dict[str, Any]], Row]) -> list[Row]:
    rows: list[Row] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            rows.append(read(_decode(line)))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            problems.append(f"{source}: line {number}: {error}")
    if len(problems) > TOLD:
        problems[TOLD:] = [f"{source}: {len(problems) - TOLD} more rows are bad"]
    if not rows and not problems:
        problems.append(f"{source}: holds no row")
    if problems:
        raise ConfigError(problems)
    return rows


def _converted(row: dict[str, Any], type: type[Row]) -> Row:
    if not isinstance(row.get("prompt"), str) and not isinstance(row.get("messages"), list):
        raise ValueError("expected `prompt` (a string) or `messages` (a list)")
    told = {"id", *(known.name for known in msgspec.structs.fields(type))}
    body = {name: value for name, value in row.items() if name not in told}
    labels = {name: value for name, value in row.items() if name in told and name != "body"}
    return msgspec.convert({**labels, "body": body}, type)


def _intent(name: str, known: set[str]) -> str:
    return name if name in known else USUAL.get(name, name)


_decode = msgspec.json.Decoder(dict[str, Any]).decode
