"""POST /v1/chat/completions, straight from the connection: reads, asks the gateway, relays. No decisions.

    begin the call -> authenticate -> read the body -> parse -> Gateway.call -> head -> body or stream

Every call ends as one of: answered, refused in OpenAI's error shape, or left by its caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache

from msgspec import Struct

from proxy.errors import ApiError, CallerLeftError
from proxy.gateway import Answer, Call, Gateway, trace
from proxy.record import Attempt
from proxy.server.admission import Admission, stopping
from proxy.server.auth import Keyring
from proxy.server.body import check_size, check_type, read_body
from proxy.server.cors import check_page, cors_headers
from proxy.server.cycle import Cycle, fields
from proxy.server.headers import Pairs, deadline, forwarder, request_id, session_of, traceparent
from proxy.server.policy import AccessPolicy, LimitPolicy
from proxy.types import SIMULATED, Provider
from proxy.wire import chat, reply

PATH = "/v1/chat/completions"


class Caller(Struct, frozen=True):
    """What a head says to this route, and holds for each request that has the same one, until a reload."""

    keyring: Keyring
    """Which let it in: after a reload there is another."""
    key: str
    """The name of its key."""
    patience: float | None
    """Seconds that it will wait; None: it doesn't say."""
    forward: Callable[[Provider], Pairs]
    traced: bool


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

    async def __call__(self, cycle: Cycle) -> None:
        """Answers one request. Raises only a cancellation that isn't the caller's leaving."""
        headers = cycle.head.fields
        name = request_id(headers)
        call = self._gateway.begin(name, cycle.task)
        if "traceparent" in headers:
            call.record.traceparent = traceparent(headers)
        head = b"x-request-id: %b\r\n" % name.encode("ascii")
        if page := cors_headers(self._access, headers):
            head += fields(page)
        answer = None
        try:
            answer = await self._ask(call, cycle)
            if self._admission.closed:  # the caller's next call is for another process
                cycle.keep_alive = False
            if answer.streams:
                await _relay(call, answer, head, cycle)
            else:
                await _send_whole(call, answer, head, cycle)
        except ApiError as error:
            cycle.unwatch()
            call.close("refused", error.status, error.code)
            await _refuse(cycle, error, head + _attempted(call))
        except CallerLeftError:
            call.close("caller_left", 499)
        except asyncio.CancelledError:
            if cycle.left:
                call.close("caller_left", 499)
            else:
                cycle.unwatch()
                await _cut(call, answer, head, cycle)
        finally:
            cycle.unwatch()
            if call.placed:
                self._admission.leave()

    async def _ask(self, call: Call, cycle: Cycle) -> Answer:
        """From the raw request to a committed answer. From here on the caller's leaving is noticed."""
        caller = cycle.head.told
        if type(caller) is not Caller or caller.keyring is not self._keyring:
            caller = cycle.head.told = self._meet(call, cycle.head.fields)
        call.record.key_id = caller.key
        call.forward = caller.forward
        call.limit(caller.patience)
        self._admission.check(self._gateway.open_calls - self._uploading)
        body = cycle.whole()
        if body is None:
            body = await self._upload(cycle)
        check_size(len(body), self._limits)
        request = chat.parse(body)
        assert call.task is not None
        cycle.watch(call.task)
        if not self._admission.enter():
            await self._admission.wait(call, caller.key)
        call.placed = True
        headers = cycle.head.fields
        session = session_of(headers, request.fields, request.messages, caller.key)
        return await self._gateway.call(call, request, headers, session, traced=caller.traced)

    def _meet(self, call: Call, headers: Mapping[str, str]) -> Caller:
        """Judges a head that was not seen before. Raises ApiError."""
        check_page(self._access, headers)
        call.record.key_id = key = self._keyring.authenticate(headers)
        patience = deadline(headers)
        check_type(headers)
        return Caller(self._keyring, key, patience, forwarder(headers), "x-kuro-trace" in headers)

    async def _upload(self, cycle: Cycle) -> bytes:
        if cycle.length is not None:
            check_size(int(cycle.length), self._limits)
        self._uploading += 1
        try:
            return await read_body(cycle.receive, self._limits, self._gateway.alarms)
        finally:
            self._uploading -= 1


