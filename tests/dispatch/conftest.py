from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

_SOCKETS = {"test_http1.py", "test_pool.py", "test_dial.py", "test_transport.py"}


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What touches sockets runs on both loops: transports differ in when they call what."""
    if item.path.name in _SOCKETS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
