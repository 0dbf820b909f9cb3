"""Is it alive, is it ready, how is it doing: answered from memory, without asking any upstream."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, get, head

from proxy import __version__
from proxy.server.guards import needs_key_for_metrics
from proxy.server.state import Services, services

AnyRequest = Request[Any, Any, Any]

_ENDPOINTS = {
    "chat": "POST /v1/chat/completions",
    "models": "GET /v1/models",
    "feedback": "POST /v1/feedback",
    "alive": "GET /healthz",
    "ready": "GET /readyz",
    "metrics": "GET /metrics",
    "admin": "GET /admin/v1/openapi.json",
}


@get("/", sync_to_thread=False)
def welcome() -> dict[str, Any]:
    """What this is, for who opens it in a browser."""
    return {"name": "kuro-proxy", "version": __version__, "endpoints": _ENDPOINTS}


@get("/healthz", sync_to_thread=False)
def alive() -> dict[str, str]:
    """The process answers; restart it when it doesn't."""
    return {"status": "alive"}


@get("/readyz", sync_to_thread=False)
def ready(request: AnyRequest) -> Response[dict[str, Any]]:
    """Whether new calls should come here: 200, or 503 with the reason."""
    here = services(request)
    reason = _unready(here)
    if reason is None:
        return Response({"status": "ready", "models": len(_in_service(here))})
    return Response({"status": "unready", "reason": reason}, status_code=503)


@get("/metrics", guards=[needs_key_for_metrics], sync_to_thread=False)
def metrics(request: AnyRequest) -> Response[bytes]:
    """The Prometheus exposition."""
    body, content_type = services(request).metrics()
    return Response(body, headers={"content-type": content_type})


@head(["/", "/healthz"], sync_to_thread=False)
def probe_alive() -> None:
    """As GET, for probes that ask for the head only."""


@head("/readyz", sync_to_thread=False)
def probe_ready(request: AnyRequest) -> Response[None]:
    """As GET, for probes that ask for the head only."""
    return Response(None, status_code=200 if _unready(services(request)) is None else 503)


status_router = Router(
    "/",
    route_handlers=[welcome, alive, ready, metrics, probe_alive, probe_ready],
    include_in_schema=False,
)


def _unready(here: Services) -> str | None:
    if here.draining():
        return "draining"
    if not here.models():
        return "no_ready_model"
    return None if _in_service(here) else "no_model_in_service"


def _in_service(here: Services) -> list[str]:
    """Models that an operator lets be asked."""
    orders = here.orders()
    return [model.id for model in here.models() if not orders.bars(model.id)]
