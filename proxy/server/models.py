"""GET /v1/models and /v1/models/{id}: what a caller may write into `model`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from litestar import Request, Router, get

from proxy.errors import ApiError
from proxy.server.guards import needs_key
from proxy.server.state import Services, services
from proxy.types import Model, Price

Entry = dict[str, Any]


@get("/", sync_to_thread=False)
def list_models(request: Request[Any, Any, Any]) -> Entry:
    """`auto` and its profiles, then the models that are ready."""
    return {"object": "list", "data": list(_entries(services(request)))}


@get("/{model_id:path}", sync_to_thread=False)
def retrieve_model(request: Request[Any, Any, Any]) -> Entry:
    """One of them, by id or alias. Raises ApiError 404."""
    here = services(request)
    wanted = request.path_params["model_id"].removeprefix("/")
    name = here.names().get(wanted, wanted)
    for entry in _entries(here):
        if entry["id"] == name:
            return entry
    raise model_not_found(wanted, [entry["id"] for entry in _entries(here)])


models_router = Router(
    "/v1/models",
    route_handlers=[list_models, retrieve_model],
    guards=[needs_key],
    include_in_schema=False,
)


def named(name: str, names: Mapping[str, str]) -> str:
    """The id of what may be an alias. Raises ApiError 404."""
    if name not in names:
        raise model_not_found(name, names)
    return names[name]


def model_not_found(name: str, known: Iterable[str] = ()) -> ApiError:
    """No model of this name is ready; perhaps one of the `known` is meant."""
    near = get_close_matches(name[:200], list(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "GET /v1/models lists those that do."
    return ApiError(
        404, f"The model {name[:100]!r} does not exist here; {hint}", code="model_not_found", param="model"
    )


def _entries(here: Services) -> Iterator[Entry]:
    models = here.models()
    if models:
        for name in ("auto", *(f"auto:{profile}" for profile in here.profiles())):
            yield _auto(name, models, here.started)
    for model in models:
        yield _entry(model, here.started)


def _auto(name: str, models: Sequence[Model], created: int) -> Entry:
    """All that some ready model can do: requests are only given to models that can serve them."""
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "kuro",
        "context_window": max(model.context_window for model in models),
        "supports": sorted({need for model in models for need in model.supports}),
        "price": None,
    }


def _entry(model: Model, created: int) -> Entry:
    return {
        "id": model.id,
        "object": "model",
        "created": created,
        "owned_by": model.provider,
        "context_window": model.context_window,
        "supports": sorted(model.supports),
        "reasoning_effort": model.reasoning_effort,
        "price": _price(model.price),
    }


def _price(price: Price | None) -> dict[str, float] | None:
    """USD per million tokens; None is unknown."""
    if price is None:
        return None
    cached = {} if price.cached_input is None else {"cached_input": price.cached_input}
    return {"input": price.input, "output": price.output, **cached}
