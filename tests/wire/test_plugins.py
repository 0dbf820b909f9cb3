"""The plugin `auto-router`: what is read of it, and which mistakes are told by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from proxy.errors import ApiError
from proxy.types import AutoRouter, ChatRequest
from proxy.wire.chat import parse


def asked(plugins: Any) -> ChatRequest:
    messages = [{"role": "user", "content": "hello"}]
    return parse(msgspec.json.encode({"model": "auto", "messages": messages, "plugins": plugins}))


def router(**members: Any) -> list[dict[str, Any]]:
    return [{"id": "auto-router", **members}]


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        pytest.param(router(), AutoRouter(), id="wishes for nothing"),
        pytest.param(router(allowed_models=["a/*", "b"]), AutoRouter(("a/*", "b")), id="allowed models"),
        pytest.param(router(excluded_models=["a"]), AutoRouter(None, ("a",)), id="excluded models"),
        pytest.param(router(cost_quality_tradeoff=0), AutoRouter(tradeoff=0), id="quality alone"),
        pytest.param(router(cost_quality_tradeoff=10), AutoRouter(tradeoff=10), id="cost alone"),
        pytest.param(router(allowed_models=None, excluded_models=None), AutoRouter(), id="nulls are nothing"),
        pytest.param(router(allowed_models=[]), AutoRouter(()), id="an empty list allows nobody"),
        pytest.param(router(cost_tier="low", pin_model=True), AutoRouter(), id="what only OpenRouter knows"),
        pytest.param(router(allowed_models=["a"], enabled=False), None, id="switched off"),
        pytest.param(
            [{"id": "web"}, *router(allowed_models=["a"])],
            AutoRouter(("a",), at="plugins[1]"),
            id="among others",
        ),
        pytest.param([{"id": "web"}], None, id="another plugin"),
        pytest.param([], None, id="no plugin"),
        pytest.param(["auto-router", None, 3], None, id="no objects"),
        pytest.param("auto-router", None, id="no list"),
        pytest.param(None, None, id="null"),
    ],
)
def test_read(plugins: Any, expected: AutoRouter | None) -> None:
    assert asked(plugins).auto_router == expected


def test_a_body_without_plugins_wishes_for_nothing() -> None:
    assert parse(b'{"model":"auto","messages":[{"role":"user","content":"x"}]}').auto_router is None


@pytest.mark.parametrize(
    ("plugins", "param", "told"),
    [
        pytest.param(
            router(allowed_models="a/*"),
            "plugins[0].allowed_models",
            "must be an array of strings or null, not a string",
            id="a pattern that is no list",
        ),
        pytest.param(
            router(allowed_models=["a", 7]),
            "plugins[0].allowed_models[1]",
            "must be a string, not an integer",
            id="a pattern that is a number",
        ),
        pytest.param(
            router(allowed_models=[""]),
            "plugins[0].allowed_models[0]",
            "must have 1 to 256 characters",
            id="an empty pattern",
        ),
        pytest.param(
            router(excluded_models=["a"] * 101),
            "plugins[0].excluded_models",
            "at most 100 patterns",
            id="too many patterns",
        ),
        pytest.param(
            router(cost_quality_tradeoff=11),
            "plugins[0].cost_quality_tradeoff",
            "between 0 (quality) and 10 (cost)",
            id="a dial beyond its end",
        ),
        pytest.param(
            router(cost_quality_tradeoff=-1),
            "plugins[0].cost_quality_tradeoff",
            "between 0 (quality) and 10 (cost)",
            id="a dial before its beginning",
        ),
        pytest.param(
            router(cost_quality_tradeoff=True),
            "plugins[0].cost_quality_tradeoff",
            "must be an integer or null, not a boolean",
            id="a dial that is a boolean",
        ),
        pytest.param(
            router(cost_quality_tradeoff="7"),
            "plugins[0].cost_quality_tradeoff",
            "must be an integer or null, not a string",
            id="a dial that is a string",
        ),
        pytest.param(
            router(enabled="no"),
            "plugins[0].enabled",
            "must be a boolean, not a string",
            id="enabled as a word",
        ),
        pytest.param(
            router(allowed=["a/*"]),
            "plugins[0].allowed",
            "there are allowed_models, excluded_models, cost_quality_tradeoff, enabled; "
            "did you mean 'allowed_models'?",
            id="a member that is misspelt",
        ),
        pytest.param(
            [{"id": "web"}, *router(enabled=False, exclude="a")],
            "plugins[1].exclude",
            "Unknown member of the plugin `auto-router` 'exclude'",
            id="a misspelt member of one that is switched off",
        ),
        pytest.param(
            [*router(), {"id": "web"}, *router()], "plugins[2]", "given more than once", id="the plugin twice"
        ),
    ],
)
def test_refused(plugins: Any, param: str, told: str) -> None:
    with pytest.raises(ApiError) as caught:
        asked(plugins)
    assert caught.value.status == 400
    assert caught.value.param == param
    assert told in caught.value.message
