"""Conversations of several workers: every turn comes on a new connection, and whoever takes it knows."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPException
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.sharing import SOON
from tests.e2e.conftest import ADMIN
from tests.e2e.kuro import PATIENCE, Kuro, write_config
from tests.e2e.scraped import samples, total
from tests.e2e.talk import LADDER, Chat
from tests.stub import StubUpstream

COMPLAINT = "that's wrong, it doesn't rhyme"


@pytest.fixture
def start(stub: StubUpstream, tmp_path: Path) -> Iterator[Callable[..., Kuro]]:
    running: list[Kuro] = []

    def start(workers: int, **routing: Any) -> Kuro:
        proxy = {"admin_key": ADMIN, "reload": {"watch": False}}
        config = write_config(tmp_path, stub.url, LADDER, proxy=proxy, routing=routing)
        running.append(Kuro(config, "--workers", str(workers)))
        until(lambda: serving(running[0]) >= workers)
        return running[0]

    yield start
    for kuro in running:
        for pid in kuro.workers():
            os.kill(pid, signal.SIGCONT)
        kuro.stop()


def until(seen: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 3 * PATIENCE
    while not seen():
        assert time.monotonic() < deadline


def serving(kuro: Kuro) -> int:
    """Workers that answer their parent; 0 when the one that was asked dies."""
    with suppress(ConnectionError, HTTPException):
        return len(kuro.admin("/models")["workers"])
    return 0


def settle(kuro: Kuro) -> None:
    """Until what was answered so far is told: its moment has come, and all loops have turned since then."""
    told = time.monotonic() + SOON
    until(lambda: serving(kuro) and time.monotonic() > told)
    for _ in range(2):
        serving(kuro)


def counted(kuro: Kuro, name: str) -> float:
    return total(samples(kuro.request("GET", "/metrics")[2].decode()), name)


@contextmanager
def only(kuro: Kuro, pid: int) -> Iterator[None]:
    """Whoever calls now is answered by this worker: the others stand still."""
    others = [other for other in kuro.workers() if other != pid]
    for other in others:
        os.kill(other, signal.SIGSTOP)
        until(lambda other=other: Path(f"/proc/{other}/stat").read_text().rpartition(") ")[2][0] == "T")
    try:
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


def escalated(kuro: Kuro, stub: StubUpstream) -> Chat:
    """A conversation that its caller's complaint has led from `cheap` to `mid`."""
    chat = Chat(kuro, stub)
    assert chat.ask("Write a limerick about a sleepy owl")[0] == "cheap"
    assert chat.ask(COMPLAINT) == ("mid", "escalation")
    return chat


@pytest.mark.parametrize("workers", [2, 3])
def test_the_next_turn_is_known_at_once_whoever_takes_it(
    start: Callable[..., Kuro], stub: StubUpstream, workers: int
) -> None:
    kuro = start(workers)
    asked = ["great, now one about a cat", "and one about a dog", "thanks"]
    for turns in range(6):
        pids = list(islice(cycle(kuro.workers()), turns, turns + 5))
        chat = Chat(kuro, stub)
        with only(kuro, pids[0]):
            assert chat.ask("Write a limerick about a sleepy owl")[0] == "cheap"
        with only(kuro, pids[1]):
            assert chat.ask(COMPLAINT) == ("mid", "escalation")
        for pid, text in zip(pids[2:], asked, strict=True):
            with only(kuro, pid):
                assert chat.ask(text) == ("mid", "sticky")


@pytest.mark.parametrize("workers", [2, 3])
def test_hundreds_of_turns_of_many_callers(
    start: Callable[..., Kuro], stub: StubUpstream, workers: int
) -> None:
    kuro = start(workers)
    said = ["great, now one about a cat", "and one about a dog", "now about a fox", "continue", "thanks"]
    chats = talking(kuro, stub, 30)
    with ThreadPoolExecutor(6) as pool:
        for text in said:
            answers = list(pool.map(lambda chat, text=text: chat.ask(text), chats))
            assert {model for model, _ in answers} == {"mid"}
            settle(kuro)
    assert counted(kuro, "llm_conversations_lost_total") == 0


def talking(kuro: Kuro, stub: StubUpstream, number: int) -> list[Chat]:
    """Escalated conversations of several callers at once; whoever answers, all know of them."""
    chats = [Chat(kuro, stub) for _ in range(number)]
    with ThreadPoolExecutor(6) as pool:
        for text, model in (("Write a limerick about a sleepy owl", "cheap"), (COMPLAINT, "mid")):
            assert {answer[0] for answer in pool.map(lambda chat, text=text: chat.ask(text), chats)} == {
                model
            }
            settle(kuro)
    return chats


