"""A stream whose first model is late for once: a second is asked, and the first token wins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.e2e.conftest import ADMIN
from tests.e2e.kuro import Kuro, in_background, model, write_config
from tests.stub import STORY, Behaviour, Gate, StubUpstream, cut_after, fail, gated, hang, ok

HELLO: Any = [{"role": "user", "content": "Hello"}]
SEEN = 5
_names = count()


@pytest.fixture(scope="module")
def hedging(stub: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kuro]:
    """Hedges every call whose model has begun `SEEN` streams before; each test has models of its own."""
    models = [model(f"late-{n}", fallback=[f"spare-{n}"]) for n in range(8)]
    config = write_config(
        tmp_path_factory.mktemp("hedging"),
        stub.url,
        [
            *models,
            *(model(f"spare-{n}", price={"input": 10, "output": 20}) for n in range(8)),
            model("broken", fallback=["next", "last"]),
            model("next", fallback=["last"]),
            model("last"),
        ],
        proxy={
            "admin_key": ADMIN,
            "hedging": {"enabled": True, "share": 1, "min_delay": 0.05, "min_answers": SEEN - 0.5},
            "retries": {"base_delay": 0.001, "budget_floor": 100},
        },
    )
    with Kuro(config) as proxy:
        yield proxy


class Pair:
    """A model that was quick so far, and its spare."""

    def __init__(self, kuro: Kuro, stub: StubUpstream) -> None:
        number = next(_names)
        self.kuro = kuro
        self.stub = stub
        self.late, self.spare = f"late-{number}", f"spare-{number}"
        stub.script(self.late, ok())
        for _ in range(SEEN):
            assert self.stream() == (self.late, f"Hello from {self.late}.")

    def script(self, late: Behaviour, spare: Behaviour) -> None:
        self.stub.script(self.late, late)
        self.stub.script(self.spare, spare)

    def ask(self, **fields: Any) -> Any:
        return {"model": self.late, "messages": HELLO, **fields}

    def stream(self) -> tuple[str, str]:
        """Who answered, and what."""
        status, headers, body = self.kuro.chat(self.ask(stream=True))
        assert status == 200, body
        assert body.endswith(b"data: [DONE]\n\n")
        self.request_id = headers["x-request-id"]
        chunks = [line[6:] for line in body.split(b"\n") if line.startswith(b'data: {"')]
        said = [c["delta"].get("content") or "" for chunk in chunks for c in json.loads(chunk)["choices"]]
        return headers["x-kuro-model"], "".join(said)

    def attempts(self) -> list[tuple[str, str, bool]]:
        self.record = self.kuro.record(self.request_id)
        return [(a["model"], a["outcome"], a["hedge"]) for a in self.record["attempts"]]

    def hits(self) -> tuple[int, int]:
        return self.stub.hits(self.late) - SEEN, self.stub.hits(self.spare)


@pytest.fixture
def pair(hedging: Kuro, stub: StubUpstream) -> Pair:
    return Pair(hedging, stub)


def test_the_second_answers_for_one_that_is_late(pair: Pair) -> None:
    pair.script(hang(), ok())
    assert pair.stream() == (pair.spare, f"Hello from {pair.spare}.")
    assert pair.attempts() == [(pair.late, "cancelled", False), (pair.spare, "ok", True)]
    record = pair.record
    assert (record["selected_model"], record["fallback_used"], record["outcome"]) == (pair.spare, True, "ok")
    # The one that was stopped had read the prompt: that is paid for, and booked as wasted.
    stopped, answered = record["attempts"]
    assert stopped["usage"]["completion"] == 0
    assert stopped["cost_usd"] == pytest.approx(stopped["usage"]["prompt"] / 1e6)
    assert record["wasted_usd"] == stopped["cost_usd"]
    assert record["cost_usd"] == answered["cost_usd"]
    # Time that two spent side by side counts once.
    assert 0 <= record["overhead_ms"] < record["latency_ms"]
    # And its upstream is let go: nothing is held against it.
    assert pair.kuro.circuit(pair.late)["state"] == "closed"


def test_the_late_one_may_still_be_first(pair: Pair) -> None:
    gate, never = Gate(), Gate()
    pair.script(gated(gate), gated(never))

    def release() -> None:
        never.block(1)  # the second has been asked
        gate.release()

    with in_background(release):
        assert pair.stream() == (pair.late, f"Hello from {pair.late}.")
    assert pair.attempts() == [(pair.late, "ok", False), (pair.spare, "cancelled", True)]
    assert not pair.record["fallback_used"]
    assert pair.record["wasted_usd"] > 0
    never.release()


def test_a_second_that_fails_leaves_the_late_one_to_answer(pair: Pair) -> None:
    gate = Gate()
    spare_failed = Gate()
    pair.script(gated(gate), gated(spare_failed, fail(500)))

    def release() -> None:
        spare_failed.block(1)
        spare_failed.release()
        assert any(pair.kuro.circuit(pair.spare)["failures"] for _ in range(10_000))  # as soon as it is known
        gate.release()

    with in_background(release):
        assert pair.stream() == (pair.late, f"Hello from {pair.late}.")
    assert pair.attempts() == [(pair.late, "ok", False), (pair.spare, "failed", True)]
    assert pair.record["wasted_usd"] == 0


def test_when_both_fail_the_first_is_asked_again(pair: Pair) -> None:
    gate = Gate()
    pair.stub.script(pair.late, gated(gate, fail(500)), ok())
    pair.stub.script(pair.spare, gated(gate, fail(503)))

    def release() -> None:
        gate.block(2)
        gate.release()

    with in_background(release):
        assert pair.stream() == (pair.late, f"Hello from {pair.late}.")
    assert pair.attempts() == [
        (pair.late, "failed", False),
        (pair.spare, "failed", True),
        (pair.late, "ok", False),
    ]


def test_a_whole_reply_is_not_hedged(pair: Pair) -> None:
    pair.script(ok(delay=0.4), ok())
    status, headers, _ = pair.kuro.chat(pair.ask())
    assert (status, headers["x-kuro-model"]) == (200, pair.late)
    assert pair.hits() == (1, 0)


def test_who_is_in_time_is_not_hedged(pair: Pair) -> None:
    pair.script(ok(), ok())
    assert pair.stream()[0] == pair.late
    assert pair.hits() == (1, 0)


def test_a_caller_that_leaves_ends_both(pair: Pair) -> None:
    late, spare = Gate(), Gate()
    pair.script(gated(late), gated(spare))
    connection = pair.kuro.connect()
    connection.request(
        "POST",
        "/v1/chat/completions",
        json.dumps(pair.ask(stream=True)),
        {"content-type": "application/json", "x-request-id": "left-both"},
    )
    late.block(1)
    spare.block(1)
    connection.close()
    record = pair.kuro.record("left-both")
    assert record["outcome"] == "caller_left"
    assert [a["outcome"] for a in record["attempts"]] == ["cancelled", "cancelled"]
    late.release()
    spare.release()
    assert pair.kuro.circuit(pair.late)["state"] == "closed"
    assert pair.kuro.circuit(pair.spare)["state"] == "closed"


def test_what_continues_a_broken_stream_is_not_hedged(hedging: Kuro, stub: StubUpstream) -> None:
    def tell(name: str) -> bytes:
        status, _, body = hedging.chat({"model": name, "stream": True, "messages": HELLO})
        assert status == 200
        return bytes(body)

    stub.script("next", ok())
    for _ in range(SEEN):
        tell("next")
    stub.script("broken", cut_after(11, ok(STORY)))
    stub.script("next", ok(STORY, first_delay=0.4))
    assert tell("broken").endswith(b"data: [DONE]\n\n")
    assert (stub.hits("next"), stub.hits("last")) == (SEEN + 1, 0)
