"""Which key opens a route. Guards run on the route that was matched, however its path was spelled."""

from __future__ import annotations

from typing import Any

from litestar.handlers import BaseRouteHandler

from proxy.server.audit import sign
from proxy.server.auth import authenticate_admin
from proxy.server.state import Connection, caller_headers, services


def needs_key(connection: Connection, _: BaseRouteHandler) -> None:
    """One of the callers' keys. Raises ApiError 401."""
    if _asks_for_more(connection):
        services(connection).keyring.authenticate(caller_headers(connection.scope))


def needs_admin_key(connection: Connection, _: BaseRouteHandler) -> None:
    """The admin API's own key. Raises ApiError 401."""
    if _asks_for_more(connection):
        scope: Any = connection.scope
        sign(scope, authenticate_admin(services(connection).admin, caller_headers(scope)))


def needs_key_for_metrics(connection: Connection, handler: BaseRouteHandler) -> None:
    """One of the callers' keys, if the operator wants it so. Raises ApiError 401."""
    if services(connection).access.metrics_need_key:
        needs_key(connection, handler)


def _asks_for_more(connection: Connection) -> bool:
    """OPTIONS tells nobody anything but the methods, and browsers send it without a key."""
    return connection.scope["method"] != "OPTIONS"  # type: ignore[typeddict-item]  # guards see HTTP only
