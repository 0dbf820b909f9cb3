"""POST /v1/feedback {"request_id": ..., "score": ...}: what a caller thinks of an answer that it got.

`score` is 0 (useless) to 1 (just right), or a thumb: 1 up, -1 down, which is kept as 0. It is stored with the
call, where the last one counts; scoring learns from the first alone, so that nobody can vote twice.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from litestar import Request, post
from litestar.params import Body
from msgspec import Struct

from proxy.errors import ApiError
from proxy.server.cors import check_page
from proxy.server.errors import BODY_ERRORS
from proxy.server.state import Rated, Services, caller_headers, services

PATIENCE = 0.5
"""Seconds after which a call that has just ended is in the call log, whichever worker answered it."""


class Feedback(Struct, frozen=True, forbid_unknown_fields=True):
    """On a call of the same key."""

    request_id: str
    score: float


@post(
    "/v1/feedback",
    status_code=200,
    include_in_schema=False,
    exception_handlers=BODY_ERRORS,
)
async def give_feedback(request: Request[Any, Any, Any], data: Annotated[Feedback, Body()]) -> dict[str, Any]:
    """Keeps it. Raises ApiError: 401, 404 for a call that is unknown or another key's, 400."""
    here, headers = services(request), caller_headers(request.scope)
    key = here.keyring.authenticate(headers)
    check_page(here.access, headers)
    score = _score(data.score)
    record = await _call(here, data.request_id, key)
    model = record["selected_model"]
    if model is None:
        raise _invalid("request_id", f"The call {data.request_id[:128]!r} got no answer to be judged.")
    await here.rate(Rated(data.request_id, key, model, score), record["score"] is None)
    return {"object": "feedback", "request_id": data.request_id, "model": model, "score": score}


async def _call(here: Services, name: str, key: str) -> dict[str, Any]:
    for pause in (0.0, PATIENCE):
        await asyncio.sleep(pause)
        here.flush()
        record = await asyncio.to_thread(here.history.record, name, key)
        if record is not None:
            return record
    raise ApiError(
        404, f"No call {name[:128]!r} of this key is known.", code="call_not_found", param="request_id"
    )


def _score(score: float) -> float:
    if score == -1.0:
        return 0.0
    if not 0.0 <= score <= 1.0:
        raise _invalid("score", "`score` is 0 to 1; or -1 for a thumb that is down.")
    return score


def _invalid(param: str, message: str) -> ApiError:
    return ApiError(400, message, code="invalid_value", param=param)
