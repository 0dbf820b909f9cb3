"""Every route but the hot one, as one litestar application."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, asgi
from litestar.datastructures import State
from litestar.exceptions import HTTPException, MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler
from litestar.types import Message, Receive, Scope, Send

from proxy.errors import ApiError
from proxy.server.admin import admin_router
from proxy.server.audit import AUDITED
from proxy.server.calls import calls_router
from proxy.server.chat import PATH as CHAT
from proxy.server.errors import EXCEPTION_HANDLERS, refusal
from proxy.server.explain import explain_router
from proxy.server.feedback import give_feedback
from proxy.server.models import models_router
from proxy.server.once import Once
from proxy.server.pages import page_routes
from proxy.server.paths import folded
from proxy.server.registry import registry_router
from proxy.server.schema import admin_schema
from proxy.server.stamp import stamp
from proxy.server.state import Services
from proxy.server.status import status_router
from proxy.server.types import App
from proxy.server.weights import weights_router

_CHAT_METHODS = {"allow": "POST, OPTIONS"}
_ADMIN = "/admin/"
_MAX_BODY = 64 * 1024
"""Bytes of a command to the admin API; chat bodies have their own, larger limit."""


class Site(Litestar):
    """litestar, but that an id with slashes is one segment of a path."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One connection event of ASGI."""
        if scope["type"] == "http":
            scope["path"] = folded(scope["path"])
        await super().__call__(scope, receive, send)


def create_site(services: Services, chat: App) -> Litestar:
    """The plain routes. `chat` is the hot route: other spellings of its path arrive here."""

    async def stamped(message: Message, scope: Scope) -> None:
        stamp(message, scope, services.access)  # type: ignore[arg-type]  # both are dicts

    async def refused(error: Exception, scope: Scope) -> None:
        if not isinstance(error, ApiError | HTTPException):
            return
        told = refusal(Request(scope), error)
        if told is not None and _is_of_note(told.status, scope):
            services.audit.refused(scope, told)  # type: ignore[arg-type]  # both are dicts

    return Site(
        route_handlers=[
            status_router,
            models_router,
            give_feedback,
            admin_router,
            registry_router,
            weights_router,
            calls_router,
            explain_router,
            *page_routes,
            _chat_route(chat),
        ],
        state=State({"services": services}),
        before_send=[stamped],
        after_exception=[refused],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=admin_schema(),
        logging_config=None,
        request_class=Once,
        request_max_body_size=_MAX_BODY,
    )


def _is_of_note(status: int, scope: Scope) -> bool:
    """A wrong admin key, or a change that was not made."""
    if status == 401:
        return scope["path"].startswith(_ADMIN)
    handler: Any = scope.get("route_handler")
    return handler is not None and AUDITED in handler.opt and scope.get("method") == "POST"


def _chat_route(chat: App) -> ASGIRouteHandler:
    @asgi(CHAT, copy_scope=False)
    async def chat_route(scope: Scope, receive: Receive, send: Send) -> None:
        method: Any = scope.get("method")
        if method == "POST":
            await chat(scope, receive, send)  # type: ignore[arg-type]  # litestar's names for the same
        elif method == "OPTIONS":
            await send({"type": "http.response.start", "status": 204, "headers": _pairs(_CHAT_METHODS)})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            raise MethodNotAllowedException(headers=dict(_CHAT_METHODS))

    return chat_route


def _pairs(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
