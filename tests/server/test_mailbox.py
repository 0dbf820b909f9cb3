"""Mailboxes of workers, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.server.mailbox import LARGEST, Mailbox, Sent


class Worker:
    """A mailbox and what was found in it."""

    def __init__(self, place: Path, name: str) -> None:
        self.found: list[bytes] = []
        self.mailbox = Mailbox(place, name, self.hear)
        self._more = asyncio.Event()

    def hear(self, letter: bytes) -> None:
        self.found.append(letter)
        self._more.set()

    async def until(self, number: int) -> list[bytes]:
        async with asyncio.timeout(10):
            while len(self.found) < number:
                self._more.clear()
                await self._more.wait()
        return self.found


@pytest.fixture
async def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    made = [Worker(tmp_path, name) for name in ("1", "2", "10")]
    yield made
    for worker in made:
        worker.mailbox.close()


async def test_letters_arrive_whole_and_in_order(workers: list[Worker]) -> None:
    one, two, _ = workers
    one.mailbox.open()
    two.mailbox.open()
    letters = [bytes([number]) * (LARGEST - number) for number in range(3)]
    for letter in letters:
        assert one.mailbox.send("2", letter) is Sent.TAKEN
    assert await two.until(3) == letters


async def test_those_who_are_there_are_found_by_age(workers: list[Worker]) -> None:
    for worker in workers:
        worker.mailbox.open()
    assert workers[0].mailbox.others() == ["2", "10"]
    workers[1].mailbox.close()
    assert workers[0].mailbox.others() == ["10"]


async def test_nobody_is_there(workers: list[Worker], tmp_path: Path) -> None:
    one, two, _ = workers
    one.mailbox.open()
    assert one.mailbox.send("2", b"?") is Sent.GONE
    two.mailbox.open()
    assert one.mailbox.send("2", b"?") is Sent.TAKEN, "it came later"
    await two.until(1)
    two.mailbox.close()
    assert one.mailbox.send("2", b"?") is Sent.GONE


async def test_what_a_killed_worker_left_is_put_away(workers: list[Worker], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as killed:
        killed.bind(str(tmp_path / "2.mail"))
    one = workers[0]
    one.mailbox.open()
    assert one.mailbox.others() == ["2"]
    assert one.mailbox.send("2", b"?") is Sent.GONE
    assert one.mailbox.others() == []


async def test_who_reads_nothing_holds_up_nobody(workers: list[Worker]) -> None:
    one, two, ten = workers
    for worker in workers:
        worker.mailbox.open()
    letter = b"x" * 10_000
    for _ in range(10_000):
        if one.mailbox.send("2", letter) is Sent.FULL:  # its loop doesn't turn meanwhile
            break
    else:
        pytest.fail("it takes letters without end")
    assert one.mailbox.send("10", letter) is Sent.TAKEN
    assert await ten.until(1) == [letter]
    await two.until(1)
    assert one.mailbox.send("2", b"again") is Sent.TAKEN


async def test_a_place_that_is_none_is_an_error(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "nowhere", "1", print)
    with pytest.raises(OSError, match="No such file"):
        mailbox.open()
    mailbox.close()
