"""Many calls at once while upstreams fail: nobody makes it worse, and recovery is tried by one."""

from __future__ import annotations

import http.client
import itertools
import json
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.kuro import ADMIN, Kuro, model, write_config
from tests.stub import Behaviour, StubUpstream, fail, ok

MESSAGES = [{"role": "user", "content": "Hello there, how are you today?"}]
JSON = {"content-type": "application/json"}
CALLS, CONCURRENCY = 2_000, 50
RATIO, FLOOR = 0.2, 30
"""CONTRACT, section 4: retries are 20 % of the recent requests and 3/s, counted over ten seconds."""
NAMES = ("first", "second", "third")


@pytest.fixture
def stub() -> Iterator[StubUpstream]:
    with StubUpstream() as upstream:
        yield upstream


def config(stub: StubUpstream, directory: Any, *models: Any, **breaker: float) -> Any:
    proxy = {"admin_key": ADMIN, "breaker": breaker}
    routing = {"cache": {"size": 0}, "sticky": {"size": 0}}
    return write_config(directory, stub.url, models, proxy=proxy, routing=routing)


class Storm:
    """So many calls, so many at once, each of its callers on one connection. `answers` are its results."""

    def __init__(self, kuro: Kuro, name: str, calls: int, concurrency: int) -> None:
        self.answers: queue.SimpleQueue[tuple[int, dict[str, str]]] = queue.SimpleQueue()
        self._todo = iter(range(calls))
        self._lock = threading.Lock()
        self._body = json.dumps({"model": name, "messages": MESSAGES}).encode()
        self._threads = [threading.Thread(target=self._call, args=(kuro,)) for _ in range(concurrency)]
        for thread in self._threads:
            thread.start()

    def end(self) -> list[tuple[int, dict[str, str]]]:
        for thread in self._threads:
            thread.join()
        return [self.answers.get() for _ in range(self.answers.qsize())]

    def _call(self, kuro: Kuro) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", kuro.port, timeout=20)
        while True:
            with self._lock:
                if next(self._todo, None) is None:
                    break
            connection.request(
                "POST", "/v1/chat/completions", self._body, {"content-type": "application/json"}
            )
            response = connection.getresponse()
            response.read()
            self.answers.put((response.status, {k.lower(): v for k, v in response.getheaders()}))
        connection.close()


def test_all_upstreams_at_500_are_not_asked_more_than_there_are_calls(
    stub: StubUpstream, tmp_path: Any
) -> None:
    for name in NAMES:
        stub.script(name, fail(500))
    with Kuro(config(stub, tmp_path, *map(model, NAMES))) as kuro:
        began = time.monotonic()
        answers = Storm(kuro, "auto", CALLS, CONCURRENCY).end()
        took = time.monotonic() - began
    assert len(answers) == CALLS
    print(f"{CALLS} calls, {stub.total_hits} upstream, {took:.1f} s, {Counter(s for s, _ in answers)}")
    assert stub.total_hits <= (1 + RATIO) * CALLS + FLOOR
    assert {status for status, _ in answers} <= {502, 503}
    for status, headers in answers:
        # 502: it was tried, and trying again won't help. 503: all circuits are open, for so long.
        assert headers["x-should-retry"] == ("false" if status == 502 else "true")
        assert ("retry-after" in headers) is (status == 503)


def test_retries_keep_to_their_budget_even_where_no_circuit_helps(stub: StubUpstream, tmp_path: Any) -> None:
    stub.script("first", fail(500))
    with Kuro(config(stub, tmp_path, model("first"))) as kuro:
        kuro.admin("/models/first/circuit", {"action": "close"})  # and it stays closed
        began = time.monotonic()
        answers = Storm(kuro, "first", CALLS, CONCURRENCY).end()
        took = time.monotonic() - began
    print(f"{CALLS} calls, {stub.total_hits} upstream, {took:.1f} s")
    assert [status for status, _ in answers] == [502] * CALLS
    retries = stub.total_hits - CALLS
    assert 0 < retries <= RATIO * CALLS + FLOOR * max(took / 10.0, 1.0)
    assert {headers["x-should-retry"] for _, headers in answers} == {"false"}


