"""POST /v1/chat/completions as plain ASGI: reads, asks the gateway, relays. No decisions.

    begin the call -> authenticate -> read the body -> parse -> Gateway.call -> head -> body or stream

Every call ends as one of: answered, refused in OpenAI's error shape, or left by its caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache

from proxy.errors import ApiError, CallerLeftError
from proxy.gateway import Answer, Call, Gateway, Write, trace
from proxy.record import Attempt
from proxy.server.admission import Admission, stopping
from proxy.server.auth import Keyring
from proxy.server.body import read_body
from proxy.server.cors import check_page, cors_headers
from proxy.server.cycle import WRITE_NOW
from proxy.server.headers import deadline, forwarder, request_id, session_of, traceparent
from proxy.server.leaving import Leaving
from proxy.server.policy import AccessPolicy, LimitPolicy
from proxy.server.types import Head, Receive, Scope, Send
from proxy.types import SIMULATED
from proxy.wire import chat, reply

PATH = "/v1/chat/completions"


class ChatRoute:
    """The hot route: one instance per process, one call of it per request."""

    def __init__(
        self,
        gateway: Gateway,
        keyring: Keyring,
        access: AccessPolicy,
        limits: LimitPolicy,
        admission: Admission,
    ) -> None:
        self._gateway = gateway
        self._admission = admission
        self._keyring = keyring
        self._access = access
        self._limits = limits
        self._uploading = 0
        """Calls whose body is still arriving: slow callers must not fill the places of others."""

    def adopt(self, keyring: Keyring, access: AccessPolicy, limits: LimitPolicy) -> None:
        """A reload: who may call, and how much."""
        self._keyring, self._access, self._limits = keyring, access, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Raises only a cancellation that isn't the caller's leaving."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        name = request_id(headers)
        call = self._gateway.begin(name, forwarder(headers))
        if "traceparent" in headers:
            call.record.traceparent = traceparent(headers)
        head: Head = [(b"x-request-id", name.encode("ascii")), *cors_headers(self._access, headers)]
        leaving = Leaving(receive)
        answer = None
        try:
            answer = await self._ask(call, headers, receive, leaving)
            if self._admission.closed:  # the caller's next call is for another process
                head.append((b"connection", b"close"))
            write_now = None if "x-kuro-trace" in headers else scope.get("extensions", {}).get(WRITE_NOW)
            await _relay(call, answer, head, leaving, send, write_now)
        except ApiError as error:
            leaving.stop()
            call.close("refused", error.status, error.code)
            await refuse(send, error, head + _attempted(call))
        except CallerLeftError:
            call.close("caller_left", 499)
        except asyncio.CancelledError:
            if leaving.left:
                call.close("caller_left", 499)
            else:
                leaving.stop()
                await _cut(call, answer, head, send)
        finally:
            leaving.stop()
            if call.placed:
                self._admission.leave()

    async def _ask(
        self, call: Call, headers: Mapping[str, str], receive: Receive, leaving: Leaving
    ) -> Answer:
        """From the raw request to a committed answer. From here on the caller's leaving is noticed."""
        check_page(self._access, headers)
        call.record.key_id = key = self._keyring.authenticate(headers)
        call.limit(deadline(headers))
        self._admission.check(self._gateway.open_calls - self._uploading)
        self._uploading += 1
        try:
            body = await read_body(headers, receive, self._limits, self._gateway.alarms)
        finally:
            self._uploading -= 1
        request = chat.parse(body)
        leaving.watch()
        if not self._admission.enter():
            await self._admission.wait(call, key)
        call.placed = True
        session = session_of(headers, request.fields, request.messages, key)
        return await self._gateway.call(call, request, headers, session, traced="x-kuro-trace" in headers)


