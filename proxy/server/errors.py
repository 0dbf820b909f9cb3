"""Whatever goes wrong on a plain route, said in OpenAI's shape and nothing else.

ApiError        as it is
HTTPException   litestar's own refusals (404, 405, 413, ...), by the table
Exception       500, a generic message; the traceback goes to the log only
"""

from __future__ import annotations

import logging
import re
from typing import Annotated, Any

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.params import Body
from litestar.types import ExceptionHandlersMap
from msgspec import DecodeError, Struct
from msgspec.structs import fields

from proxy.errors import ApiError
from proxy.server.once import body_kinds
from proxy.server.paths import plain
from proxy.server.stamp import id_of
from proxy.wire.refusal import unknown
from proxy.wire.reply import error_body

_log = logging.getLogger(__name__)

_CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "forbidden",
    404: "unknown_url",
    405: "method_not_allowed",
    413: "request_too_large",
    415: "unsupported_media_type",
    429: "rate_limit_exceeded",
}
"""Status of litestar's refusal -> our code."""

_PATH_LIMIT = 200
"""Characters of a path that are said back."""

_BODY = "data"
"""litestar's name for the whole body."""

AnyRequest = Request[Any, Any, Any]


def answer(error: ApiError) -> Response[bytes]:
    """The response that carries this error."""
    return Response(
        error_body(error),
        status_code=error.status,
        headers=dict(error.headers),
        media_type="application/json",
    )


def _api_error(_: AnyRequest, error: ApiError) -> Response[bytes]:
    return answer(error)


def _http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    found = refusal(request, error)
    return answer(found) if found is not None else _crash(request, error)


def refusal(request: AnyRequest, error: ApiError | HTTPException) -> ApiError | None:
    """What the caller is told of what is its own fault; None: the fault is ours."""
    if isinstance(error, ApiError):
        return error
    status, cause = error.status_code, getattr(error.__cause__, "__cause__", None)
    if status >= 500:
        return None
    if isinstance(cause, DecodeError):
        return _unreadable(str(cause))
    if stray := _UNKNOWN.search(_first(error).get("message", "")):
        return unknown("field", stray[1], _body_fields(request))
    message, param = _said(request, error)
    headers = tuple((error.headers or {}).items())
    return ApiError(status, message, code=_CODES.get(status, "invalid_request"), param=param, headers=headers)


def _unreadable(reason: str) -> ApiError:
    return ApiError(400, f"The body is not JSON that can be read: {reason}.", code="invalid_json")


def _said(request: AnyRequest, error: HTTPException) -> tuple[str, str | None]:
    """The message, and the field that it is about when litestar's validation names one."""
    method, path = request.scope["method"], plain(request.scope["path"])[:_PATH_LIMIT]
    if error.status_code == 404:
        return f"Unknown URL: {method} {path}.{_HINT if method == 'POST' else ''}", None
    if error.status_code == 405:
        return f"{path} does not take {method}.", None
    mistake = _first(error)
    return _invalid(mistake) if mistake else (error.detail, None)


_HINT = " Chat is at POST /v1/chat/completions, so a client's base URL ends in /v1."
"""Who posts to nowhere most likely has another base URL, or speaks /v1/responses."""

_UNKNOWN = re.compile(r"unknown field `(.*)`", re.DOTALL)
"""How msgspec says it."""


def _first(error: HTTPException) -> dict[str, Any]:
    """The first mistake that litestar's validation found; nothing where it was something else."""
    extra = error.extra
    return extra[0] if isinstance(extra, list) and extra and isinstance(extra[0], dict) else {}


def _body_fields(request: AnyRequest) -> list[str]:
    """The fields that the route's body may have, if it is a struct."""
    kinds = body_kinds(request.route_handler.parsed_data_field)
    return [field.encode_name for kind in kinds for field in fields(kind)]


def _invalid(mistake: dict[str, Any]) -> tuple[str, str | None]:
    key, message = mistake.get("key"), str(mistake.get("message"))
    if key != _BODY:
        return f"{message}.", key
    if message == f"'{key}'":  # litestar's way to say that there was none
        return "The body is missing: send a JSON object.", None
    return f"The body is not as it should be: {message}.", None


def not_json(_: AnyRequest, error: Exception) -> Response[bytes]:
    """For routes with a body: two ways in which bytes can fail to be JSON that litestar doesn't expect."""
    deep = isinstance(error, RecursionError)
    return answer(_unreadable("it is nested too deep" if deep else "it is not valid UTF-8"))


BODY_ERRORS: ExceptionHandlersMap = {RecursionError: not_json, UnicodeDecodeError: not_json}


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No fields at all: what is meant by one would not be done."""


NoBody = Annotated[Nothing | None, Body(description="nothing, or {}")]


def _crash(request: AnyRequest, error: Exception) -> Response[bytes]:
    name = id_of(request.scope)
    _log.error("request %s failed", name, exc_info=error)
    return answer(
        ApiError(
            500,
            f"Something went wrong here. The log says more under request id {name}.",
            type="server_error",
            code="internal_error",
        )
    )


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    ApiError: _api_error,
    HTTPException: _http_error,
    Exception: _crash,
}
"""litestar takes the nearest class: without the second row, the third would turn its 404 into 500."""
