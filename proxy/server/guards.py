"""Who may pass to a route, and with what. Guards run on the route that was matched, whatever its spelling."""

from __future__ import annotations

from typing import Any

from litestar.handlers import BaseRouteHandler

from proxy.errors import ApiError
from proxy.server.audit import sign
from proxy.server.auth import authenticate_admin
from proxy.server.state import Connection, caller_headers, services
from proxy.wire.refusal import unknown


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


_NO_PARAMETERS = frozenset({"request", "data"})
"""What litestar hands to a handler by these names."""


def knows_its_query(connection: Connection, handler: BaseRouteHandler) -> None:
    """Every parameter of the query is one that the route reads, and given once. Raises ApiError 400.

    A filter that nobody reads would show everything, and look as if it showed what was asked for.
    """
    in_path = connection.path_params
    known = [name for name in handler.parsed_fn_signature.parameters if name not in _NO_PARAMETERS]
    seen: set[str] = set()
    for name, _ in connection.query_params.multi_items():
        if name not in known or name in in_path:
            raise unknown("parameter", name, [each for each in known if each not in in_path])
        if name in seen:
            raise ApiError(400, f"{name} is given more than once.", code="duplicate_parameter", param=name)
        seen.add(name)


def _asks_for_more(connection: Connection) -> bool:
    """OPTIONS tells nobody anything but the methods, and browsers send it without a key."""
    return connection.scope["method"] != "OPTIONS"  # type: ignore[typeddict-item]  # guards see HTTP only
