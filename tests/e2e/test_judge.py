"""The judge, switched on: a small model is asked over a socket which intent this is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.kuro import Kuro, model, write_config
from tests.stub import StubUpstream, fail, hang, ok

MODELS = [
    model("talker", capabilities={"casual_chat": 0.9, "factual_qa": 0.9, "extraction": 0.9, "writing": 0.9}),
    model("reckoner", capabilities={"math": 1.0}),
    model("small", capabilities={}),
]


@pytest.fixture(scope="module")
def judged(stub: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kuro]:
    config = write_config(
        tmp_path_factory.mktemp("judged"),
        stub.url,
        MODELS,
        routing={
            "judge": {"enabled": True, "model": "small", "timeout": 0.5, "max_confidence": 0.99},
            "cache": {"size": 0},
        },
    )
    with Kuro(config) as proxy:
        yield proxy


def ask(text: str) -> Any:
    return {"model": "auto", "messages": [{"role": "user", "content": text}]}


def test_its_verdict_decides_is_cached_and_booked(judged: Kuro, stub: StubUpstream) -> None:
    stub.script("small", ok('{"intent": "math", "confidence": 0.95, "difficulty": 0.7}'))
    status, headers, _ = judged.chat(ask("The one with the three apples, again"), x_request_id="judge-1")
    assert status == 200
    assert headers["x-kuro-route"] == "judge"
    assert headers["x-kuro-intent"] == "math"
    assert headers["x-kuro-model"] == "reckoner"
    record = judged.record("judge-1")
    assert [(a["model"], a["outcome"]) for a in record["attempts"]] == [
        ("small", "judge"),
        ("reckoner", "ok"),
    ]
    assert record["judge_usd"] > 0.0
    before = stub.hits("small")
    judged.chat(ask("The one with the three apples, again"))
    assert stub.hits("small") == before


@pytest.mark.parametrize(
    ("name", "behaviour"),
    [("silent", hang()), ("down", fail(500)), ("babbling", ok("I think it is about fruit."))],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_its_verdict_the_ladder_goes_on(
    judged: Kuro, stub: StubUpstream, name: str, behaviour: Any
) -> None:
    stub.script("small", behaviour)
    status, headers, _ = judged.chat(ask(f"Something or other, {name}"))
    assert status == 200
    assert headers["x-kuro-route"] in ("score", "sticky")
