"""`reasoning_effort` by difficulty, over sockets: what upstreams get, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kuro import ADMIN, Kuro, model, running, write_config
from tests.stub import Gate, Received, Reply, StubUpstream, fail, gated, ok

EASY = "hi"
HARD = (
    "Design a distributed rate limiter with exactly-once semantics, compare three approaches step by step, "
    "prove that the invariants hold"
)
TITLE = "### Task:\nGenerate a concise title summarizing the chat history.\n### Output:\n..."
BEST = dict.fromkeys(("casual_chat", "complex_reasoning", "code_generation", "math", "writing"), 0.9)
CLAUDE = ["low", "medium", "high", "xhigh", "max"]
MODELS = [
    model(
        "thinker",
        capabilities=BEST,
        reasoning_effort=["low", "medium", "high"],
        fallback=["claude", "plain"],
    ),
    model(
        "claude",
        provider="anthropic",
        upstream_model="claude-opus-5",
        max_output_tokens=4096,
        capabilities={},
        reasoning_effort=CLAUDE,
    ),
    model("plain", capabilities={}),
]
FEW = [{**MODELS[0], "fallback": ["plain"]}, MODELS[2]]
ROUTING = {"effort": {"enabled": True, "low": 0.15, "high": 0.4}, "sticky": {"size": 0}}


@pytest.fixture(scope="module")
def thinking(stub: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kuro]:
    providers = {"anthropic": {"dialect": "anthropic", "base_url": stub.url, "api_key": "sk-ant"}}
    place = tmp_path_factory.mktemp("effort")
    with Kuro(
        write_config(
            place, stub.url, MODELS, providers=providers, proxy={"admin_key": ADMIN}, routing=ROUTING
        )
    ) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def well(stub: StubUpstream) -> None:
    for name in ("thinker", "claude-opus-5", "plain"):
        stub.script(name, ok())


def asks(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}


class Heard:
    """What the upstream was told from here on, call by call, in either dialect's words."""

    def __init__(self, stub: StubUpstream) -> None:
        self._stub, self._before = stub, self._bodies(stub)

    def bodies(self) -> list[Received]:
        return self._bodies(self._stub)[len(self._before) :]

    def efforts(self) -> list[str | None]:
        return [_told(received.json) for received in self.bodies()]

    @staticmethod
    def _bodies(stub: StubUpstream) -> list[Received]:
        everybody = [received for requests in stub.requests.values() for received in requests]
        return sorted(everybody, key=lambda received: received.time)


def _told(body: Any) -> str | None:
    told: str | None = body.get("reasoning_effort") or body.get("output_config", {}).get("effort")
    return told


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("text", "fields", "told"),
    [
        pytest.param(EASY, {}, "low", id="an easy ask"),
        pytest.param(HARD, {}, "high", id="a hard ask"),
        pytest.param(TITLE, {}, "low", id="a chore"),
        pytest.param(HARD, {"reasoning_effort": "medium"}, "medium", id="the caller's own word"),
        pytest.param(HARD, {"reasoning": {"max_tokens": 9}}, None, id="said in other words"),
        pytest.param(HARD, {"model": "thinker"}, None, id="a model asked for by name"),
    ],
)
def test_the_upstream_gets(
    thinking: Kuro, stub: StubUpstream, text: str, fields: dict[str, Any], told: str | None, stream: bool
) -> None:
    heard = Heard(stub)
    status, _, _ = thinking.chat(asks(text, stream=stream, **fields))
    assert (status, heard.efforts()) == (200, [told])


def test_the_callers_bytes_stay_as_they_are(thinking: Kuro, stub: StubUpstream) -> None:
    body = b'{"messages": [{"role": "user", "content": "hi"}], "model": "auto", "top_p": 1.0, "seed": 1e5}'
    heard = Heard(stub)
    assert thinking.chat(body)[0] == 200
    assert heard.bodies()[0].body == body.replace(b'"auto"', b'"thinker","reasoning_effort":"low"')


def test_a_fallback_is_told_its_own(thinking: Kuro, stub: StubUpstream) -> None:
    stub.script("thinker", fail(401))
    heard = Heard(stub)
    status, headers, body = thinking.chat(asks(HARD), x_kuro_trace="1", x_request_id="effort-1")
    assert (status, headers["x-kuro-model"]) == (200, "claude")
    assert heard.efforts() == ["high", "high"]
    assert "thinking" not in heard.bodies()[1].json
    told = body["kuro"]
    assert told["effort"]["level"] == "high" and told["effort"]["models"]["thinker"] == "high"
    assert [attempt.get("effort") for attempt in told["attempts"]] == ["high", "high"]
    record = thinking.record("effort-1")
    assert record["effort"] == "high"
    assert [attempt["effort"] for attempt in record["attempts"]] == ["high", "high"]
    thinking.reset()


