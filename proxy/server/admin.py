"""/admin/v1: how each model is doing, and a hand on its circuit. Has a key of its own.

GET  /admin/v1/models               every ready model with its circuit and what was observed of it
GET  /admin/v1/models/ID            one of them
POST /admin/v1/models/ID/circuit    {"action": "open" | "close" | "reset"}
POST /admin/v1/reload               reads the configuration anew; 422 with every problem when it is no good
GET  /admin/v1/schema               this, as OpenAPI
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from litestar import Request, Response, Router, get, post
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import Body
from msgspec import Struct

from proxy import __version__
from proxy.server.errors import not_json
from proxy.server.guards import needs_admin_key
from proxy.server.models import model_not_found
from proxy.server.state import Services, services
from proxy.types import Model

AnyRequest = Request[Any, Any, Any]
_CIRCUIT = "/circuit"


class CircuitAction(StrEnum):
    """What an operator does to a circuit."""

    OPEN = "open"
    """No calls, whatever its results were."""
    CLOSE = "close"
    """Calls, whatever its results were."""
    RESET = "reset"
    """Back to its own judgement, with nothing held against it."""


class CircuitCommand(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/v1/models/ID/circuit."""

    action: CircuitAction


@get("/models", sync_to_thread=False)
def list_states(request: AnyRequest) -> dict[str, Any]:
    """Every ready model with its circuit and what was observed of it."""
    here = services(request)
    return {"object": "list", "data": [_state(here, model) for model in here.models()]}


@get("/models/{model_id:path}", sync_to_thread=False)
def show_state(request: AnyRequest) -> dict[str, Any]:
    """One ready model with its circuit and what was observed of it."""
    here = services(request)
    return _state(here, _model(here, request.path_params["model_id"].removeprefix("/")))


# An id holds slashes, so that `/circuit` can only be told from it by its place at the end.
@post(
    "/models/{target:path}",
    status_code=200,
    sync_to_thread=False,
    exception_handlers={RecursionError: not_json, UnicodeDecodeError: not_json},
)
def command_circuit(request: AnyRequest, data: Annotated[CircuitCommand, Body()]) -> dict[str, Any]:
    """Opens, closes or resets a circuit. `target` is `ID/circuit`, with an id or alias of a ready model."""
    target = request.path_params["target"]
    if not target.endswith(_CIRCUIT):
        raise NotFoundException
    here = services(request)
    model = _model(here, target.removeprefix("/").removesuffix(_CIRCUIT))
    _actions(here)[data.action](model.id)
    return _state(here, model)


@post("/reload", status_code=200)
async def reload(request: AnyRequest) -> dict[str, Any]:
    """Reads the configuration anew: all of it or, with 422 and every problem, none."""
    return dict(await services(request).reload())


def _actions(here: Services) -> dict[CircuitAction, Any]:
    return {
        CircuitAction.OPEN: here.open_circuit,
        CircuitAction.CLOSE: here.close_circuit,
        CircuitAction.RESET: here.reset_circuit,
    }


def _model(here: Services, name: str) -> Model:
    for model in here.models():
        if name == model.id or name in model.aliases:
            return model
    raise model_not_found(name)


def _state(here: Services, model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "provider": model.provider,
        "upstream_model": model.upstream_model,
        "aliases": model.aliases,
        "circuit": here.circuits().get(model.id),
        "observed": here.observed().get(model.id),
    }


def _only_our_own_404(response: Response[Any]) -> Response[Any]:
    """litestar answers unknown pages beside the schema with HTML of its own."""
    if response.status_code == 404:
        raise NotFoundException
    return response


admin_router = Router(
    "/admin/v1",
    route_handlers=[list_states, show_state, command_circuit, reload],
    guards=[needs_admin_key],
)


def admin_schema() -> OpenAPIConfig:
    """OpenAPI of the admin routes, behind the same key, as JSON: viewers load scripts from elsewhere."""
    return OpenAPIConfig(
        title="Kuro proxy, admin API",
        version=__version__,
        use_handler_docstrings=True,
        render_plugins=[JsonRenderPlugin(path="/")],
        openapi_router=Router(
            "/admin/v1/schema",
            route_handlers=[],
            guards=[needs_admin_key],
            after_request=_only_our_own_404,
            include_in_schema=False,
        ),
    )
