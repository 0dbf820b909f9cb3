"""/admin/v1/weights: what decisions weigh, and back to what the registry says.

GET  /admin/v1/weights         profiles and terms in force, and where each comes from
POST /admin/v1/weights/reset   {"model": ID} or {"all": true}: every worker forgets what `adapt` has taught
                               {"profiles": true}: profiles get the weights that they had before trials
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Router, get, post
from litestar.params import Body
from msgspec import Struct

from proxy.errors import ApiError
from proxy.server.audit import AUDITED, signer
from proxy.server.errors import BODY_ERRORS
from proxy.server.guards import knows_its_query, needs_admin_key
from proxy.server.learned import Forget, Moves
from proxy.server.models import named
from proxy.server.state import Services, services

AnyRequest = Request[Any, Any, Any]
ALL = "all models"
"""What the log calls them."""


class ResetCommand(Struct, frozen=True, forbid_unknown_fields=True):
    """One model, all, or the profiles: one of the three must be said."""

    model: str | None = None
    """Id or alias."""
    all: bool = False
    profiles: bool = False


class Reset(Struct, frozen=True):
    """What came of it."""

    result: str
    """`changed`; or `unchanged`: nothing was moved. What was about to move something is forgotten, too."""
    model: str | None
    """Null: all."""
    workers: dict[str, Moves]
    """Worker -> model -> term -> how far it had been moved."""
    silent: tuple[str, ...]
    """Workers that have not said in time that they did it. They do it as soon as they can."""
    object: str = "weights_reset"
    profiles: dict[str, Any] = {}
    """Where these were meant: profile -> the weights that it had until then."""


@get("/weights", sync_to_thread=False)
def show_weights(request: AnyRequest) -> dict[str, Any]:
    """What decisions weigh in the worker that answers, which it names, and where it comes from."""
    return dict(services(request).weights())


@post("/weights/reset", status_code=200, exception_handlers=BODY_ERRORS)
async def reset_weights(request: AnyRequest, data: Annotated[ResetCommand, Body()]) -> Reset:
    """Forgets what lasting evidence has moved (`adapt`), in every worker; or puts profiles' weights back."""
    scope: Any = request.scope
    here = services(request)
    if data.profiles and data.model is None and not data.all:
        return await _restored(here, scope)
    model = _meant(data, here.names())
    forgotten = await here.forget(Forget(model))
    moved = forgotten.by_worker()
    result = "changed" if moved else "unchanged"
    here.audit.done(scope, "reset weights", model or ALL, result, old=moved, new={})
    return Reset(result, model, moved, forgotten.silent)


async def _restored(here: Services, scope: Any) -> Reset:
    changed = here.weights().get("changed", {})
    old = {name: sides["now"] for name, sides in changed.items()}
    told = await here.restore(signer(scope))
    result = "changed" if old else "unchanged"
    new = {name: sides["written"] for name, sides in changed.items()}
    here.audit.done(scope, "reset weights", "profiles", result, old=old, new=new)
    return Reset(result, None, {}, tuple(told["silent"]), profiles=old)


def _meant(command: ResetCommand, names: dict[str, str]) -> str | None:
    """A registry id; None: all. Raises ApiError: 400, 404."""
    if command.profiles or (command.model is None) is not command.all:
        said = "Say one of the three: `model`, by id or alias, `all`: true, or `profiles`: true."
        raise ApiError(400, said, code="invalid_value", param="model")
    return None if command.model is None else named(command.model, names)


weights_router = Router(
    "/admin/v1",
    route_handlers=[show_weights, reset_weights],
    guards=[needs_admin_key, knows_its_query],
    opt={AUDITED: True},
    tags=["configuration"],
)
