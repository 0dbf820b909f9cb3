"""The front door: the hot route is answered here, everything else is handed to litestar.

A layer of litestar around the hot route would cost as much as the rest of the call.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager

from proxy.server.chat import PATH, ChatRoute
from proxy.server.types import App, Receive, Scope, Send


class Front:
    """The ASGI application that uvicorn runs."""

    def __init__(self, chat: ChatRoute, site: App, running: AbstractAsyncContextManager[None]) -> None:
        self._chat = chat
        self._site = site
        self._running = running
        """What must be up while requests are served."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """One connection event of ASGI: a request, or the process's lifespan."""
        kind = scope["type"]
        if kind == "http" and scope["path"] == PATH and scope["method"] == "POST":
            return self._chat(scope, receive, send)
        if kind == "lifespan":
            return self._lifespan(receive, send)
        return self._site(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._running.__aenter__()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._running.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})
