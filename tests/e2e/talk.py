"""Callers who talk to `auto:cheap` for several turns, and three models, each better than the one before."""

from __future__ import annotations

from itertools import count
from typing import Any

from tests.e2e.kuro import Kuro, model
from tests.stub import StubUpstream, ok

INTENTS = (
    "casual_chat", "code_generation", "math", "complex_reasoning", "long_context_summary", "extraction",
    "writing", "translation", "factual_qa", "roleplay",
)  # fmt: skip


def able(name: str, fitness: float, quality: float, price: float, **fields: Any) -> dict[str, Any]:
    prices = {"input": price, "output": 4 * price, "cached_input": price / 10}
    weights = {"quality": quality, "latency": 0.5}
    return model(name, capabilities=dict.fromkeys(INTENTS, fitness), weights=weights, price=prices, **fields)


LADDER = [able("cheap", 0.5, 0.5, 0.1), able("mid", 0.75, 0.75, 1.0), able("strong", 0.97, 0.97, 6.0)]

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
