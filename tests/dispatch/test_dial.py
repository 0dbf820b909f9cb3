from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from proxy.dispatch.dial import dial, interleave
from tests.dispatch.peer import answering, peer, unanswering

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("families", "order"),
    [
        pytest.param([V6, V6, V4, V4], [0, 2, 1, 3], id="families take turns"),
        pytest.param([V4, V6, V6, V6], [0, 1, 2, 3], id="the resolver's first one stays first"),
        pytest.param([V4, V4], [0, 1], id="one family keeps its order"),
        pytest.param([V6], [0], id="one address is one address"),
    ],
)
def test_addresses(families: list[int], order: list[int]) -> None:
    found = [(family, 1, 6, "", number) for number, family in enumerate(families)]
    assert [entry[4] for entry in interleave(found)] == order


class Resolver:
    """Answers with these ports on the loopback address, whatever is asked."""

    def __init__(self, *ports: int) -> None:
        self.ports = ports

    async def getaddrinfo(self, *_: Any, **__: Any) -> list[Any]:
        return [(V4, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in self.ports]


@pytest.fixture
def hanging() -> Iterator[int]:
    """A port that never completes a connection."""
    with unanswering() as port:
        yield port


@pytest.fixture
def refusing() -> Iterator[int]:
    """A port where nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


async def connect(*ports: int) -> int:
    """The port that was reached."""
    transport, _ = await dial(asyncio.Protocol, "name", 1, resolve=Resolver(*ports).getaddrinfo)
    reached: int = transport.get_extra_info("peername")[1]
    transport.abort()
    return reached


async def test_an_address_that_hangs_does_not_hold_up_the_next(hanging: int) -> None:
    async with peer(answering(b"")) as it:
        assert await connect(hanging, it.port) == it.port


async def test_an_address_that_refuses_is_followed_at_once_by_the_next(refusing: int) -> None:
    async with peer(answering(b"")) as it:
        async with asyncio.timeout(3):  # a quarter of a second each would be five
            assert await connect(*[refusing] * 20, it.port) == it.port


async def test_a_later_address_may_fail_while_an_earlier_one_is_still_trying(
    hanging: int, refusing: int
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await connect(hanging, refusing)


@pytest.mark.parametrize("count", [1, 3])
async def test_when_all_refuse_it_says_so(refusing: int, count: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        await connect(*[refusing] * count)


async def test_cancelled_it_leaves_no_socket_behind(hanging: int) -> None:
    with ExitStack() as stack:
        other = stack.enter_context(unanswering())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.35):
                await connect(hanging, other)
    await asyncio.sleep(0)
    gc.collect()  # An unclosed socket would warn, and warnings are errors.


async def test_the_socket_does_not_wait_to_fill_a_segment() -> None:
    async with peer(answering(b"")) as it:
        transport, _ = await dial(asyncio.Protocol, "127.0.0.1", it.port)
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.abort()


async def test_a_name_with_two_families_reaches_whoever_listens() -> None:
    async with peer(answering(b"")) as it:
        transport, _ = await dial(asyncio.Protocol, "localhost", it.port)
        transport.abort()
        assert it.accepted <= 1


async def test_a_host_that_cannot_be_a_name_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        await dial(asyncio.Protocol, "a" * 70 + ".example", 80)


async def test_a_name_without_an_address_is_an_os_error() -> None:
    with pytest.raises(OSError, match="no address"):
        await connect()
