"""/admin/v1/models: how each model is doing, and a hand on it. The admin API has keys of its own.

GET  /admin/v1/models               every ready model: in service or not, its circuit, what was observed of it
GET  /admin/v1/models/ID            one of them
POST /admin/v1/models/ID/circuit    {"action": "open" | "close" | "reset"}
POST /admin/v1/models/ID/disable    {"until": ... | "for": ..., "reason": ...}, all may be left out
POST /admin/v1/models/ID/enable
GET  /admin/v1/openapi.json         this, and all else below /admin/v1, as OpenAPI

What is ordered reaches every worker before it is answered, and those that start later. Slashes of an id stand
as they are, or as %2F.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any

from litestar import Request, Router, get, post
from litestar.params import Body, PathParameter
from msgspec import Struct, field, to_builtins

from proxy.errors import ApiError
from proxy.server.audit import AUDITED, signer
from proxy.server.errors import BODY_ERRORS, NoBody
from proxy.server.guards import knows_its_query, needs_admin_key
from proxy.server.health import ModelState, ModelStates, state, states
from proxy.server.models import named
from proxy.server.orders import LONGEST, REASON_LIMIT, Action, Command
from proxy.server.paths import plain
from proxy.server.state import Services, services
from proxy.wire.when import moment, span

AnyRequest = Request[Any, Any, Any]
ModelId = Annotated[str, PathParameter(description="Id or alias; its slashes as they are, or as %2F.")]


class Ordered(Struct, frozen=True):
    """What came of an order."""

    result: str
    """`changed` or `unchanged`."""
    kept: bool | None
    """Whether it will outlast a restart; null: it was never meant to."""
    model: ModelState
    silent: tuple[str, ...] = ()
    """Workers that have not said in time that they did it. They do it as soon as they can."""
    object: str = "order"


class CircuitAction(StrEnum):
    """What an operator does to a circuit."""

    OPEN = "open"
    CLOSE = "close"
    RESET = "reset"


class CircuitCommand(Struct, frozen=True, forbid_unknown_fields=True):
    """`open`: no calls; `close`: all calls; whatever the results. `reset`: by its own judgement again."""

    action: CircuitAction


class DisableCommand(Struct, frozen=True, forbid_unknown_fields=True):
    """Until when; with neither `until` nor `for` until it is enabled."""

    until: str | float | None = None
    """ISO 8601 (UTC unless it says otherwise) or Unix time."""
    span: str | float | None = field(default=None, name="for")
    """Seconds, or `90s`, `15m`, `1h`, `7d`."""
    reason: str = ""
    """For readers, at most 200 characters."""


@get("/models")
async def list_states(request: AnyRequest) -> ModelStates:
    """Every ready model with its circuit and what was observed of it."""
    here = services(request)
    heard = await here.look()
    return states(here.models(), here.orders(), heard)


@get("/models/{model_id:str}")
async def show_state(request: AnyRequest, model_id: ModelId) -> ModelState:
    """One ready model, by id or alias."""
    return await _shown(services(request), _named(services(request), model_id))


@post("/models/{model_id:str}/circuit", status_code=200, exception_handlers=BODY_ERRORS)
async def command_circuit(
    request: AnyRequest, model_id: ModelId, data: Annotated[CircuitCommand, Body()]
) -> Ordered:
    """Opens, closes or resets a model's circuit. A restart forgets it."""
    return await _order(request, Action(data.action.value), model_id)


@post("/models/{model_id:str}/disable", status_code=200, exception_handlers=BODY_ERRORS)
async def disable_model(
    request: AnyRequest, model_id: ModelId, data: Annotated[DisableCommand | None, Body()] = None
) -> Ordered:
    """Takes a model out of service, across restarts too."""
    wanted = data or DisableCommand()
    return await _order(request, Action.DISABLE, model_id, _end(wanted, time.time()), _reason(wanted))


@post("/models/{model_id:str}/enable", status_code=200, exception_handlers=BODY_ERRORS)
async def enable_model(request: AnyRequest, model_id: ModelId, data: NoBody = None) -> Ordered:
    """Takes a model back into service."""
    return await _order(request, Action.ENABLE, model_id)


async def _order(
    request: AnyRequest, action: Action, name: str, until: float | None = None, reason: str = ""
) -> Ordered:
    scope: Any = request.scope
    here = services(request)
    model = _named(here, name)
    ruling, silent = await here.order(Command(action, model, signer(scope), until, reason))
    result = "changed" if ruling.changed else "unchanged"
    old, new = to_builtins(ruling.old), to_builtins(ruling.new)
    here.audit.done(scope, action.value, model, result, old=old, new=new)
    return Ordered(result, ruling.kept, await _shown(here, model), silent)


async def _shown(here: Services, model: str) -> ModelState:
    known = {each.id: each for each in here.models()}
    heard = await here.look()
    return state(model, known, here.orders(), heard)


def _named(here: Services, name: str) -> str:
    """The id that is meant, also of a model that is only disabled. Raises ApiError 404."""
    known = here.names() | {model: model for model in here.orders().disabled}
    return named(plain(name), known)


def _end(command: DisableCommand, now: float) -> float | None:
    """Unix time; None: until further notice. Raises ApiError 400."""
    if command.until is not None and command.span is not None:
        raise _invalid("for", "`until` and `for` exclude each other: send one of them.")
    if command.until is None and command.span is None:
        return None
    name = "for" if command.until is None else "until"
    try:
        end = now + span(str(command.span)) if command.until is None else moment(str(command.until), now)
    except ValueError as error:
        raise _invalid(name, f"{error}.") from None
    if not now < end <= now + LONGEST:
        raise _invalid(name, f"`{name}` must lie ahead, by {LONGEST / 86400:.0f} days at most.")
    return end


def _reason(command: DisableCommand) -> str:
    reason = command.reason.strip()
    if len(reason) > REASON_LIMIT or not reason.isprintable():
        raise _invalid("reason", f"`reason` is one line of at most {REASON_LIMIT} characters.")
    return reason


def _invalid(param: str, message: str) -> ApiError:
    return ApiError(400, message, code="invalid_value", param=param)


admin_router = Router(
    "/admin/v1",
    route_handlers=[list_states, show_state, command_circuit, disable_model, enable_model],
    guards=[needs_admin_key, knows_its_query],
    opt={AUDITED: True},
    tags=["models"],
)
