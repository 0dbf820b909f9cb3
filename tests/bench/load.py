"""The load: raw HTTP/1.1 keep-alive clients in one process, a closed loop, every answer checked.

    python -m tests.bench.load --port 8080 --connections 32 --requests 4000 [--events 100 --rate 20]

Prints one JSON object: requests, errors, events, seconds, p50_ms, p99_ms and, for streams, gap_ms: the
longest wait between two reads of one stream.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections.abc import Iterator

import httptools
import msgspec
import uvloop

from tests.bench.prompts import bodies
from tests.bench.upstream import ANSWER, marker

PATIENCE = 60.0
"""Seconds beyond the streams' own length, then a run is given up."""
_EXPECTED = ANSWER.strip().encode()
_EVENT = b'"content":" '
"""Every word of a stream begins with a space, the empty one of the first event doesn't."""
_RAMP = 100
"""Connections that are opened at once."""


class Plan(msgspec.Struct, frozen=True):
    """One run. `events` 0 is a plain chat; otherwise streams of so many events at `rate` bursts a second.

    `pace` is requests a second over all connections, whoever answers how fast; 0 asks as soon as answered.
    """

    port: int
    connections: int = 32
    requests: int = 1000
    path: str = "/v1/chat/completions"
    key: str = "sk-bench"
    head: str = ""
    """Header lines more, each ended by CR LF."""
    model: str = "auto"
    events: int = 0
    rate: int = 0
    burst: int = 1
    pace: int = 0
    ramp: int = 0
    """Connections opened a second; 0: as fast as they can be."""


class Report(msgspec.Struct):
    """What came of it."""

    requests: int = 0
    errors: int = 0
    events: int = 0
    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    gap_ms: float = 0.0
    first_error: str = ""


class Run:
    """Hands out bodies and collects what the clients saw."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.report = Report()
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._due = time.perf_counter()
        self._left = plan.requests
        self._open = plan.connections
        text = marker(plan.events, plan.rate, plan.burst) if plan.events else ""
        self._bodies: Iterator[bytes] = bodies(
            plan.model, stream=bool(plan.events), marker=text, salt=time.time_ns()
        )
        self._head = (
            f"POST {plan.path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"accept: application/json\r\nauthorization: Bearer {plan.key}\r\n{plan.head}content-length: "
        ).encode()

    def next(self) -> bytes | None:
        """The next request, None when there were enough."""
        if not self._left:
            return None
        self._left -= 1
        body = next(self._bodies)
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)

    def wait(self) -> float:
        """Seconds until the next request is due."""
        if not self.plan.pace:
            return 0.0
        self._due += 1 / self.plan.pace
        return self._due - time.perf_counter()

    def answered(self, latency: float, status: int, body: bytes) -> None:
        self.report.requests += 1
        self.latencies.append(latency)
        problem = self._problem(status, body)
        if problem:
            self.fail(problem)

    def _problem(self, status: int, body: bytes) -> str:
        if status != 200:
            return f"status {status}: {body[:300]!r}"
        if not self.plan.events:
            return "" if _EXPECTED in body else f"not the answer: {body[:300]!r}"
        events = body.count(_EVENT) or body.count(_EVENT.replace(b'":"', b'": "'))
        self.report.events += events
        whole = events == self.plan.events and body.rstrip().endswith(b"data: [DONE]")
        return "" if whole else f"{events} of {self.plan.events} events, ends with {body[-200:]!r}"

    def fail(self, problem: str) -> None:
        self.report.errors += 1
        self.report.first_error = self.report.first_error or problem

    def closed(self) -> None:
        self._open -= 1
        if not self._open and not self.done.done():
            self.done.set_result(None)


class Client(asyncio.Protocol):
    """One connection that asks, reads the whole answer, and asks again."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._busy = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._later()

    def _later(self) -> None:
        wait = self._run.wait()
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self._ask)
        else:
            self._ask()

    def _ask(self) -> None:
        request = self._run.next()
        if request is None:
            self._transport.close()
            return
        self._busy = True
        self._parts: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self._began = self._last = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self._parts:
            self._run.report.gap_ms = max(self._run.report.gap_ms, (now - self._last) * 1000)
        self._last = now
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._run.fail(f"not HTTP: {error}")
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self._busy = False
        status = self._parser.get_status_code()
        self._run.answered(time.perf_counter() - self._began, status, b"".join(self._parts))
        if self._parser.should_keep_alive():
            self._later()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._busy:
            self._run.fail(f"the connection was lost: {exc}")
        self._run.closed()


async def run(plan: Plan) -> Report:
    """The whole run; raises TimeoutError when it takes far longer than it should."""
    going = Run(plan)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    async with asyncio.timeout(_bound(plan)):
        group = max(plan.ramp // 50, 1) if plan.ramp else _RAMP
        for start in range(0, plan.connections, group):
            count = min(group, plan.connections - start)
            opening = [
                loop.create_connection(lambda: Client(going), "127.0.0.1", plan.port) for _ in range(count)
            ]
            await asyncio.gather(*opening)
            if plan.ramp:
                await asyncio.sleep(count / plan.ramp)
        await going.done
    report = going.report
    report.seconds = time.perf_counter() - began
    ordered = sorted(going.latencies) or [0.0]
    report.p50_ms = ordered[len(ordered) // 2] * 1000
    report.p99_ms = ordered[int(len(ordered) * 0.99)] * 1000
    return report


def _bound(plan: Plan) -> float:
    streams = -(-plan.requests // plan.connections)
    bursts = -(-plan.events // plan.burst)
    if plan.pace:
        return PATIENCE + plan.requests / plan.pace
    return PATIENCE + (streams * bursts / plan.rate if plan.rate else plan.requests * 0.03)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description=__doc__)
    for name, default in zip(Plan.__struct_fields__, (None, *Plan.__struct_defaults__), strict=True):
        parser.add_argument(f"--{name}", type=type(default) if default is not None else int, default=default)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(msgspec.to_builtins(uvloop.run(run(Plan(**vars(parser.parse_args())))))))


if __name__ == "__main__":
    main()
