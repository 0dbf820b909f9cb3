"""Callers that don't wish us well, over real sockets: what they get, and that others don't feel it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ADMIN
from tests.e2e.kuro import Kuro, model, running, write_config
from tests.e2e.malformed import MALFORMED
from tests.e2e.wire import HELLO, Case, Wire, request
from tests.stub import StubUpstream, cut_after, ok

GOOD = request(HELLO)
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
LIMITS = {
    "head_timeout": 0.4,
    "body_timeout": 0.4,
    "send_timeout": 0.5,
    "max_connections": 12,
    "max_in_flight": 4,
}


@pytest.fixture(scope="module")
def hasty(stub: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kuro]:
    """A proxy with little patience and little room."""
    proxy = {"admin_key": ADMIN, "limits": LIMITS, "listen": {"keep_alive": 0.5}}
    config = write_config(tmp_path_factory.mktemp("hasty"), stub.url, [model("primary")], proxy=proxy)
    with Kuro(config) as kuro:
        yield kuro


def answered(kuro: Kuro) -> bool:
    with Wire(kuro.port) as wire:
        return wire.send(GOOD).answer().status == 200


# --- what is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.name)
def test_what_is_malformed_is_refused_and_the_next_request_answered(
    kuro: Kuro, stub: StubUpstream, case: Case
) -> None:
    before = stub.total_hits
    with Wire(kuro.port) as wire:
        answer = wire.send(case.data).answer()
        error = answer.error
        assert answer.status == case.status, error
        assert answer.headers["x-request-id"]
        assert not {"set-cookie", "x-evil", "x"} & answer.headers.keys()
        assert case.code in (None, error["code"])
        if case.param_told:
            assert error["param"] == case.param
        if answer.closes:
            assert wire.ended()
        else:
            assert wire.send(GOOD).answer().status == 200
    if answer.closes:
        assert answered(kuro)
    assert stub.total_hits - before == 1


def test_there_are_more_than_two_hundred_of_them() -> None:
    names = [case.name for case in MALFORMED]
    assert len(set(names)) == len(names) > 200


ECHOED = {
    "a request id with an escaped line end": ("x-request-id", "a%0d%0ab"),
    "a request id of 200 characters": ("x-request-id", "a" * 200),
    "a request id that is a header": ("x-request-id", "a: b"),
    "a request id in Latin-1": ("x-request-id", "é"),
    "an origin that is no page of ours": ("origin", "https://evil.example"),
    "a session of 4,000 characters": ("x-session-id", "s" * 4000),
}


@pytest.mark.parametrize(("name", "value"), ECHOED.values(), ids=ECHOED.keys())
def test_what_a_header_says_is_not_said_back(kuro: Kuro, name: str, value: str) -> None:
    with Wire(kuro.port) as wire:
        answer = wire.send(request(HELLO, headers={name: value})).answer()
    assert value not in str(answer.headers)


def test_a_trailer_is_no_header(kuro: Kuro) -> None:
    body = json.dumps(HELLO).encode()
    chunks = b"%x\r\n%b\r\n0\r\nX-Request-Id: from-the-trailer\r\nX-Kuro-Trace: 1\r\n\r\n" % (len(body), body)
    with Wire(kuro.port) as wire:
        answer = wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks).answer()
        assert answer.status == 200
        assert answer.headers["x-request-id"] != "from-the-trailer"
        assert "kuro" not in json.loads(answer.body)
        assert wire.send(GOOD).answer().status == 200


# --- what is unusual, and right ------------------------------------------------------------------

OFFER = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQ"}


@pytest.mark.parametrize("size", [1, 7, 100, 65536])
def test_an_offer_to_upgrade_keeps_its_body(kuro: Kuro, stub: StubUpstream, size: int) -> None:
    """The parser takes the body of such a request for the next one: here that would be a smuggled call."""
    inner = request(HELLO | {"model": "second"})
    outer = request(HELLO | {"metadata": {"text": inner.decode()}}, headers=OFFER)
    stub.script("second", ok())
    before = stub.hits("primary"), stub.hits("second")
    with Wire(kuro.port) as wire:
        for start in range(0, len(outer), size):
            wire.send(outer[start : start + size])
        assert wire.answer().status == 200
        assert wire.send(GOOD).answer().status == 200
    assert (stub.hits("primary"), stub.hits("second")) == (before[0] + 2, before[1])


@pytest.mark.parametrize("body", ["length", "chunked"])
def test_a_body_that_is_a_request_stays_a_body(kuro: Kuro, stub: StubUpstream, body: str) -> None:
    smuggled = request(HELLO | {"model": "second"})
    before = stub.hits("second")
    with Wire(kuro.port) as wire:
        if body == "length":
            wire.send(request(smuggled))
        else:
            chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(smuggled), smuggled)
            wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
        assert wire.answer().error["code"] == "invalid_json"
        assert wire.send(GOOD).answer().status == 200
    assert stub.hits("second") == before


def test_requests_sent_at_once_are_answered_in_their_order(kuro: Kuro) -> None:
    wanted = ["primary", "second", "third", "primary"]
    with Wire(kuro.port) as wire:
        wire.send(b"".join(request(HELLO | {"model": name}) for name in wanted))
        assert [json.loads(wire.answer().body)["model"] for _ in wanted] == wanted


def test_rubbish_behind_a_good_request_doesn_t_spoil_its_answer(kuro: Kuro, stub: StubUpstream) -> None:
    gate = stub.gate("third")
    with Wire(kuro.port) as wire:
        wire.send(request(HELLO | {"model": "third"}) + b"rubbish\r\n\r\n" + GOOD)
        gate.block(1)
        before = stub.hits("primary")
        gate.release()
        assert wire.answer().status == 200
        assert wire.ended()
    assert stub.hits("primary") == before


def test_only_so_many_requests_of_one_connection_wait(kuro: Kuro, stub: StubUpstream) -> None:
    before = stub.hits("primary")
    with Wire(kuro.port) as wire:
        wire.send(GOOD * 500)
        statuses = []
        while not wire.ended():
            statuses.append(wire.answer().status)
    assert set(statuses) == {200}
    assert stub.hits("primary") - before == len(statuses) < 40


def test_a_body_is_asked_for_when_it_is_wanted(kuro: Kuro) -> None:
    body = json.dumps(HELLO).encode()
    head = request(body, headers={"Expect": "100-continue"}).removesuffix(body)
    with Wire(kuro.port) as wire:
        for _ in range(2):
            assert wire.send(head).answer().status == 100
            answer = wire.send(body).answer()
            assert (answer.status, answer.closes) == (200, False)


def test_a_body_that_was_not_asked_for_is_not_waited_for(kuro: Kuro, stub: StubUpstream) -> None:
    """Refused before `100 Continue`: whether body or request comes next is unknown (RFC 9110, 10.1.1)."""
    before = stub.total_hits
    body = json.dumps(HELLO).encode()
    fields = {"Expect": "100-continue", "Content-Type": "text/plain"}
    with Wire(kuro.port) as wire:
        answer = wire.send(request(body, headers=fields).removesuffix(body)).answer()
        assert (answer.status, answer.closes) == (415, True)
        wire.send(GOOD)
        assert wire.ended()
    assert stub.total_hits == before


def test_the_rest_of_a_refused_body_is_read_over(kuro: Kuro) -> None:
    data = request(b" " * 5_000_000, headers={"Content-Type": "text/plain"})
    with Wire(kuro.port) as wire:
        for _ in range(3):
            assert wire.send(data).answer().status == 415
        assert wire.send(GOOD).answer().status == 200


def test_who_sends_too_much_still_reads_why(kuro: Kuro) -> None:
    with Wire(kuro.port) as wire:
        answer = wire.send(request(b" " * 40_000_000)).answer()
        assert (answer.status, answer.closes) == (413, True)
        assert wire.ended()


# --- what is slow --------------------------------------------------------------------------------

SLOW = {
    "half a first line": (b"POST /v1/ch", "head"),
    "half a head": (HEAD, "head"),
    "a head whose body doesn't come": (HEAD + b"Content-Length: 5\r\n\r\n", "body"),
    "half a body": (GOOD[:-5], "body"),
    "half a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "body"),
}


@pytest.mark.parametrize(("data", "what"), SLOW.values(), ids=SLOW.keys())
def test_what_doesn_t_arrive_in_time_is_not_waited_for(hasty: Kuro, data: bytes, what: str) -> None:
    with Wire(hasty.port) as wire:
        answer = wire.send(data).answer()
        assert (answer.status, answer.error["code"]) == (408, "request_timeout")
        assert what in answer.error["message"]
        assert wire.ended()
    assert answered(hasty)


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n"], ids=["nothing", "blank lines"])
def test_a_connection_that_asks_for_nothing_is_closed(hasty: Kuro, data: bytes) -> None:
    with Wire(hasty.port) as wire:
        assert wire.send(data).ended()
    assert answered(hasty)


def test_a_connection_that_does_nothing_after_its_answer_is_closed(hasty: Kuro) -> None:
    with Wire(hasty.port) as wire:
        assert wire.send(GOOD).answer().status == 200
        assert wire.ended()


def test_a_body_for_the_admin_api_has_a_deadline_too(hasty: Kuro) -> None:
    first = b"POST /admin/v1/models/primary/circuit HTTP/1.1"
    data = request(b'{"action": "reset"}', first=first, headers={"x-admin-key": ADMIN})
    with Wire(hasty.port) as wire:
        assert wire.send(data[:-3]).answer().error["code"] == "request_timeout"
        assert wire.ended()


def test_slow_bodies_take_no_place_of_a_call(hasty: Kuro) -> None:
    slow = [Wire(hasty.port).send(GOOD[:-1]) for _ in range(LIMITS["max_in_flight"] + 3)]
    assert answered(hasty)
    for wire in slow:
        wire.__exit__()


def test_with_too_many_connections_those_go_that_have_kept_us_waiting(hasty: Kuro) -> None:
    slow = [Wire(hasty.port).send(HEAD) for _ in range(LIMITS["max_connections"])]
    assert [answered(hasty) for _ in range(5)] == [True] * 5
    for wire in slow:
        wire.__exit__()


def test_with_too_many_calls_the_connection_says_so(stub: StubUpstream, tmp_path: Path) -> None:
    gate = stub.gate("held")
    config = write_config(tmp_path, stub.url, [model("held")], proxy={"limits": {"max_connections": 2}})
    with running(config) as kuro:
        held = [Wire(kuro.port).send(request(HELLO | {"model": "held"})) for _ in range(2)]
        gate.block(2)
        with Wire(kuro.port) as wire:
            answer = wire.answer()
            assert (answer.status, answer.error["code"]) == (503, "proxy_overloaded")
            assert int(answer.headers["retry-after"]) >= 1
        gate.release()
        assert [wire.answer().status for wire in held] == [200, 200]
        for wire in held:
            wire.__exit__()


def test_a_reader_that_takes_nothing_is_cut(hasty: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", ok(events=[" word" * 2000] * 4000), ok())
    before = stub.hits("primary")
    fields = {"x-request-id": "stalled-1"}
    with Wire(hasty.port, receive_buffer=4096) as wire:
        wire.send(request(HELLO | {"stream": True}, headers=fields))
        stub.block_hits("primary", before + 1)
        assert hasty.record("stalled-1")["outcome"] == "caller_left"
        stub.last("primary").disconnected.block()
    assert answered(hasty)


def test_refusals_are_told_in_one_line(stub: StubUpstream, tmp_path: Path) -> None:
    with running(write_config(tmp_path, stub.url, [model("primary")])) as kuro:
        for _ in range(20):
            with Wire(kuro.port) as wire:
                assert wire.send(b"rubbish\r\n\r\n").answer().status == 400
        assert (
            "invalid_http"
            in kuro.wait_line(lambda line: line.get("event") == "refused_connections")["message"]
        )


def test_the_text_of_an_endless_answer_is_let_go(kuro: Kuro, stub: StubUpstream) -> None:
    """What is kept to continue an answer, and to estimate it, is bounded; then a cut is an error."""
    stub.script("primary", cut_after(300, ok(events=[" word" * 1000] * 400)), ok())
    body = HELLO | {"stream": True}
    with Wire(kuro.port) as wire:
        answer = wire.send(request(body, headers={"x-request-id": "let_go-1"})).answer()
    assert answer.body.count(b" word") == 299_000
    assert b'data: {"error"' in answer.body
    assert not answer.body.endswith(b"data: [DONE]\n\n")
    attempt = kuro.record("let_go-1")["attempts"][0]
    assert 250_000 < attempt["usage"]["completion"] < 350_000
