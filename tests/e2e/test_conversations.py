"""Conversations over sockets: who answers the next turn, and what the caller is told of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.kuro import Kuro, write_config
from tests.e2e.talk import LADDER, Chat
from tests.stub import StubUpstream, fail, ok


@pytest.fixture(scope="module")
def talker(stub: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kuro]:
    with Kuro(write_config(tmp_path_factory.mktemp("conversations"), stub.url, LADDER)) as proxy:
        yield proxy


def test_complaints_lead_up_and_content_does_not_lead_down(talker: Kuro, stub: StubUpstream) -> None:
    chat = Chat(talker, stub)
    assert chat.ask("Write a limerick about a sleepy owl") == ("cheap", "score")
    assert chat.ask("that's wrong, it doesn't rhyme", x_kuro_trace="1") == ("mid", "escalation")
    told = {rung["step"]: rung["answer"] for rung in chat.body["kuro"]["rungs"]}
    assert told["escalation"] == "mid (escalation): better than cheap, for struggle:complaint"
    assert chat.ask("great, now one about a cat") == ("mid", "sticky")
    assert chat.ask("still not what i asked for, try again") == ("strong", "escalation")
    assert chat.ask("thanks") == ("strong", "sticky")


def test_regenerations_of_a_named_conversation(talker: Kuro, stub: StubUpstream) -> None:
    chat = Chat(talker, stub, x_session_id="owls")
    assert chat.ask("Write a limerick about a sleepy owl") == ("cheap", "score")
    again = chat.messages[:-1]
    assert chat.send(again) == ("mid", "escalation")
    assert chat.send(again) == ("strong", "escalation")


def test_an_answer_that_failed_is_no_regeneration(talker: Kuro, stub: StubUpstream) -> None:
    chat = Chat(talker, stub, x_session_id="sick owls")
    for name in ("cheap", "mid", "strong"):
        stub.script(name, fail(400), ok())
    body = {"model": "auto:cheap", "messages": [{"role": "user", "content": "Write a limerick about owls"}]}
    assert talker.chat(body, **chat.headers)[0] == 400
    assert talker.chat(body, **chat.headers)[1]["x-kuro-model"] == "cheap"


def test_rounds_of_failing_tools(talker: Kuro, stub: StubUpstream) -> None:
    chat = Chat(talker, stub)
    chat.fields["tools"] = [
        {"type": "function", "function": {"name": "run", "parameters": {"type": "object"}}}
    ]
    assert chat.ask("Make the tests of the parser pass")[0] == "cheap"
    assert [chat.call("Error: no such file")[0] for _ in range(2)] == ["cheap", "cheap"]
    assert chat.call("Traceback (most recent call last):\n  ...") == ("mid", "escalation")
    assert chat.call("7 passed") == ("mid", "sticky")


def test_who_stood_in_gives_the_conversation_back(talker: Kuro, stub: StubUpstream) -> None:
    chat = Chat(talker, stub)
    chat.ask("Write a limerick about a sleepy owl")
    assert chat.ask("that's wrong, it doesn't rhyme")[0] == "mid"
    stub.script("mid", fail(503), fail(503), ok())
    assert chat.ask("now one about a cat")[0] != "mid"
    assert chat.ask("and one about a dog")[0] == "mid"


def test_chores_of_the_best_go_to_the_cheap_end_and_leave_the_chat_alone(
    talker: Kuro, stub: StubUpstream
) -> None:
    chat = Chat(talker, stub, x_openwebui_chat_id="6f1c")
    chat.ask("Write a limerick about a sleepy owl")
    assert chat.ask("that's wrong, it doesn't rhyme")[0] == "mid"
    title = "### Task:\nGenerate a concise title summarizing the chat history.\n### Output:\n..."
    body = {"model": "auto:best", "messages": [{"role": "user", "content": title}]}
    assert talker.chat(body, **chat.headers)[1]["x-kuro-model"] == "cheap"
    assert chat.send([{"role": "user", "content": title}])[0] == "cheap"
    assert chat.ask("now one about a cat") == ("mid", "sticky")
