"""The proxy's process stands still for longer than anybody may be silent: nobody is blamed for that."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.e2e.kuro import ADMIN, Kuro, model, running, write_config
from tests.e2e.wire import Wire
from tests.stub import StubUpstream, gated, ok

LIMIT = 1.5
"""Seconds of silence that anybody is allowed, upstream or caller ..."""
STANDSTILL = 3.0
"""... and of the standstill."""
PLACES = {"amid a stream": 3, "before its first token": 1, "before its head": -1}
"""Where each upstream is when it happens: the event that it doesn't get to send."""


def stand_still(kuro: Kuro) -> None:
    """Stopped, and on its feet again: whatever was due in the meantime has been looked at."""
    os.kill(kuro.process.pid, signal.SIGSTOP)
    time.sleep(STANDSTILL)
    os.kill(kuro.process.pid, signal.SIGCONT)
    assert kuro.request("GET", "/healthz")[0] == 200


def test_a_standstill_is_nobodys_silence(stub: StubUpstream, tmp_path: Path) -> None:
    timeouts = {"connect": LIMIT, "first_token": LIMIT, "idle": LIMIT, "total": 60}
    names = [f"model-{at}" for at in PLACES.values()]
    config = write_config(
        tmp_path,
        stub.url,
        [model(name, timeouts=timeouts) for name in (*names, "queued")],
        proxy={
            "admin_key": ADMIN,
            "limits": {"head_timeout": LIMIT, "max_in_flight": len(names), "queue_timeout": LIMIT},
        },
    )

    def call(name: str) -> tuple[int, Any]:
        body = {"model": name, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        status, _, answer = kuro.chat(body)
        return status, answer

    with running(config) as kuro, Wire(kuro.port) as slow, ThreadPoolExecutor(len(names) + 1) as callers:
        gates = {name: stub.gate(name) for name in names}
        for name, at in zip(names, PLACES.values(), strict=True):
            stub.script(name, gated(gates[name], ok("All is well."), at=at))
        answers = {name: callers.submit(call, name) for name in names}
        for gate in gates.values():
            gate.block(1)
        slow.send(b"GET /healthz HTTP/1.1\r\nhost: ")
        queued = callers.submit(call, "queued")
        while kuro.request("GET", "/metrics")[2].find(b"\nllm_queue_waiting 1") < 0:
            pass
        stand_still(kuro)
        for gate in gates.values():
            gate.release()
        for at, name in zip(PLACES, names, strict=True):
            status, answer = answers[name].result()
            assert (status, answer.endswith(b"data: [DONE]\n\n")) == (200, True), at
            assert kuro.circuit(name)["failures"] == 0, at
        assert queued.result()[0] == 200, "waited for a place"
        assert slow.send(b"kuro\r\n\r\n").answer().status == 200, "amid a head"