async def _relay(call: Call, answer: Answer, head: bytes, cycle: Cycle) -> None:
    """A stream, to its end."""
    try:
        cycle.start(200, head + _described(call, answer) + _STREAM_HEAD)
        told = None
        async for data in answer.events(None if call.traced else cycle.write_now):
            if call.traced and answer.part is not told:  # at the start, and at each seam
                data, told = reply.with_trace_event(data, trace(call)), answer.part
            await cycle.write(data)
            data = b""  # the next may be long in coming, or the last: what was written is nobody's
        cycle.unwatch()
        await cycle.write(b"", more=False)
    except BaseException as error:
        _abandon(answer, cycle, error)
        raise
    answer.close()


async def _send_whole(call: Call, answer: Answer, head: bytes, cycle: Cycle) -> None:
    cycle.unwatch()
    try:
        answer.settle()
        body = answer.part.first.data
        if call.traced:
            body = reply.with_trace(body, trace(call))
        await cycle.answer(200, head + _described(call, answer) + _JSON, body)
    except BaseException as error:
        _abandon(answer, cycle, error)
        raise
    answer.close()


def _abandon(answer: Answer, cycle: Cycle, error: BaseException) -> None:
    # Left, or the server ends: settle first, for a cancelled scope may cut every later await.
    if not isinstance(error, asyncio.CancelledError):
        answer.abandon("aborted", 200, "internal_error")
    elif cycle.left:
        answer.abandon("caller_left", 499)
    else:
        answer.abandon("aborted", 200, _STOPPED)


async def _cut(call: Call, answer: Answer | None, head: bytes, cycle: Cycle) -> None:
    """The process ends before the answer does: whoever waits is told so, a stream by its last event."""
    error = stopping()
    if answer is not None and answer.streams:
        await cycle.write(reply.error_event(error), more=False)
        return
    call.close("error" if call.record.attempts else "refused", error.status, error.code)
    await _refuse(cycle, error, head)


async def _refuse(cycle: Cycle, error: ApiError, head: bytes) -> None:
    """Sends an error in OpenAI's shape."""
    told = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in error.headers]
    if _PARTING in told:
        told.remove(_PARTING)
        cycle.keep_alive = False
    await cycle.answer(error.status, head + fields(told) + _JSON, reply.error_body(error))


_STOPPED = stopping().code
_PARTING = (b"connection", b"close")
_JSON = b"content-type: application/json\r\n"
_STREAM_HEAD = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
)


def _described(call: Call, answer: Answer) -> bytes:
    """The x-kuro headers: which model answers, why it, and at what cost."""
    record, lane, cost = call.record, answer.part.lane, answer.part.attempt.cost_usd
    head = b"%b%bx-kuro-attempts: %d\r\nx-kuro-fallback: %b\r\nx-kuro-overhead-ms: %.3f\r\n" % (
        _of_model(lane.model.id, lane.model.provider, lane.provider.dialect == SIMULATED),
        _of_route(record.intent, record.route),
        _tries(record.attempts),
        b"true" if record.fallback_used else b"false",
        call.overhead() * 1e3,
    )
    return head if cost is None else b"%bx-kuro-cost-usd: %.9f\r\n" % (head, cost)


def _tries(attempts: list[Attempt]) -> int:
    return len([attempt for attempt in attempts if attempt.outcome in _TRIED])


_TRIED = frozenset({"ok", "failed", "cancelled"})


@lru_cache(maxsize=1024)
def _of_model(model: str, provider: str, simulated: bool) -> bytes:
    head = [
        (b"x-kuro-model", model.encode("latin-1", "replace")),
        (b"x-kuro-provider", provider.encode("latin-1", "replace")),
    ]
    return fields([*head, (b"x-kuro-simulated", b"true")] if simulated else head)


@lru_cache(maxsize=1024)
def _of_route(intent: str | None, route: str) -> bytes:
    return fields(
        [
            (b"x-kuro-intent", (intent or "none").encode("latin-1", "replace")),
            (b"x-kuro-route", route.encode("latin-1", "replace")),
        ]
    )


def _attempted(call: Call) -> bytes:
    """Beside an error: what was decided and who was asked. Nothing before there was a plan."""
    record, plan = call.record, call.plan
    if plan is None:
        return b""
    tried = [attempt.model for attempt in record.attempts if attempt.outcome in _TRIED]
    return b"%bx-kuro-attempts: %d\r\nx-kuro-fallback: %b\r\n" % (
        _of_route(record.intent, record.route),
        len(tried),
        b"true" if tried and tried[-1] != plan.models[0] else b"false",
    )