async def _relay(
    call: Call, answer: Answer, head: Head, leaving: Leaving, send: Send, write_now: Write | None
) -> None:
    """`write_now`: None for an answer that carries its trace."""
    try:
        if answer.streams:
            head += _described(call, answer)
            head += _STREAM_HEAD
            await send({"type": "http.response.start", "status": 200, "headers": head})
            head.clear()  # A stream may be long.
            told = None
            async for data in answer.events(write_now):
                if call.traced and answer.part is not told:  # at the start, and at each seam
                    data, told = reply.with_trace_event(data, trace(call)), answer.part
                await send({"type": "http.response.body", "body": data, "more_body": True})
            leaving.stop()
            await send({"type": "http.response.body", "body": b""})
        else:
            leaving.stop()
            await _send_whole(call, answer, head, send)
    except asyncio.CancelledError:
        # Left, or the server ends: settle first, for a cancelled scope may cut every later await.
        if leaving.left:
            answer.abandon("caller_left", 499)
        else:
            answer.abandon("aborted", 200, _STOPPED)
        raise
    except BaseException:
        answer.abandon("aborted", 200, "internal_error")
        raise
    answer.close()


async def _cut(call: Call, answer: Answer | None, head: Head, send: Send) -> None:
    """The process ends before the answer does: whoever waits is told so, a stream by its last event."""
    error = stopping()
    if answer is not None and answer.streams:
        await send({"type": "http.response.body", "body": reply.error_event(error)})
        return
    call.close("error" if call.record.attempts else "refused", error.status, error.code)
    await refuse(send, error, head)


async def _send_whole(call: Call, answer: Answer, head: Head, send: Send) -> None:
    answer.settle()
    body = answer.part.first.data
    if call.traced:
        body = reply.with_trace(body, trace(call))
    head += _described(call, answer)
    head.append((b"content-type", b"application/json"))
    head.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, error: ApiError, head: Head) -> None:
    """Sends an error in OpenAI's shape."""
    body = reply.error_body(error)
    head += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in error.headers]
    head.append((b"content-type", b"application/json"))
    head.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": error.status, "headers": head})
    await send({"type": "http.response.body", "body": body})


_STOPPED = stopping().code

_STREAM_HEAD: Head = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def _described(call: Call, answer: Answer) -> Head:
    """The x-kuro headers: which model answers, why it, and at what cost."""
    record, lane = call.record, answer.part.lane
    head = [
        *_of_model(lane.model.id, lane.model.provider, lane.provider.dialect == SIMULATED),
        *_of_route(record.intent, record.route),
        (b"x-kuro-attempts", b"%d" % _tries(record.attempts)),
        (b"x-kuro-fallback", b"true" if record.fallback_used else b"false"),
        (b"x-kuro-overhead-ms", b"%.3f" % (call.overhead() * 1e3)),
    ]
    if answer.part.attempt.cost_usd is not None:
        head.append((b"x-kuro-cost-usd", b"%.9f" % answer.part.attempt.cost_usd))
    return head


def _tries(attempts: list[Attempt]) -> int:
    return len([attempt for attempt in attempts if attempt.outcome in _TRIED])


_TRIED = frozenset({"ok", "failed", "cancelled"})


@lru_cache(maxsize=1024)
def _of_model(model: str, provider: str, simulated: bool) -> Head:
    head = [
        (b"x-kuro-model", model.encode("latin-1", "replace")),
        (b"x-kuro-provider", provider.encode("latin-1", "replace")),
    ]
    return [*head, (b"x-kuro-simulated", b"true")] if simulated else head


@lru_cache(maxsize=1024)
def _of_route(intent: str | None, route: str) -> Head:
    return [
        (b"x-kuro-intent", (intent or "none").encode("latin-1", "replace")),
        (b"x-kuro-route", route.encode("latin-1", "replace")),
    ]


def _attempted(call: Call) -> Head:
    """Beside an error: what was decided and who was asked. Nothing before there was a plan."""
    record, plan = call.record, call.plan
    if plan is None:
        return []
    tried = [attempt.model for attempt in record.attempts if attempt.outcome in _TRIED]
    return [
        *_of_route(record.intent, record.route),
        (b"x-kuro-attempts", b"%d" % len(tried)),
        (b"x-kuro-fallback", b"true" if tried and tried[-1] != plan.models[0] else b"false"),
    ]
