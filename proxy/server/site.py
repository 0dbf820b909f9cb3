"""Every route but the hot one, as one litestar application."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, asgi
from litestar.datastructures import State
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler
from litestar.types import Message, Receive, Scope, Send

from proxy.server.admin import admin_router, admin_schema
from proxy.server.calls import calls_router
from proxy.server.chat import PATH as CHAT
from proxy.server.errors import EXCEPTION_HANDLERS
from proxy.server.explain import explain_router
from proxy.server.models import models_router
from proxy.server.pages import page_routes
from proxy.server.stamp import stamp
from proxy.server.state import Services
from proxy.server.status import status_router
from proxy.server.types import App

_CHAT_METHODS = {"allow": "POST, OPTIONS"}
_MAX_BODY = 64 * 1024
"""Bytes of a command to the admin API; chat bodies have their own, larger limit."""


def create_site(services: Services, chat: App) -> Litestar:
    """The plain routes. `chat` is the hot route: other spellings of its path arrive here."""

    async def stamped(message: Message, scope: Scope) -> None:
        stamp(message, scope, services.access)  # type: ignore[arg-type]  # both are dicts

    return Litestar(
        route_handlers=[
            status_router,
            models_router,
            admin_router,
            calls_router,
            explain_router,
            *page_routes,
            _chat_route(chat),
        ],
        state=State({"services": services}),
        before_send=[stamped],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=admin_schema(),
        logging_config=None,
        request_max_body_size=_MAX_BODY,
    )


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
