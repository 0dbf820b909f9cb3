"""What a caller is told when a request can't be planned at all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from proxy.errors import ApiError
from proxy.routing.pool import WISHES
from proxy.types import Features, Model, Need

COME_BACK = 60
"""Seconds after which it is worth looking whether somebody has set a key."""

_FIELDS = {
    Need.TOOLS: "tools",
    Need.JSON_SCHEMA: "response_format",
    Need.LOGPROBS: "logprobs",
}
"""Which field of the body makes which need; `messages` makes the others."""


def unknown(name: str, param: str, known: Sequence[str]) -> ApiError:
    """404: no model or profile of this name."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"GET /v1/models lists {len(known)} names."
    return ApiError(
        404, f"The model {name[:200]!r} does not exist here. {hint}", code="model_not_found", param=param
    )


def not_a_model(name: str) -> ApiError:
    """400: `models` is an explicit plan, and `auto` is none."""
    return ApiError(
        400,
        f"`models` lists models by name; {name!r} is for `model`, without a list.",
        code="invalid_value",
        param="models",
    )


def nobody(models: Iterable[Model], features: Features, which: str = "ready") -> ApiError:
    """503 when no model is ready; else 400, and why none of them can serve this request.

    `which`: of which models these are all.
    """
    models = tuple(models)
    if not models:
        return ApiError(
            503,
            "No model is ready: set a provider's API key, then see `kuro check`.",
            type="server_error",
            code="no_healthy_upstream",
            headers=(("retry-after", str(COME_BACK)), ("x-should-retry", "false")),
        )
    needs = features.needs - WISHES
    windows = [model.context_window for model in models if needs <= model.supports]
    return _too_long(features, max(windows), which) if windows else _unsupported(models, features, which)


def _too_long(features: Features, largest: int, which: str) -> ApiError:
    return ApiError(
        400,
        f"This request has about {features.prompt_tokens} tokens; the largest context window of a {which} "
        f"model that could serve it is {largest} tokens.",
        code="context_length_exceeded",
        param="messages",
    )


def _unsupported(models: Sequence[Model], features: Features, which: str) -> ApiError:
    needs = features.needs - WISHES
    lacking = sorted(needs.difference(*(model.supports for model in models)))
    # Where each is supported by somebody, it is their coming together that nobody supports.
    wanted = lacking or sorted(needs)
    return ApiError(
        400,
        f"No {which} model supports what this request needs: {' and '.join(wanted)}.",
        code="unsupported_capability",
        param=_FIELDS.get(wanted[0], "messages"),
    )
