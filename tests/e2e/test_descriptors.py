"""More connections than there are descriptors: everybody is answered, nothing spins, nobody is blamed."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

from tests.bench.measure import cpu_seconds
from tests.e2e.kuro import PATIENCE, Kuro, model, running, write_config
from tests.e2e.raw import Heard, ask, calling
from tests.e2e.test_overload import gauge
from tests.stub import StubUpstream, ok

DESCRIPTORS = 96
"""32 in reserve, and 32 for each side."""


def hello(name: str = "one") -> dict[str, Any]:
    return {"model": name, "messages": [{"role": "user", "content": "Hello"}]}


async def storm(kuro: Kuro, number: int) -> Counter[tuple[int, str | None]]:
    """So many callers at once; how many were answered how."""
    heard: list[Heard] = await asyncio.gather(*[ask(kuro.port, hello()) for _ in range(number)])
    assert all(answer.whole for answer in heard)
    return Counter((answer.status, answer.code) for answer in heard)


async def test_a_storm_of_callers_is_answered_to_the_last(stub: StubUpstream, tmp_path: Path) -> None:
    stub.script("one", ok("Here.", delay=0.05))
    config = write_config(tmp_path, stub.url, [model("one")])
    with running(config, descriptors=DESCRIPTORS) as kuro:
        answers = await storm(kuro, 300)
        assert set(answers) == {(200, None), (503, "proxy_overloaded")}
        assert answers[200, None] >= 32
        assert await gauge(kuro, 'circuit_open_gauge{model="one",provider="stub"}') == 0
        assert await storm(kuro, 10) == {(200, None): 10}


async def test_silent_connections_do_not_lock_others_out(stub: StubUpstream, tmp_path: Path) -> None:
    stub.script("one", ok("Here."))
    config = write_config(tmp_path, stub.url, [model("one")])
    with running(config, descriptors=DESCRIPTORS) as kuro, ExitStack() as silent:
        for _ in range(100):
            silent.enter_context(socket.create_connection(("127.0.0.1", kuro.port)))
        before = cpu_seconds(kuro.process.pid)
        async with asyncio.timeout(PATIENCE):
            while (await ask(kuro.port, hello())).status != 200:
                pass
        assert cpu_seconds(kuro.process.pid) - before < 0.5


async def test_what_is_idle_towards_one_upstream_is_there_for_another(
    stub: StubUpstream, tmp_path: Path
) -> None:
    with StubUpstream() as other:
        stub.script("one", ok("Here.", delay=0.2))
        other.script("two", ok("There.", delay=0.2))
        named = {
            "dialect": "openai",
            "base_url": other.url.replace("127.0.0.1", "localhost"),
            "api_key": "sk-2",
        }
        models = [model("one"), model("two", provider="other")]
        config = write_config(tmp_path, stub.url, models, providers={"other": named})
        with running(config, descriptors=DESCRIPTORS) as kuro:
            async with AsyncExitStack() as stack:
                callers = [await stack.enter_async_context(calling(kuro.port)) for _ in range(32)]
                for name in ("one", "two", "one"):
                    for caller in callers:
                        await caller.chat(hello(name))
                    answers = [await caller.hear() for caller in callers]
                    assert Counter((answer.status, answer.code) for answer in answers) == {(200, None): 32}