def picky(received: Received) -> Reply:
    """A model that takes no effort beside tools, as OpenAI's on this API."""
    told = received.json
    if "reasoning_effort" in told and "tools" in told:
        return fail(400, "no reasoning_effort with tools")(received)
    return ok("Done.")(received)


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def test_what_refuses_our_word_is_asked_again_without_it(thinking: Kuro, stub: StubUpstream) -> None:
    stub.script("thinker", picky)
    heard = Heard(stub)
    status, headers, _ = thinking.chat(asks(HARD, tools=TOOLS), x_request_id="effort-2")
    assert (status, headers["x-kuro-model"], headers["x-kuro-attempts"]) == (200, "thinker", "2")
    assert heard.efforts() == ["high", None]
    tried = thinking.record("effort-2")["attempts"]
    assert [(each["outcome"], each["failure"], each["effort"]) for each in tried] == [
        ("failed", "bad_request", "high"),
        ("ok", None, None),
    ]
    heard = Heard(stub)
    thinking.chat(asks(HARD + ", please", tools=TOOLS))
    assert heard.efforts() == [None], "such a request is not refused twice"
    heard = Heard(stub)
    thinking.chat(asks(HARD))
    assert heard.efforts() == ["high"], "another still is told"


@pytest.mark.parametrize(
    ("code", "told", "speaks"),
    [
        pytest.param(None, ["high", None], "thinker", id="the request's fault, by the second answer"),
        pytest.param(
            "unsupported_value", ["high", None, "high", None], "claude-opus-5", id="the model's: the next one"
        ),
    ],
)
def test_what_is_refused_without_our_word_too(
    thinking: Kuro, stub: StubUpstream, code: str | None, told: list[str | None], speaks: str
) -> None:
    for name in ("thinker", "claude-opus-5", "plain"):
        stub.script(name, fail(400, f"mend your seed, {name}", code=code))
    heard = Heard(stub)
    status, _, body = thinking.chat(asks(HARD, seed="x"))
    assert (status, body["error"]["message"]) == (400, f"mend your seed, {speaks}")
    assert heard.efforts() == told
    assert thinking.chat(asks(EASY, seed="x"))[0] == 400
    assert heard.efforts()[len(told)] == "low", "nothing is learned of it"


# --- what stands beside it -----------------------------------------------------------------------


def test_a_conversation_keeps_its_level_while_its_prompt_is_cached(
    stub: StubUpstream, tmp_path: Path
) -> None:
    routing = {**ROUTING, "sticky": {}}
    chat = [{"role": "user", "content": f"{HARD}. It stands between these: {'red, green, blue ' * 900}"}]
    with running(write_config(tmp_path, stub.url, FEW, routing=routing)) as kuro:
        heard = Heard(stub)
        for text in ("ok", "thanks"):
            kuro.chat({"model": "auto", "messages": chat})
            chat += [{"role": "assistant", "content": "Here."}, {"role": "user", "content": text}]
        _, _, body = kuro.chat({"model": "auto", "messages": chat}, x_kuro_trace="1")
    assert heard.efforts() == ["high", "high", "high"]
    assert body["kuro"]["effort"]["why"] == "no less than the turn before, whose prompt is in the cache"


def test_a_judge_thinks_as_little_as_it_can(stub: StubUpstream, tmp_path: Path) -> None:
    stub.script("judge", ok('{"intent": "math", "confidence": 1, "difficulty": 1}'))
    judge = model("judge", capabilities={}, reasoning_effort=["minimal", "high"])
    asking = {"enabled": True, "model": "judge", "intent_margin": 1.0}
    config = write_config(tmp_path, stub.url, [*FEW, judge], routing={**ROUTING, "judge": asking})
    with running(config) as kuro:
        heard = Heard(stub)
        kuro.chat(asks("The one with the three apples, again"))
    assert heard.efforts() == ["minimal", "high"]


def test_a_reload_switches_it_on_and_forgets_what_was_refused(stub: StubUpstream, tmp_path: Path) -> None:
    models, admin = FEW, {"admin_key": ADMIN, "reload": {"watch": False}}
    config = write_config(tmp_path, stub.url, models, proxy=admin)
    stub.script("thinker", picky)
    with running(config) as kuro:
        heard = Heard(stub)
        for routing in ({}, ROUTING, {**ROUTING, "cache": {"size": 0}}):
            write_config(tmp_path, stub.url, models, proxy=admin, routing=routing)
            kuro.admin("/reload", {})
            kuro.chat(asks(HARD, tools=TOOLS))
            kuro.chat(asks(HARD, tools=TOOLS))
    assert heard.efforts() == [None, None, "high", None, None, "high", None, None]


def test_a_hedge_that_refuses_our_word_ends_no_walk(stub: StubUpstream, tmp_path: Path) -> None:
    hedging = {"enabled": True, "share": 1, "min_delay": 0.05, "min_answers": 2.5}
    config = write_config(
        tmp_path,
        stub.url,
        [MODELS[0], model("claude", capabilities={}, reasoning_effort=["high"]), MODELS[2]],
        proxy={"hedging": hedging, "retries": {"max_retries": 0}},
        routing=ROUTING,
    )
    with running(config) as kuro:
        for number in range(4):
            kuro.chat(asks(f"{HARD} {number}", stream=True))
        late = Gate()

        def refuses(received: Received) -> Reply:
            late.release()
            return fail(400, "no reasoning_effort here")(received)

        stub.script("thinker", gated(late, fail(503)))
        stub.script("claude", refuses)
        _, headers, _ = kuro.chat(asks(f"{HARD}!", stream=True), x_request_id="effort-3")
        tried = kuro.record("effort-3")["attempts"]
    assert headers["x-kuro-model"] == "plain"
    assert [(each["model"], each["failure"], each["hedge"]) for each in tried] == [
        ("thinker", "unavailable", False),
        ("claude", "bad_request", True),
        ("plain", None, False),
    ]
