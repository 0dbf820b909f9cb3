"""The front door: the hot route answers its connection directly, everything else is handed to litestar.

POST, the very path     ChatRoute, called by the protocol itself    (`direct`)
... with a query        ChatRoute, by way of ASGI
... spelt otherwise     ChatRoute, by way of litestar               (`spelt`)
all the rest            litestar
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from proxy.server.chat import PATH, ChatRoute
from proxy.server.cycle import CYCLE, Cycle
from proxy.server.types import App, Receive, Scope, Send


class Front:
    """The ASGI application that uvicorn runs."""

    def __init__(self, chat: ChatRoute, site: App, running: AbstractAsyncContextManager[None]) -> None:
        self.direct = {(b"POST", PATH.encode()): chat}
        """(method, target) -> who answers without ASGI."""
        self._chat = spelt(chat)
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


def spelt(chat: Callable[[Cycle], Awaitable[None]]) -> App:
    """The hot route as an application, for requests whose target is another spelling of its path."""

    def application(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return chat(scope["extensions"][CYCLE])

    return application
