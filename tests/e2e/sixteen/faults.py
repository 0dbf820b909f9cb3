"""What the tests of the sixteen faults share: their models, how they are asked, what must hold of an answer.

Two retries, 30 s timeouts and one fallback per model: the defaults. Where the fault is a silence the limits
are a fraction of that in the default run, so that nobody waits for it (SCALED); `make sixteen-full` runs
those again with the limits as they are (FULL).

Every model NAME has a fallback NAME-spare. `auto` is led to NAME by a rule, everything else is as for anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.heard import Heard, listen
from tests.e2e.kuro import ADMIN, Kuro, Model, model, write_config
from tests.stub import STORY, Gate, StubUpstream, Tokens, ok

MESSAGES = [{"role": "user", "content": "Tell me the story of the cat in the lighthouse."}]
STORIES = ok(STORY, usage=Tokens(prompt=21, completion=60))
"""What a healthy fallback says."""
PRICE = {"input": 1.0, "output": 2.0}
SPARE_PRICE = {"input": 10.0, "output": 20.0}
STORY_COST = (21 * 10.0 + 60 * 20.0) / 1e6
"""USD of STORIES at the fallback's price."""

LIMITS = {"connect": 5.0, "first_token": 30.0, "idle": 30.0, "total": 600.0}
SCALED, FULL = "scaled", "full"
HASTE = {
    "silent": {"first_token": 0.6},
    "late": {"first_token": 0.6},
    "mute": {"idle": 0.6},
}
"""The limits of the SCALED runs, in seconds; FULL is LIMITS, and 10 s to the first token for the late one."""

sizes = pytest.mark.parametrize("size", [SCALED, pytest.param(FULL, marks=pytest.mark.slow)])
both = pytest.mark.parametrize("auto", [True, False], ids=["asked as auto", "asked by name"])


def pair(name: str, *, spare: Model | None = None, **fields: Any) -> list[Model]:
    """A model and its fallback."""
    common = {"price": PRICE, "timeouts": LIMITS} | fields
    other: Model = {"price": SPARE_PRICE, "timeouts": LIMITS} | (spare or {})
    return [model(name, fallback=[f"{name}-spare"], **common), model(f"{name}-spare", **other)]


PREFILLS = {"supports": ["tools", "json_schema", "logprobs", "prefill"]}
CLAUDE: Model = {"provider": "anthropic", "max_output_tokens": 4096}
NAMES = (
    "limited", "always-limited", "once-500", "down", "resetting", "cut", "cut-white", "cut-at-the-end",
    "bad-event", "no-done", "filter", "recovering", "billed", "whole", "departing",
)  # fmt: skip
PAIRS: list[Model] = [
    *[entry for name in NAMES for entry in pair(name)],
    *pair("silent", timeouts=LIMITS | HASTE["silent"]),
    *pair("silent-full"),
    *pair("late", timeouts=LIMITS | HASTE["late"]),
    *pair("late-full", timeouts=LIMITS | {"first_token": 10.0}),
    *pair("mute", timeouts=LIMITS | HASTE["mute"]),
    *pair("mute-full"),
    *pair("cut-prefill", spare=PREFILLS),
    *pair("cut-refused", spare=PREFILLS),
    *pair("cut-claude", spare=CLAUDE | PREFILLS),
    *pair("claude-cut", **CLAUDE),
    model("long", context_window=8_000, fallback=["long-same", "long-spare"]),
    model("long-same", context_window=8_000),
    model("long-spare", context_window=200_000, price=SPARE_PRICE),
    model("well"),
]


def config(stub: StubUpstream, directory: Path, models: Sequence[Model], **proxy: Any) -> Path:
    rules = [
        {"name": entry["id"], "model": entry["id"], "when": {"headers": {"x-fault": entry["id"]}}}
        for entry in models
    ]
    return write_config(
        directory,
        stub.url,
        models,
        providers={"anthropic": {"dialect": "anthropic", "base_url": stub.url, "api_key": "sk-ant"}},
        proxy={"admin_key": ADMIN, **proxy},
        routing={"rules": rules},
    )


def ask(
    kuro: Kuro, name: str, auto: bool, gate: Gate | None = None, led: bool = True, **fields: Any
) -> Heard:
    """The stream of one call, by name or as `auto`; its usage is asked for, its trace too.

    The `gate` is opened when twenty words have been heard. `auto` is `led` to the model by its rule.
    """

    def heard(words: int) -> None:
        if gate and words == 20:
            gate.release()

    body = {
        "model": "auto" if auto else name,
        "messages": MESSAGES,
        "stream_options": {"include_usage": True},
        **fields,
    }
    headers = {"x-kuro-trace": "1"} | ({"x-fault": name} if led else {})
    return listen(kuro, body, headers, heard)


def tells_the_story(kuro: Kuro, heard: Heard, served_by: str) -> dict[str, Any]:
    """The sixty words exactly once, properly ended, from whom they should be; the call's record."""
    assert heard.status == 200
    assert heard.text == STORY
    assert heard.finish == ["stop"]
    assert heard.done == 1
    assert not heard.errors
    assert heard.model == served_by
    record = kuro.record(heard.request_id)
    assert record["outcome"] == "ok"
    assert record["selected_model"] == record["response_model"] == served_by
    return record


def tries(record: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(a["model"], a["outcome"], a["failure"]) for a in record["attempts"]]


def since(stub: StubUpstream, *names: str) -> Callable[[], tuple[int, ...]]:
    """How often each of these was asked from now on."""
    before = [stub.hits(name) for name in names]
    return lambda: tuple(stub.hits(name) - was for name, was in zip(names, before, strict=True))


def booked_in_two_parts(heard: Heard, record: dict[str, Any], name: str) -> None:
    """Usage and cost of both parts are in the record, and the record and the trace show the seam."""
    first, *refused, last = record["attempts"]
    assert (first["model"], first["outcome"], last["model"], last["outcome"]) == (
        name,
        "cut",
        f"{name}-spare",
        "ok",
    )
    assert first["failure"]
    assert first["usage"]["estimated"]
    assert 20 < first["usage"]["completion"] < 70, "what it wrote before it broke"
    assert all(attempt["outcome"] == "failed" and not attempt["cost_usd"] for attempt in refused)
    assert record["fallback_used"] is True
    for count in ("prompt", "completion"):
        assert record["usage"][count] == first["usage"][count] + last["usage"][count]
    assert record["cost_usd"] == pytest.approx(first["cost_usd"] + last["cost_usd"])
    traces = [chunk["kuro"]["attempts"] for chunk in heard.chunks if "kuro" in chunk]
    assert [a["outcome"] for a in traces[0]] == ["ok"]
    assert [a["outcome"] for a in traces[-1]] == ["cut", *["failed"] * len(refused), "ok"]
    assert len(traces) == 2, "once at the start, once at the seam"
