"""Upstreams that tell what they know: keys and addresses are neither said, logged nor recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.e2e.conftest import reset
from tests.e2e.hostile import (
    ASK,
    KEY,
    STREAM,
    begun,
    http,
    json_reply,
)
from tests.e2e.kuro import Kuro
from tests.stub import (
    Behaviour,
    StubUpstream,
    ok,
)

# --- what it says, and mustn't be said -----------------------------------------------------------

CALLERS = "sk-caller-0123456789abcdef"


def leak(address: str) -> str:
    """Everything that an upstream could know, in one sentence."""
    return f"The key {KEY} (Authorization: Bearer {KEY}), sent to {address} or http://{address}/v1, is bad."


def leaking(address: str, status: int, **more: Any) -> dict[str, Any]:
    message = leak(address)
    return {"error": {"message": message, "type": KEY, "code": f"bad-{KEY}", "param": KEY, **more}}


Leak = Callable[[str], Behaviour]

LEAKS: dict[str, Leak] = {
    "400": lambda at: json_reply(json.dumps(leaking(at, 400)).encode(), status="400 Bad"),
    "401": lambda at: json_reply(json.dumps(leaking(at, 401)).encode(), status="401 No"),
    "429": lambda at: json_reply(json.dumps(leaking(at, 429)).encode(), f"x-key: {KEY}", status="429 No"),
    "500 as text": lambda at: http(leak(at).encode(), type="text/plain", status="500 Oops"),
    "a page": lambda at: http(f"<html>{leak(at)}</html>".encode(), type="text/html", status="403 No"),
    "the reason of the status": lambda at: json_reply(b"{}", status=f"400 {KEY}"),
    "a redirect": lambda at: http(leak(at).encode(), f"location: http://{at}/?key={KEY}", status="307 Go"),
    "a content coding": lambda at: json_reply(b"{}", f"content-encoding: {KEY}"),
    "an error in a 200": lambda at: json_reply(json.dumps(leaking(at, 200)).encode()),
    "a long text around it": lambda at: json_reply(
        json.dumps({"error": {"message": ("x" * 3980) + leak(at) + "y" * 20_000}}).encode(), status="400 Bad"
    ),
    "an error that quotes another": lambda at: json_reply(
        json.dumps({"error": {"metadata": {"raw": json.dumps(leaking(at, 400))}}}).encode(), status="400 Bad"
    ),
}
EVENT_LEAKS: dict[str, Leak] = {
    "the first event": lambda at: http(b"data: " + json.dumps(leaking(at, 200)).encode() + b"\n\n"),
    "an event after twenty words": lambda at: begun(
        b"event: error\ndata: " + json.dumps(leaking(at, 200)).encode() + b"\n\n"
    ),
    "an event that is no JSON": lambda at: begun(b"event: error\ndata: " + leak(at).encode() + b"\n\n"),
}


def says_nothing(quick: Kuro, stub: StubUpstream, body: Mapping[str, Any], expected: Any) -> None:
    """Neither the answer nor any log line or trace holds what the upstream leaked."""
    status, headers, raw_body = quick.request(
        "POST",
        "/v1/chat/completions",
        json.dumps(body),
        {"content-type": "application/json", "authorization": f"Bearer {CALLERS}", "x-kuro-trace": "1"},
    )
    quick.record(headers["x-request-id"])
    told = raw_body.decode() + json.dumps(headers) + quick.log()
    assert status == expected
    for secret in (KEY, KEY[:12], KEY[-12:], f"127.0.0.1:{stub.port}", CALLERS):
        assert secret not in told.replace("\\/", "/"), secret
    if status >= 400:
        error = json.loads(raw_body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert len(error["message"]) <= 4000
    assert CALLERS not in str(stub.last("third").headers), "a caller's key stays here"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("make", LEAKS.values(), ids=LEAKS.keys())
def test_an_upstream_that_tells_secrets_is_not_quoted(
    quick: Kuro, stub: StubUpstream, make: Leak, stream: bool
) -> None:
    stub.script("third", make(f"127.0.0.1:{stub.port}"))
    status = quick.chat(ASK | {"model": "third", "stream": stream})[0]
    assert status >= 400
    reset(quick, "third")
    says_nothing(quick, stub, ASK | {"model": "third", "stream": stream}, status)


@pytest.mark.parametrize("make", EVENT_LEAKS.values(), ids=EVENT_LEAKS.keys())
def test_nor_is_one_whose_events_do(quick: Kuro, stub: StubUpstream, make: Leak) -> None:
    stub.script("third", make(f"127.0.0.1:{stub.port}"))
    status = quick.chat(STREAM | {"model": "third"})[0]
    reset(quick, "third")
    says_nothing(quick, stub, STREAM | {"model": "third"}, status)


def test_nor_in_the_fallbacks_trace(quick: Kuro, stub: StubUpstream) -> None:
    stub.script("third", ok("x"))
    quick.chat(ASK | {"model": "third"})
    stub.script("primary", LEAKS["500 as text"](f"127.0.0.1:{stub.port}"))
    stub.script("second", ok("All is well."))
    says_nothing(quick, stub, ASK, 200)
