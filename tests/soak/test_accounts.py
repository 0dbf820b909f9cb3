"""The books notice every call that was lost, invented, doubled or told otherwise than it was heard."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.soak.accounts import Accounts, Heard
from tests.soak.mix import Ask, Leave


def ask(name: str = "a", **fields: Any) -> Ask:
    return Ask(name, {}, b"{}", "plain", **fields)


def heard(status: int = 200, *, model: str | None = "one", asked: Ask | None = None, **fields: Any) -> Heard:
    found = {"whole": True, "done": status == 200, **fields}
    return Heard(asked or ask(), status, model=model, **found)


def line(name: str = "a", outcome: str = "ok", status: int = 200, **fields: Any) -> bytes:
    record = {"event": "call", "request_id": name, "outcome": outcome, "status": status}
    return msgspec.json.encode({"selected_model": "one", "attempts": [], **record, **fields})


def books(*sides: Heard | bytes) -> Accounts:
    found = Accounts()
    for side in sides:
        found.read(side) if isinstance(side, bytes) else found.hear(side)
    found.close()
    return found


@pytest.mark.parametrize("sides", [(heard(), line()), (line(), heard())], ids=["heard first", "read first"])
def test_a_call_and_its_record_cancel_out(sides: tuple[Heard | bytes, ...]) -> None:
    found = books(*sides)
    assert (found.unrecorded, found.unasked, found.disagreements, found.problems) == (0, 0, 0, [])


def test_a_call_without_a_record_is_told() -> None:
    assert books(heard()).unrecorded == 1


def test_a_call_into_the_announced_end_needs_none() -> None:
    found = books(Heard(ask(), excused=True))
    assert (found.unrecorded, found.excused) == (0, 1)


def test_a_record_without_a_call_is_told() -> None:
    assert books(line()).unasked == 1


@pytest.mark.parametrize(
    "sides", [(line(), line()), (heard(), line(), line())], ids=["while it waits", "when it is settled"]
)
def test_a_second_record_is_told(sides: tuple[Heard | bytes, ...]) -> None:
    assert books(*sides).twice == 1


STREAM = ask(stream=True)
LEAVES = {leave: ask(leave=leave) for leave in Leave}
AGREE = {
    "a stream that ended by an error": (
        heard(asked=STREAM, done=False, code="upstream_timeout"),
        line(outcome="aborted", error_code="upstream_timeout"),
    ),
    "a refusal": (
        heard(401, code="invalid_api_key"),
        line("a", "refused", 401, error_code="invalid_api_key"),
    ),
    "one that left while waiting": (
        Heard(LEAVES[Leave.WAITING]),
        line("a", "caller_left", 499),
    ),
    "one that left with its answer unread": (Heard(LEAVES[Leave.READING], 200), line()),
}
DIFFER = {
    "cut, and recorded as good": (heard(asked=STREAM, whole=False), line()),
    "another status": (heard(429, code="x"), line("a", "error", 502, error_code="x")),
    "another error": (heard(502, code="x"), line("a", "error", 502, error_code="y")),
    "an error event, recorded as good": (heard(asked=STREAM, done=False), line()),
    "good, recorded as left": (heard(), line("a", "caller_left", 499)),
    "another model": (heard(model="two"), line()),
    "not the status that the request deserves": (heard(asked=ask(statuses=(400,))), line()),
    "left in its body, and answered": (Heard(LEAVES[Leave.SENDING]), line()),
    "left, with a status": (Heard(LEAVES[Leave.WAITING]), line("a", "caller_left", 200)),
}


@pytest.mark.parametrize("sides", AGREE.values(), ids=AGREE.keys())
def test_they_agree(sides: tuple[Heard, bytes]) -> None:
    assert books(*sides).disagreements == 0


@pytest.mark.parametrize("sides", DIFFER.values(), ids=DIFFER.keys())
def test_they_differ(sides: tuple[Heard, bytes]) -> None:
    found = books(*sides)
    assert (found.disagreements, len(found.problems)) == (1, 1)


def test_an_error_in_the_log_is_told() -> None:
    found = books(b'{"level":"error","message":"it broke","traceback":"..."}')
    assert found.told["error"] == 1
    assert "it broke" in found.problems[0]
