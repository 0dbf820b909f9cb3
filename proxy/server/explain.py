"""POST /admin/v1/explain: how a prompt would be routed now, by circuits and observations as they are."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Router, post
from litestar.params import Body

from proxy.errors import ApiError
from proxy.server.errors import BODY_ERRORS
from proxy.server.guards import knows_its_query, needs_admin_key
from proxy.server.state import services

_MAX_BODY = 4 * 1024 * 1024
"""Bytes: a chat body with its tools and what was said so far."""


@post(
    "/explain",
    status_code=200,
    request_max_body_size=_MAX_BODY,
    sync_to_thread=False,
    exception_handlers=BODY_ERRORS,
)
def explain(
    request: Request[Any, Any, Any],
    data: Annotated[dict[str, Any], Body(description='a chat body, or `{"model", "prompt"}`')],
) -> dict[str, Any]:
    """The decision as `kuro explain` prints it."""
    if "prompt" in data and not isinstance(data["prompt"], str):
        raise ApiError(400, "'prompt' must be a string.", code="invalid_type", param="prompt")
    if "prompt" not in data and "messages" not in data:
        raise ApiError(
            400, "Give a 'prompt', or 'messages'.", code="missing_required_parameter", param="prompt"
        )
    return services(request).explain(data)


explain_router = Router(
    "/admin/v1", route_handlers=[explain], guards=[needs_admin_key, knows_its_query], tags=["decisions"]
)
