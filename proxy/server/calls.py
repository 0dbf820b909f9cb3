"""/admin/v1/calls: what became of former calls, from the call log.

GET /admin/v1/calls         summaries, latest first; ?model= intent= outcome= failed= since= until=
                            request_id= session= key= before= after= limit=
GET /admin/v1/calls/ID      the whole record of one call
GET /admin/v1/trends        by model: how attempts went lately, in sixty steps; ?since=
GET /admin/v1/spend         by day and model: calls, tokens, cost, wasted, judge, saved; ?since= until=
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import time
from typing import Annotated, Any

from litestar import Request, Router, get
from litestar.params import Parameter
from msgspec.structs import replace

from proxy.errors import ApiError
from proxy.record import OUTCOMES, Query
from proxy.server.guards import knows_its_query, needs_admin_key
from proxy.server.headers import recorded_session
from proxy.server.state import Services, services
from proxy.wire.when import FORMS, moment

AnyRequest = Request[Any, Any, Any]
MOST = 1000
"""Calls of one page."""
STEPS = 60
"""Of a trend."""
DAYS_30 = 30 * 86400.0

SESSION = "its 24 hex digits in a record; or, of one key, the caller's own name for it"
_TEXT = Annotated[str | None, Parameter(description="as it was recorded")]
_WHEN = Annotated[str | None, Parameter(description=FORMS)]


@get("/calls", status_code=200)
async def list_calls(
    request: AnyRequest,
    model: _TEXT = None,
    intent: _TEXT = None,
    outcome: Annotated[str | None, Parameter(description=f"one of {', '.join(OUTCOMES)}")] = None,
    failed: Annotated[str | None, Parameter(description="true: only calls that failed")] = None,
    since: _WHEN = None,
    until: _WHEN = None,
    request_id: Annotated[str | None, Parameter(description="its beginning")] = None,
    session: Annotated[str | None, Parameter(description=SESSION)] = None,
    key: Annotated[str | None, Parameter(description="the name of the caller's key")] = None,
    before: Annotated[str | None, Parameter(description="`next` of the page before")] = None,
    after: Annotated[str | None, Parameter(description="`cursor` of the latest that is known")] = None,
    limit: Annotated[str | None, Parameter(description=f"1 to {MOST}")] = None,
) -> dict[str, Any]:
    """Former calls, latest first."""
    here = services(request)
    query = read_query(request.query_params, time())
    if query.session is not None:
        query = replace(query, session=_recorded(query.session, query.key, here))
    here.flush()
    page = await asyncio.to_thread(here.history.find, query)
    return {"object": "list", "data": page.calls, "next": page.next, "source": page.source}


@get("/calls/{call_id:str}", status_code=200)
async def show_call(request: AnyRequest) -> dict[str, Any]:
    """The whole record of one call, by its request id, with its decision as it would be taken now."""
    here = services(request)
    name = request.path_params["call_id"]
    here.flush()
    record = await asyncio.to_thread(here.history.record, name)
    if record is None:
        raise ApiError(404, f"No call {name[:128]!r} is known, or it was forgotten.", code="call_not_found")
    return {**record, "decision": here.decided_again(record)}


@get("/trends", status_code=200)
async def show_trends(request: AnyRequest, since: _WHEN = None) -> dict[str, Any]:
    """How attempts at each model went, by time; the last hour unless told otherwise."""
    here = services(request)
    now = time()
    query = read_query(request.query_params, now)
    begin = now - 3600.0 if query.since is None else query.since
    step = max((now - begin) / STEPS, 1.0)
    here.flush()
    data = await asyncio.to_thread(here.history.trends, begin, step)
    return {"object": "list", "step": step, "data": data}


@get("/spend", status_code=200)
async def show_spend(request: AnyRequest, since: _WHEN = None, until: _WHEN = None) -> dict[str, Any]:
    """What was spent by day (UTC) and model; the last 30 days unless told otherwise."""
    here = services(request)
    now = time()
    query = read_query(request.query_params, now)
    here.flush()
    begin = now - DAYS_30 if query.since is None else query.since
    end = now + 1.0 if query.until is None else query.until
    return {"object": "list", "data": await asyncio.to_thread(here.history.spend, begin, end)}


def read_query(given: Mapping[str, str], now: float) -> Query:
    """The query of a request's parameters, which the route knows. Raises ApiError 400 for a wrong value."""
    fields: dict[str, Any] = {}
    for name, text in given.items():
        try:
            fields[name] = _READ[name](text, now)
        except ValueError as error:
            raise _wrong(name, f"{error}") from None
    query = Query(**fields)
    if query.since is not None and query.until is not None and query.until <= query.since:
        raise _wrong("until", "lies before `since`: no call can be between them")
    return query


def _recorded(session: str, key: str | None, here: Services) -> str:
    keys = [each.name for each in here.access.keys] or [""]
    try:
        return recorded_session(session, keys if key is None else [key])
    except ValueError as error:
        raise _wrong("session", f"{error}") from None


def _wrong(param: str, message: str) -> ApiError:
    return ApiError(400, f"{param}: {message}.", code="invalid_parameter", param=param)


def _text(text: str, _: float) -> str:
    if not text:  # a variable that was not set would show everything
        raise ValueError("is empty: leave it out, or say what is looked for")
    return text


def _outcome(text: str, _: float) -> str:
    if text not in OUTCOMES:
        raise ValueError(f"{text[:40]!r} is not one of {', '.join(OUTCOMES)}")
    return text


def _flag(text: str, _: float) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"{text[:40]!r} is neither true nor false")
    return text.lower() in ("true", "1")


def _whole(text: str, least: int, most: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not least <= number <= most:
        raise ValueError(f"{text[:40]!r} is not a whole number from {least} to {most}")
    return number


_READ: dict[str, Callable[[str, float], Any]] = {
    **dict.fromkeys(("model", "intent", "request_id", "session", "key"), _text),
    "outcome": _outcome,
    "failed": _flag,
    "since": moment,
    "until": moment,
    "after": lambda text, _: _whole(text, 0, 2**63 - 1),
    "before": lambda text, _: _whole(text, 1, 2**63 - 1),
    "limit": lambda text, _: _whole(text, 1, MOST),
}
"""Parameter -> what reads it."""

calls_router = Router(
    "/admin/v1",
    route_handlers=[list_calls, show_call, show_trends, show_spend],
    guards=[needs_admin_key, knows_its_query],
    tags=["calls"],
)
