"""A worker's questions to its parent, over a real pipe."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest

from proxy.errors import ApiError
from proxy.server.link import Answer, Ask, Line, Reach

Ends = tuple["Connection[Any, Any]", "Connection[Any, Any]"]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = Pipe()
    with ours, theirs:
        yield ours, theirs


async def test_each_question_has_its_own_answer(ends: Ends) -> None:
    line = Line(ends[0])
    first, second = (asyncio.create_task(line.ask(word, Reach.ALL)) for word in ("one", "two"))
    await asyncio.sleep(0)
    asked = [ends[1].recv() for _ in range(2)]
    assert [(each.asked, each.reach) for each in asked] == [("one", Reach.ALL), ("two", Reach.ALL)]
    for each in reversed(asked):
        line.answered(Answer(each.number, each.asked.upper()))
    assert ((await first).said, (await second).said) == ("ONE", "TWO")


async def test_a_parent_that_says_nothing_is_given_up(ends: Ends) -> None:
    line = Line(ends[0], patience=0.01)
    with pytest.raises(ApiError) as caught:
        await line.ask("why", Reach.PARENT)
    assert (caught.value.status, caught.value.code) == (503, "parent_silent")
    line.answered(Answer(ends[1].recv().number, "late"))  # nobody waits for it


async def test_a_parent_that_could_not_decide_is_an_error(ends: Ends) -> None:
    line = Line(ends[0])
    asking = asyncio.create_task(line.ask("why", Reach.PARENT))
    await asyncio.sleep(0)
    question = ends[1].recv()
    assert isinstance(question, Ask)
    line.answered(Answer(question.number, None, failed=True))
    with pytest.raises(RuntimeError, match="could not decide"):
        await asking
