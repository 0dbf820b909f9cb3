"""The stub upstream in a process of its own; every tenth answer is a fault.

python -m tests.soak.upstream --faults 0.1 --seed 1     prints its port, then, for each line that it
                                                        is given, how it stands; ends with its input
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import uvloop

from tests.bench.contenders import ROOT
from tests.stub import (
    STORY,
    Behaviour,
    End,
    Received,
    Reply,
    StubUpstream,
    Tool,
    bad_json_event,
    close_before_headers,
    cut_after,
    error_in_200,
    fail,
    hang,
    headers_then_silence,
    html,
    no_done,
    ok,
    prefill,
    reset_before_headers,
)

JUDGE, STOCK = "judge", "stock"
"""The model that is asked for the intent; and the one that is called through httpx."""
_TOOLS = [Tool("weather", '{"city": "Berlin", "unit": "celsius"}')]

FAULTS: dict[str, Behaviour] = {
    "500": fail(500),
    "503": fail(503),
    "503, Retry-After 1": fail(503, retry_after=1),
    "429": fail(429),
    "429, Retry-After 1": fail(429, retry_after=1),
    "reset": reset_before_headers(),
    "closed": close_before_headers(),
    "silence": hang(),
    "silent after the head": headers_then_silence(),
    "silent in the middle": headers_then_silence(12, prefill()),
    "cut in the middle": cut_after(30, prefill()),
    "reset in the middle": cut_after(20, prefill(), end=End.RST),
    "an event that is no JSON": bad_json_event(5, prefill()),
    "an error in a 200": error_in_200(500, after=0),
    "an error in the middle": error_in_200(500, after=10, base=prefill()),
    "a page": html(),
    "no [DONE]": no_done(prefill()),
}
"""Name -> what happens; all are as likely."""


class Faulty:
    """What the stub does with a request: mostly a good answer, sometimes a fault."""

    def __init__(self, share: float, random: Random) -> None:
        self._share = share
        self._random = random
        self.faults = Counter[str]()

    def __call__(self, received: Received) -> Reply:
        """Asks for connections to be given up soon after their last use, or at once.

        httpx lets an idle one go only when it is asked for another, so that the last would stay.
        """
        reply = self._behaviour(received)(received)
        wish = ("connection", "close") if received.model == STOCK else ("keep-alive", "timeout=5")
        return replace(reply, headers=(*reply.headers, wish))

    def _behaviour(self, received: Received) -> Behaviour:
        random = self._random
        if received.model == JUDGE:
            return ok('{"intent": "casual_chat"}')
        if random.random() < self._share:
            name = random.choice([*FAULTS])
            self.faults[name] += 1
            return FAULTS[name]
        delay = random.uniform(0, 0.05)
        if received.json.get("tools"):
            return ok(tools=_TOOLS, delay=delay)
        return prefill(STORY, delay=delay, pace=random.choice((0.0, 0.0, 0.002, 0.005)))


class Upstream:
    """The process, and what it says of itself; an async context manager."""

    def __init__(self, faults: float, seed: int) -> None:
        self._command = ["-m", "tests.soak.upstream", "--faults", str(faults), "--seed", str(seed)]
        self._process: Process
        self.port = 0

    async def __aenter__(self) -> Upstream:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self._command, cwd=ROOT, stdin=PIPE, stdout=PIPE
        )
        self.port = int(await self._line())
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def state(self) -> dict[str, Any]:
        """`open` connections now, `accepted` and `requests` in all, `faults` by name."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        found: dict[str, Any] = json.loads(await self._line())
        return found

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            return await self._process.stdout.readline()


async def serve(faults: float, seed: int) -> None:
    behaviour = Faulty(faults, Random(seed))
    requests = 0

    def forget(received: Received) -> None:
        nonlocal requests
        requests += 1
        stub.requests.clear()

    async with StubUpstream(on_request=forget) as stub:
        stub.default = behaviour
        print(stub.port, flush=True)
        asked = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
        while await asked.readline():
            state = {"open": stub.open_connections, "accepted": stub.connections, "requests": requests}
            print(json.dumps({**state, "faults": behaviour.faults}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.upstream", description=__doc__)
    parser.add_argument("--faults", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    uvloop.run(serve(options.faults, options.seed))


if __name__ == "__main__":
    main()