@pytest.mark.parametrize("fallback", [False, True], ids=["alone", "with a fallback"])
def test_of_fifty_parallel_calls_in_half_open_exactly_one_reaches_the_upstream(
    stub: StubUpstream, tmp_path: Any, fallback: bool
) -> None:
    entry = model("first", **({"fallback": ["second"]} if fallback else {}))
    with Kuro(config(stub, tmp_path, entry, model("second"), open_for=0.3, open_cap=0.3)) as kuro:
        stub.script("first", fail(500))
        while kuro.circuit("first")["state"] != "open":
            kuro.chat({"model": "first", "messages": MESSAGES})
        gate = stub.gate("first")
        stub.script("first", ok("I am back."))
        while kuro.circuit("first")["state"] != "half_open":
            time.sleep(0.02)  # an opening ends by the clock alone
        before = stub.hits("first")
        storm = Storm(kuro, "first", 50, 50)
        gate.block(1)
        others = [storm.answers.get(timeout=10) for _ in range(49)]
        assert stub.hits("first") - before == 1
        assert kuro.circuit("first")["probing"]
        gate.release()
        [(status, headers)] = storm.end()
        assert (status, headers["x-kuro-model"]) == (200, "first")
        if fallback:
            assert {(s, h["x-kuro-model"]) for s, h in others} == {(200, "second")}
        else:
            assert {s for s, _ in others} == {503}
            assert {h["retry-after"] for _, h in others} == {"1"}
        assert kuro.circuit("first")["state"] == "half_open", "one success of two"
        kuro.chat({"model": "first", "messages": MESSAGES})
        assert kuro.circuit("first")["state"] == "closed"


def test_when_every_circuit_is_open_auto_probes_with_one_call_in_all(
    stub: StubUpstream, tmp_path: Any
) -> None:
    with Kuro(config(stub, tmp_path, *map(model, NAMES), open_for=60, open_cap=60)) as kuro:
        for name in NAMES:
            stub.script(name, fail(500))
            while kuro.circuit(name)["state"] != "open":
                kuro.chat({"model": name, "messages": MESSAGES})
        gates = [stub.gate(name) for name in NAMES]
        for name in NAMES:
            stub.script(name, ok("I am back."))
        before = {name: stub.hits(name) for name in NAMES}
        storm = Storm(kuro, "auto", 50, 50)
        others = [storm.answers.get(timeout=10) for _ in range(49)]
        assert {status for status, _ in others} == {503}
        assert all(0 < int(headers["retry-after"]) <= 66 for _, headers in others)
        for gate in gates:
            gate.release()
        [(status, headers)] = storm.end()
        probed = [name for name, was in before.items() if stub.hits(name) > was]
        assert (status, [headers["x-kuro-model"]]) == (200, probed)
        assert sum(stub.hits(name) - was for name, was in before.items()) == 1
        assert kuro.chat({"model": "auto", "messages": MESSAGES})[0] == 200, "it is the way back"


def test_a_slow_burn_costs_no_more_than_the_attempt_budget_says(stub: StubUpstream, tmp_path: Any) -> None:
    """One of three answers is a failure, which opens no circuit, at each of twelve models."""
    names, calls = [f"model-{number}" for number in range(12)], 600

    def smoulder(name: str) -> Behaviour:
        turns = itertools.count()
        return lambda received: (fail(500) if next(turns) % 3 == 0 else ok())(received)

    for name in names:
        stub.script(name, smoulder(name))
    with Kuro(config(stub, tmp_path, *map(model, names), failure_ratio=0.9)) as kuro:
        answers = Storm(kuro, "auto", calls, 20).end()
        circuits = Counter(kuro.circuit(name)["state"] for name in names)
    tried = Counter(int(headers["x-kuro-attempts"]) for _, headers in answers)
    answered = Counter(status for status, _ in answers)
    print(
        f"{calls} calls, {stub.total_hits} upstream, {answered}, attempts {sorted(tried.items())}, {circuits}"
    )
    assert max(tried) <= 5, "three models and two retries"
    assert stub.total_hits == sum(number * times for number, times in tried.items())
    assert stub.total_hits <= calls * (3 + RATIO) + FLOOR
    assert max(stub.hits(name) for name in names) <= calls * (1 + RATIO) + FLOOR, (
        "none is asked by fallbacks twice"
    )
    assert circuits == {"closed": len(names)}, "none of them helps"
    assert answered[200] > 0.9 * calls
