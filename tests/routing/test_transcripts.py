"""Whole conversations, turn by turn, through the real router: who answers each turn, and by which rung.

    transcripts/*.yml    what chat UIs, coding agents and plain callers send, written for these tests

A transcript is a list of turns. `is` says what must come of each: intent, model, and the rung that spoke, if
it was none of those that choose by totals alone (scoring, the cache of its choices). What a turn may hold:

    ask        the next user turn            again    the same messages once more
    results    of the tools that the answer before it called
    aside      another request beside the conversation, with the history if it says `{history}`
    parts      the same as parts of a user turn: (text, whether it is an error)
    system, tools, profile, session, chat    of all that follow; `chat` is a UI's name for it
    later      seconds that pass before it   down     models whose circuit is shut
    by         who really answers it         hedged   by another that was asked beside a late one
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from proxy.dispatch.call import cost
from proxy.routing.policy import RoutingPolicy
from proxy.routing.replay import Replay, Stored
from proxy.routing.router import Router, new_memory
from proxy.server.headers import session_of
from proxy.types import Model, Need, Price, Priors, RoutePlan
from proxy.wire.chat import parse
from tests.routing.test_classify import CLASSIFIER, shipped
from tests.routing.test_grounds import stored

HERE = Path(__file__).parent / "transcripts"
INTENTS = shipped()["intents"]
LENGTHS = {name: spec["completion_tokens"] for name, spec in INTENTS.items()}


def model(name: str, quality: float, latency: float, price: Price, *fitness: float, **fields: Any) -> Model:
    able = frozenset({Need.TOOLS, Need.JSON_SCHEMA, *fields.pop("also", ())})
    fields = {"context_window": 1_000_000, "supports": able, **fields}
    return Model(
        name,
        "p",
        name,
        dict(zip(INTENTS, fitness, strict=True)),
        weights=Priors(quality, latency),
        price=price,
        **fields,
    )


# Much as gpt-oss-20b, gemini-flash and claude-opus in config/model_registry.yml. Intents in the file's order.
MODELS = (
    model("cheap", 0.56, 0.98, Price(0.075, 0.30, 0.0375),
          0.74, 0.48, 0.72, 0.5, 0.42, 0.72, 0.42, 0.42, 0.48, 0.32, context_window=131_072),
    model("mid", 0.82, 0.6, Price(0.75, 3.75, 0.075),
          0.84, 0.76, 0.8, 0.76, 0.94, 0.9, 0.8, 0.93, 0.88, 0.72, also=[Need.VISION, Need.AUDIO]),
    model("strong", 0.97, 0.55, Price(5.0, 25.0, 0.5),
          0.86, 0.98, 0.95, 0.97, 0.95, 0.94, 0.97, 0.92, 0.93, 0.95, also=[Need.VISION]),
)  # fmt: skip


class Stage:
    """A router with its clock and circuits, and the conversation so far."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.shut: frozenset[str] = frozenset()
        policy = RoutingPolicy()
        self.router = Router(
            policy,
            MODELS,
            [(name, "") for name in INTENTS],
            CLASSIFIER.classify,
            new_memory(policy, lambda: self.now),
            lambda models: models & self.shut,
            lambda _: None,
            lengths=LENGTHS,
        )
        self.history: list[dict[str, Any]] = []
        self.fields: dict[str, Any] = {}
        self.profile = "auto"
        self.headers: dict[str, str] = {}
        self.made: RoutePlan
        """The latest."""

    def play(self, turn: dict[str, Any]) -> str:
        """Sends a turn; "intent model route" of what was decided, and the conversation goes on."""
        self._set(turn)
        if "aside" in turn:
            return self._said(self._plan(self._aside(turn)))
        if not turn.get("again"):
            self.history += self._messages(turn)
        plan = self._plan(self.history)
        answered = turn.get("by", plan.models[0])
        self.router.served(plan, self._session(self.history), answered, hedged=bool(turn.get("hedged")))
        return self._said(plan)

    def _set(self, turn: dict[str, Any]) -> None:
        self.now += turn.get("later", 5.0)
        self.shut = frozenset(turn.get("down", ()))
        self.profile = turn.get("profile", self.profile)
        for member, header in (("session", "x-session-id"), ("chat", "x-openwebui-chat-id")):
            if member in turn:
                self.headers = {header: turn[member]}
        if "tools" in turn:
            self.fields["tools"] = [
                {"type": "function", "function": {"name": name, "description": f"{name} of the workspace"}}
                for name in turn["tools"]
            ]
        if "system" in turn:
            instructions = turn["system"].replace(
                "{long_instructions}", "Follow the rules of the house. " * 2_000
            )
            self.history.insert(0, {"role": "system", "content": instructions})

    def _messages(self, turn: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "results" in turn:
            names = [f"call_{len(self.history)}_{n}" for n, _ in enumerate(turn["results"])]
            function = {"name": "run", "arguments": "{}"}
            calls = [{"id": name, "type": "function", "function": function} for name in names]
            yield {"role": "assistant", "content": None, "tool_calls": calls}
            for name, result in zip(names, turn["results"], strict=True):
                yield {"role": "tool", "tool_call_id": name, "content": result}
            return
        if "parts" in turn:
            parts = [
                {"type": "tool_result", "tool_use_id": f"t{n}", "content": text, "is_error": bad}
                for n, (text, bad) in enumerate(turn["parts"])
            ]
            yield {"role": "assistant", "content": "I run it."}
            yield {"role": "user", "content": parts}
            return
        if any(message["role"] == "user" for message in self.history):
            yield {"role": "assistant", "content": "Here you are."}
        yield {"role": "user", "content": turn["ask"]}

    def _aside(self, turn: dict[str, Any]) -> list[dict[str, Any]]:
        text = (
            turn["aside"].replace("{history}", "").replace("{long}", "USER: go on, tell me more. " * 40_000)
        )
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        content = [{"type": "text", "text": text}, picture] if turn.get("picture") else text.strip()
        aside = {"role": "user", "content": content}
        if "{history}" in turn["aside"]:
            return [*self.history, {"role": "assistant", "content": "Here you are."}, aside]
        system = turn.get("beside")
        return [*([{"role": "system", "content": system}] if system else []), aside]

    def _plan(self, messages: list[dict[str, Any]]) -> RoutePlan:
        body = msgspec.json.encode({"model": self.profile, "messages": messages, **self.fields})
        plan = self.router.plan(parse(body), self.headers, self._session(messages))
        assert isinstance(plan, RoutePlan)
        self.made = plan
        return plan

    def _session(self, messages: list[dict[str, Any]]) -> str:
        return session_of(self.headers, self.fields, messages, "key")

    def _said(self, plan: RoutePlan) -> str:
        assert plan.classification is not None
        rung = "" if plan.route in ("score", "cache") else f" {plan.route}"
        return f"{plan.classification.top} {plan.models[0]}{rung}"


def transcripts() -> list[Any]:
    found = []
    for path in sorted(HERE.glob("*.yml")):
        for transcript in yaml.safe_load(path.read_text("utf-8")):
            found.append(pytest.param(transcript["turns"], id=f"{path.stem}: {transcript['name']}"))
    return found


@pytest.mark.parametrize("turns", transcripts())
def test_transcript(turns: list[dict[str, Any]]) -> None:
    stage = Stage()
    said = [stage.play(turn) for turn in turns]
    assert said == [turn["is"] for turn in turns]


@pytest.mark.parametrize("turns", transcripts())
def test_every_turn_is_decided_alike_from_its_record(turns: list[dict[str, Any]]) -> None:
    stage = Stage()
    for turn in turns:
        stage.play(turn)
        made = stage.made
        again = Replay(stage.router.apart(), MODELS, "then", CLASSIFIER.classify, cost)
        rerun = again.plan(msgspec.json.decode(stored(made), type=Stored))
        assert (rerun.models, rerun.route.replace("score", "cache")) == (
            made.models,
            made.route.replace("score", "cache"),
        )


def test_there_are_enough_of_every_shape() -> None:
    shapes = [parameters.id.split(":")[0] for parameters in transcripts()]
    assert len(shapes) >= 30
    assert all(shapes.count(shape) >= 8 for shape in ("agents", "open_webui", "sdk"))
