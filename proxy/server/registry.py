"""/admin/v1: the configuration in force, and the next one. Secrets are never shown.

GET  /admin/v1/registry              providers and models in force; those left out, and why
GET  /admin/v1/registry/diff         the files beside that, path by path, or their problems
POST /admin/v1/reload?dry_run=true   takes the files; 422 with every problem when they are no good
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Router, get, post
from litestar.params import Parameter

from proxy.errors import ApiError
from proxy.server.audit import AUDITED, signer
from proxy.server.errors import BODY_ERRORS, NoBody
from proxy.server.guards import knows_its_query, needs_admin_key
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


@post("/reload", status_code=200, exception_handlers=BODY_ERRORS)
async def reload(
    request: AnyRequest,
    data: NoBody = None,
    dry_run: Annotated[str | None, Parameter(description="true: only say what would change")] = None,
) -> dict[str, Any]:
    """Reads the configuration anew: all of it or, with 422 and every problem, none."""
    scope: Any = request.scope
    here, dry = services(request), _dry(dry_run)
    said = dict(await here.reload(signer(scope), dry))
    if not dry:
        told = {
            "old": said["epoch_before"],
            "new": said["epoch"],
            "models": said["models"],
            "other": said["other"],
        }
        here.audit.done(scope, "reload", "configuration", said["result"], **told)
    return said


def _dry(text: str | None) -> bool:
    """Raises ApiError 400: a reload by a slip of the pen is none that was wanted."""
    wanted = _FLAGS.get("false" if text is None else text.lower())
    if wanted is None:
        raise ApiError(400, "dry_run: write true or false.", code="invalid_parameter", param="dry_run")
    return wanted


registry_router = Router(
    "/admin/v1",
    route_handlers=[show_registry, show_diff, reload],
    guards=[needs_admin_key, knows_its_query],
    opt={AUDITED: True},
    tags=["configuration"],
)
