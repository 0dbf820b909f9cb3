"""The router of a configuration: one that looks at this process's circuits and observations, or one apart.

build      Settings, Live -> Router                 for calls
explainer  Settings -> row -> decision              `kuro explain`: all are healthy, nothing was seen
replayer   Settings -> record -> decision again     `kuro replay`
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from random import random
from typing import Any

import msgspec
from msgspec import Struct

from proxy.routing.classify import classifier
from proxy.routing.climb import Memory
from proxy.routing.explain import decide
from proxy.routing.replay import Replay
from proxy.routing.router import Router, new_memory
from proxy.routing.standing import Standing, View
from proxy.settings import Settings
from proxy.wire.chat import parse
from proxy.wire.refusal import bad


class Live(Struct, frozen=True):
    """What a router looks at beside the configuration."""

    memory: Memory
    shut: Callable[[frozenset[str]], frozenset[str]]
    view: View
    moved: Callable[[], Standing]
    obstacle: Callable[[str], str]


def build(settings: Settings, live: Live) -> Router:
    """The router of a configuration. Takes a tenth of a second where patterns have to be compiled."""
    lexicon = settings.intents
    return Router(
        settings.routing,
        settings.models,
        [(name, spec.description) for name, spec in lexicon.intents.items()],
        classifier(lexicon).classify,
        live.memory,
        live.shut,
        live.view,
        {name: spec.needs for name, spec in lexicon.intents.items()},
        live.moved,
        random,
        live.obstacle,
        {name: spec.completion_tokens for name, spec in lexicon.intents.items()},
    )


def explainer(settings: Settings) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What `kuro explain` asks for each row: a chat body, or `{"prompt": ...}`. Raises ApiError."""
    return partial(explained, _apart(settings))


def explained(router: Router, row: Mapping[str, Any]) -> dict[str, Any]:
    """One row's decision. Raises ApiError."""
    return decide(router, parse(msgspec.json.encode(_body(row))))


def replayer(settings: Settings) -> Replay:
    """What `kuro replay` gives its records to."""
    from proxy.dispatch.call import cost  # brings asyncio along, which nobody needs who only decides

    classify = classifier(settings.intents).classify
    return Replay(_apart(settings), settings.models, settings.epoch, classify, cost)


def _apart(settings: Settings) -> Router:
    """One that takes every model for healthy and has seen nothing."""
    memory = new_memory(settings.routing, time.monotonic)
    return build(settings, Live(memory, lambda _: frozenset(), lambda _: None, dict, lambda _: "")).apart()


def _body(row: Mapping[str, Any]) -> dict[str, Any]:
    body = {"model": "auto", **row}
    if "prompt" in body and "messages" in body:
        raise bad("`prompt` and `messages` exclude each other: give one.", "invalid_value", "prompt")
    if "prompt" in body:
        body["messages"] = [{"role": "user", "content": body.pop("prompt")}]
    return body