def test_struggle_is_known_elsewhere(start: Callable[..., Kuro], stub: StubUpstream) -> None:
    kuro = start(2)
    one, other = kuro.workers()
    chat = Chat(kuro, stub, x_session_id="owls")
    with only(kuro, one):
        assert chat.ask("Write a limerick about a sleepy owl")[0] == "cheap"
    with only(kuro, other):
        assert chat.send(chat.messages[:-1]) == ("mid", "escalation")
    with only(kuro, one):
        assert chat.send(chat.messages[:-1]) == ("strong", "escalation")


def test_what_a_killed_worker_knew_is_known_to_all_and_to_its_successor(
    start: Callable[..., Kuro], stub: StubUpstream
) -> None:
    kuro = start(2)
    killed, left = kuro.workers()
    chats = talking(kuro, stub, 16)
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in kuro.workers() and serving(kuro) == 2)
    successor = next(pid for pid in kuro.workers() if pid != left)
    for pid, heard in ((left, chats[:8]), (successor, chats[8:])):
        with only(kuro, pid):
            assert {chat.ask("great, now one about a cat") for chat in heard} == {("mid", "sticky")}


def test_workers_that_are_killed_again_and_again_take_nobodys_conversation_along(
    start: Callable[..., Kuro], stub: StubUpstream
) -> None:
    kuro = start(2)
    quiet, busy, over = talking(kuro, stub, 8), Chat(kuro, stub), threading.Event()

    def chatter(number: int) -> None:
        """Turns without a pause, so that letters are on their way whenever a worker dies."""
        body = {"model": "auto:cheap", "messages": [*busy.messages, {"role": "user", "content": "Go on"}]}
        while not over.is_set():
            with suppress(ConnectionError, HTTPException):
                kuro.chat(body, x_session_id=f"chatter-{number}")

    with ThreadPoolExecutor(2) as pool:
        chatting = [pool.submit(chatter, number) for number in range(2)]
        try:
            for _ in range(2):
                killed = kuro.workers()[0]
                os.kill(killed, signal.SIGKILL)
                until(lambda killed=killed: killed not in kuro.workers() and serving(kuro) == 2)
        finally:
            over.set()
        for each in chatting:
            each.result()
    for pid in kuro.workers():
        with only(kuro, pid):
            assert {chat.ask("great, now one about a cat") for chat in quiet} == {("mid", "sticky")}
    assert counted(kuro, "llm_conversations_lost_total") == 0


def test_who_stands_still_hears_of_everything_later(start: Callable[..., Kuro], stub: StubUpstream) -> None:
    kuro = start(3)
    one, other, third = kuro.workers()
    os.kill(third, signal.SIGSTOP)
    with only(kuro, one):
        chats = [escalated(kuro, stub) for _ in range(40)]  # a mailbox may hold no more than ten letters
        assert counted(kuro, "llm_conversations_untold") > 0
        os.kill(third, signal.SIGSTOP)
    os.kill(third, signal.SIGCONT)
    until(lambda: counted(kuro, "llm_conversations_untold") == 0)
    for pid in (other, third):
        with only(kuro, pid):
            assert {chat.ask("great, now one about a cat")[0] for chat in chats[::-7]} == {"mid"}


def test_a_reload_drops_conversations_with_models_that_are_gone_everywhere(
    start: Callable[..., Kuro], stub: StubUpstream, tmp_path: Path
) -> None:
    kuro = start(2)
    stay, go = talking(kuro, stub, 2), talking(kuro, stub, 2)
    for chat in go:
        assert chat.ask("still not what i asked for, try again") == ("strong", "escalation")
    settle(kuro)
    path = tmp_path / "model_registry.yml"
    registry = yaml.safe_load(path.read_text())
    registry["models"] = [model for model in registry["models"] if model["id"] != "strong"]
    path.write_text(yaml.safe_dump(registry))
    assert kuro.admin("/reload", {})["models"]["removed"] == ["strong"]
    for pid, kept, lost in zip(kuro.workers(), stay, go, strict=True):
        with only(kuro, pid):
            assert kept.ask("great, now one about a cat") == ("mid", "sticky")
            assert lost.ask("great, now one about a cat") == ("cheap", "score")
