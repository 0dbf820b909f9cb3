"""/admin/v1: the configuration in force, and the next one. Secrets are never shown.

GET  /admin/v1/registry              providers and models in force; those left out, and why
GET  /admin/v1/registry/diff         the files beside that, path by path, or their problems
GET  /admin/v1/weights               profiles and terms in force, and where each comes from
POST /admin/v1/reload?dry_run=true   takes the files; 422 with every problem when they are no good
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Router, get, post
from litestar.params import Parameter

from proxy.errors import ApiError
from proxy.server.audit import AUDITED, signer
from proxy.server.guards import needs_admin_key
from proxy.server.state import services

AnyRequest = Request[Any, Any, Any]
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@get("/registry", sync_to_thread=False)
def show_registry(request: AnyRequest) -> dict[str, Any]:
    """Providers and models in force, and the models that are left out."""
    return dict(services(request).registry())


@get("/registry/diff")
async def show_diff(request: AnyRequest) -> dict[str, Any]:
    """The files beside what is in force. Changes nothing."""
    scope: Any = request.scope
    return dict(await services(request).compare(signer(scope)))


@get("/weights", sync_to_thread=False)
def show_weights(request: AnyRequest) -> dict[str, Any]:
    """What decisions weigh in the worker that answers, and where it comes from."""
    return dict(services(request).weights())


@post("/reload", status_code=200)
async def reload(
    request: AnyRequest,
    dry_run: Annotated[str | None, Parameter(description="true: only say what would change")] = None,
) -> dict[str, Any]:
    """Reads the configuration anew: all of it or, with 422 and every problem, none."""
    scope: Any = request.scope
    here, dry = services(request), _dry(request)
    said = dict(await here.reload(signer(scope), dry))
    if not dry:
        here.audit.done(scope, "reload", "configuration", said["result"], new=said["epoch"])
    return said


def _dry(request: AnyRequest) -> bool:
    """Raises ApiError 400: a reload by a slip of the pen is none that was wanted."""
    given = dict(request.query_params)
    wanted = _FLAGS.get(str(given.pop("dry_run", "false")).lower())
    if given:
        name = next(iter(given))[:60]
        raise _invalid(name, f"Unknown parameter {name!r}: there is dry_run.")
    if wanted is None:
        raise _invalid("dry_run", "dry_run: write true or false.")
    return wanted


def _invalid(param: str, message: str) -> ApiError:
    return ApiError(400, message, code="invalid_parameter", param=param)


registry_router = Router(
    "/admin/v1",
    route_handlers=[show_registry, show_diff, show_weights, reload],
    guards=[needs_admin_key],
    opt={AUDITED: True},
    tags=["configuration"],
)
