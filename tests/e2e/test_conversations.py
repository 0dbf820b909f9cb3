"""Conversations over sockets: who answers the next turn, and what the caller is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.e2e.kuro import Kuro, model, write_config
from tests.stub import StubUpstream, fail, ok

INTENTS = (
    "casual_chat", "code_generation", "math", "complex_reasoning", "long_context_summary", "extraction",
    "writing", "translation", "factual_qa", "roleplay",
)  # fmt: skip


def able(name: str, fitness: float, quality: float, price: float, **fields: Any) -> dict[str, Any]:
    prices = {"input": price, "output": 4 * price, "cached_input": price / 10}
    weights = {"quality": quality, "latency": 0.5}
    return model(name, capabilities=dict.fromkeys(INTENTS, fitness), weights=weights, price=prices, **fields)


@pytest.fixture(scope="module")
def talker(stub: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kuro]:
    models = [able("cheap", 0.5, 0.5, 0.1), able("mid", 0.75, 0.75, 1.0), able("strong", 0.97, 0.97, 6.0)]
    with Kuro(write_config(tmp_path_factory.mktemp("conversations"), stub.url, models)) as proxy:
        yield proxy


_owls = count()


class Chat:
    """A caller of `auto:cheap`, with all that was said so far. No two have the same opening."""

    def __init__(self, kuro: Kuro, stub: StubUpstream, **headers: str) -> None:
        self.kuro, self.headers = kuro, headers
        for name in ("cheap", "mid", "strong"):
            stub.script(name, ok("Here you are."))
        system = f"You write verses about owl number {next(_owls)}."
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": system}]
        self.fields: dict[str, Any] = {}

    def send(self, messages: list[dict[str, Any]] | None = None, **headers: str) -> tuple[str, str]:
        """Model and route of the answer to all that was said, or to `messages`."""
        body = {"model": "auto:cheap", "messages": messages or self.messages, **self.fields}
        status, found, self.body = self.kuro.chat(body, **{**self.headers, **headers})
        assert status == 200, self.body
        return found["x-kuro-model"], found["x-kuro-route"]

    def ask(self, text: str, **headers: str) -> tuple[str, str]:
        self.messages.append({"role": "user", "content": text})
        answered = self.send(**headers)
        self.messages.append({"role": "assistant", "content": "Here you are."})
        return answered

    def call(self, result: str) -> tuple[str, str]:
        """The answer called a tool, and this came of it."""
        self.messages[-1] = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "run", "arguments": "{}"}}],
        }
        self.messages.append({"role": "tool", "tool_call_id": "c", "content": result})
        answered = self.send()
        self.messages.append({"role": "assistant", "content": "Here you are."})
        return answered


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
