"""What workers tell each other, over real mailboxes, all in one loop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from proxy.routing.adapt import Adapt, Signal
from proxy.routing.conversation import Held
from proxy.routing.letters import Letter
from proxy.routing.policy import AdaptPolicy, RoutingPolicy, StickyPolicy
from proxy.routing.router import new_memory
from proxy.server.mailbox import LARGEST, Mailbox
from proxy.sharing import BURST, Hello, Sharing

MID = Held("mid", "mid", "writing", 5_000, 7, 0.0)


class Worker:
    """A memory that is shared."""

    def __init__(self, place: Path, name: str, size: int = 50_000) -> None:
        policy = RoutingPolicy(sticky=StickyPolicy(ttl=600.0, size=size))
        self.memory = new_memory(policy, time.monotonic, shared=True)
        self.adapt = Adapt(AdaptPolicy(enabled=True), time.monotonic, lambda *_: None)
        self.sharing = Sharing(place, name, self.memory, self.adapt, time.time)

    def answer(self, *conversations: int, model: str = "mid") -> None:
        for number in conversations:
            held = msgspec.structs.replace(MID, model=model, at=time.monotonic())
            self.memory.conversations.put(number, held)

    def knows(self, *conversations: int, model: str = "mid") -> bool:
        held = [self.memory.conversations.peek(number) for number in conversations]
        return all(each is not None and each.model == model for each in held)


async def until(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not seen():  # noqa: ASYNC110  # what it looks at knows of no event
            await asyncio.sleep(0)


@pytest.fixture
async def house() -> AsyncExitStack:
    async with AsyncExitStack() as stack:
        yield stack


async def test_a_turn_is_told_before_its_caller_can_come_back(tmp_path: Path, house: AsyncExitStack) -> None:
    one, two = [Worker(tmp_path, name) for name in "12"]
    for worker in (one, two):
        await house.enter_async_context(worker.sharing)
    await until(lambda: one.sharing._others.keys() == {"2"})
    for number in range(BURST):
        one.answer(number)
        assert one.sharing.untold == 0
        await until(lambda number=number: two.knows(number))  # a mailbox may hold no more than ten letters
    while not one.sharing.untold:
        one.answer(1000)  # the rest is told together
    await until(lambda: two.knows(*range(BURST), 1000))


async def test_the_last_turn_counts_wherever_it_was(tmp_path: Path, house: AsyncExitStack) -> None:
    workers = [Worker(tmp_path, name) for name in "123"]
    for worker in workers:
        await house.enter_async_context(worker.sharing)
    await until(lambda: all(len(worker.sharing._others) == 2 for worker in workers))
    for number in range(60):
        workers[number % 3].answer(number % 7, model=f"model-{number}")
    for last in range(53, 60):
        for worker in workers:
            await until(lambda worker=worker, last=last: worker.knows(last % 7, model=f"model-{last}"))
    assert [worker.sharing.lost for worker in workers] == [0] * 3


async def test_who_starts_knows_all_before_it_serves(tmp_path: Path, house: AsyncExitStack) -> None:
    one, two, late = [Worker(tmp_path, name) for name in "123"]
    for worker in (one, two):
        await house.enter_async_context(worker.sharing)
    one.answer(*range(5_000))
    two.answer(9_999)
    await house.enter_async_context(late.sharing)
    assert late.knows(*range(5_000), 9_999)
    two.answer(10_000)
    await until(lambda: late.knows(10_000))


async def test_who_starts_has_learned_what_the_others_have(tmp_path: Path, house: AsyncExitStack) -> None:
    one, late = Worker(tmp_path, "1"), Worker(tmp_path, "2")
    await house.enter_async_context(one.sharing)
    for number in range(400):
        for model in range(300):
            one.adapt.observe(f"model-{model}", Signal.SUCCESS, float(number < 300 or model % 2))
    await house.enter_async_context(late.sharing)
    learned, known = late.adapt.standing(), one.adapt.standing()
    assert len(learned) == 150
    assert learned == known


async def test_of_those_who_are_dead_nobody_is_waited_for(tmp_path: Path, house: AsyncExitStack) -> None:
    for name in ("1.mail", "2.mail"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as killed:
            killed.bind(str(tmp_path / name))
    three, late = Worker(tmp_path, "3"), Worker(tmp_path, "4")
    three.answer(1)
    await house.enter_async_context(three.sharing)
    await house.enter_async_context(late.sharing)
    assert late.knows(1)
    assert late.sharing._others.keys() == {"3"}


class Asleep:
    """A worker that said hello and reads nothing."""

    def __init__(self, place: Path, name: str) -> None:
        self.own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.own.bind(str(place / f"{name}.mail"))
        self.own.setblocking(False)
        self.told: dict[int, str] = {}
        hello = msgspec.msgpack.encode(Hello(name))
        for path in place.glob("*.mail"):
            if path.stem != name:
                self.own.sendto(hello, str(path))

    def read(self) -> None:
        """All that is there."""
        while True:
            try:
                letter = msgspec.msgpack.decode(self.own.recv(LARGEST), type=Letter)
            except BlockingIOError:
                return
            self.told.update({turn.conversation: letter.words[turn.model] for turn in letter.turns})


async def test_who_reads_nothing_is_told_later_how_things_stand(
    tmp_path: Path, house: AsyncExitStack
) -> None:
    one = Worker(tmp_path, "1")
    await house.enter_async_context(one.sharing)
    with (asleep := Asleep(tmp_path, "2")).own:
        await until(lambda: "2" in one.sharing._others)
        for turn in range(3):
            for number in range(2_000):
                one.answer(number, model=f"model-{turn}")
                await asyncio.sleep(0)
        await until(lambda: 0 < one.sharing.untold <= 2_000)
        asleep.read()
        await until(lambda: asleep.read() or one.sharing.untold == 0)
        asleep.read()
        assert asleep.told == dict.fromkeys(range(2_000), "model-2")
    assert one.sharing.lost == 0


async def test_what_is_kept_for_one_who_reads_nothing_is_bounded_and_what_is_lost_is_counted(
    tmp_path: Path, house: AsyncExitStack
) -> None:
    one = Worker(tmp_path, "1", size=1_000)
    await house.enter_async_context(one.sharing)
    with Asleep(tmp_path, "2").own:
        await until(lambda: "2" in one.sharing._others)
        for number in range(20_000):
            one.answer(number)
            if not number % 100:
                await asyncio.sleep(0.001)
        assert one.sharing.untold < 3_000
        assert one.sharing.lost > 10_000


async def test_of_one_who_is_gone_nothing_is_kept(tmp_path: Path, house: AsyncExitStack) -> None:
    one = Worker(tmp_path, "1")
    await house.enter_async_context(one.sharing)
    with Asleep(tmp_path, "2").own:
        await until(lambda: "2" in one.sharing._others)
        for number in range(500):
            one.answer(number)
            await asyncio.sleep(0)
        await until(lambda: one.sharing.untold > 0)
    await until(lambda: one.sharing.untold == 0)
    assert one.sharing._others == {}


@pytest.mark.parametrize(
    "letter",
    [
        pytest.param(b"\xff" * 10, id="noise"),
        pytest.param(msgspec.msgpack.encode(Hello("2"))[:-2], id="half a letter"),
        pytest.param(
            msgspec.msgpack.encode(["turns", ["mid"], [[1, 0.0, 0, 5, 0, 1, 1, 1]]]), id="a word short"
        ),
        pytest.param(msgspec.msgpack.encode(["song", ["mid"]]), id="another version's"),
    ],
)
async def test_what_can_not_be_read_is_counted(tmp_path: Path, house: AsyncExitStack, letter: bytes) -> None:
    one = Worker(tmp_path, "1")
    await house.enter_async_context(one.sharing)
    writer = Mailbox(tmp_path, "2", print)
    writer.send("1", letter)
    await until(lambda: one.sharing.lost == 1)
    writer.close()
    one.answer(1)


async def test_without_a_place_each_remembers_for_itself(
    tmp_path: Path, house: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    alone = Worker(tmp_path / "nowhere", "1")
    await house.enter_async_context(alone.sharing)
    alone.answer(1)
    assert alone.knows(1)
    assert "can't tell each other" in caplog.text


async def test_what_was_answered_last_is_told_at_the_end(tmp_path: Path, house: AsyncExitStack) -> None:
    one, two = Worker(tmp_path, "1"), Worker(tmp_path, "2")
    await house.enter_async_context(two.sharing)
    async with one.sharing:
        await until(lambda: "1" in two.sharing._others)
        one.answer(*range(1_000))
    await until(lambda: two.knows(*range(1_000)))
