"""What every answer of a plain route carries: its request id, and what a page in a browser may do with it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from proxy.server.cors import cors_headers, is_preflight, preflight_headers
from proxy.server.headers import request_id
from proxy.server.policy import AccessPolicy
from proxy.server.state import caller_headers

_ID = "kuro_request_id"
_ADMIN = "/admin"
"""No page from elsewhere may call what is below."""


def id_of(scope: Mapping[str, Any]) -> str:
    """The request's id: the caller's, or one that is made once and kept in the scope's `state`."""
    state = scope["state"]
    if _ID not in state:
        state[_ID] = request_id(caller_headers(scope))
    found: str = state[_ID]
    return found


def stamp(message: MutableMapping[str, Any], scope: Mapping[str, Any], access: AccessPolicy) -> None:
    """Adds the headers to an answer's start; one that has an id already was stamped by the hot route."""
    if message["type"] != "http.response.start" or scope["type"] != "http":
        return
    head = list(message.get("headers", ()))
    if all(name != b"x-request-id" for name, _ in head):
        headers = caller_headers(scope)
        head.append((b"x-request-id", id_of(scope).encode("ascii")))
        if not scope["path"].startswith(_ADMIN):
            head += _for_pages(scope["method"], headers, access)
        message["headers"] = head


def _for_pages(method: str, headers: dict[str, str], access: AccessPolicy) -> tuple[tuple[bytes, bytes], ...]:
    if is_preflight(method, headers):
        return preflight_headers(access, headers)
    return cors_headers(access, headers)
