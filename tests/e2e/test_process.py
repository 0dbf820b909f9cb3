"""The process as a whole: several workers, limits, and its end."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.e2e.kuro import model, running, write_config
from tests.stub import StubUpstream, fail, ok

HELLO: Any = {"model": "one", "messages": [{"role": "user", "content": "Hello there"}]}


def test_two_workers_serve_and_end_together(stub: StubUpstream, tmp_path: Path) -> None:
    stub.script("one", ok("Here."))
    config = write_config(tmp_path, stub.url, [model("one")])
    with running(config, "--workers", "2") as kuro:
        assert [kuro.chat(HELLO)[0] for _ in range(20)] == [200] * 20
        assert kuro.stop() == 0


def test_keys_are_asked_for_and_named_in_the_record(stub: StubUpstream, tmp_path: Path) -> None:
    stub.script("one", ok("Here."))
    keys = [{"name": "alice", "key": "sk-alice-of-the-tests"}]
    config = write_config(tmp_path, stub.url, [model("one")], proxy={"keys": keys})
    with running(config) as kuro:
        status, headers, body = kuro.chat(HELLO)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        assert headers["www-authenticate"] == "Bearer"
        assert (
            kuro.chat(HELLO, authorization="Bearer sk-alice-of-the-tests", x_request_id="keyed-1")[0] == 200
        )
        assert kuro.record("keyed-1")["key_id"] == "alice"


def test_a_rate_limited_model_keeps_saying_so_without_being_asked(stub: StubUpstream, tmp_path: Path) -> None:
    stub.script("one", fail(429, retry_after=30))
    config = write_config(tmp_path, stub.url, [model("one")])
    with running(config) as kuro:
        before = stub.hits("one")
        for _ in range(3):
            status, headers, body = kuro.chat(HELLO)
            assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
            assert 0 < int(headers["retry-after"]) <= 30
        assert stub.hits("one") - before == 1


def test_bodies_that_are_too_large_or_not_json(stub: StubUpstream, tmp_path: Path) -> None:
    stub.script("one", ok("Here."))
    config = write_config(tmp_path, stub.url, [model("one")], proxy={"limits": {"max_body_bytes": 10_000}})
    with running(config) as kuro:
        assert kuro.chat(b'{"model": "one", "messages": "' + b"x" * 20_000 + b'"}')[0] == 413
        assert kuro.chat(b"{", content_type="text/plain")[0] == 415
        status, _, body = kuro.chat(b'{"model": "one"}')
        assert (status, body["error"]["param"]) == (400, "messages")
        assert kuro.request("GET", "/v1/chat/completions")[0] == 405
        assert kuro.request("GET", "/nowhere")[0] == 404
        assert kuro.chat(HELLO)[0] == 200


def test_a_caller_of_http_1_0_gets_a_stream_that_ends_with_the_line(
    stub: StubUpstream, tmp_path: Path
) -> None:
    stub.script("one", ok("one two three"))
    config = write_config(tmp_path, stub.url, [model("one")])
    body = json.dumps(HELLO | {"stream": True}).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    with running(config) as kuro, socket.create_connection(("127.0.0.1", kuro.port), timeout=10) as caller:
        caller.sendall(head % len(body) + body)
        answer = b"".join(iter(lambda: caller.recv(65536), b""))
    fields, _, events = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in fields.lower()
    assert b"connection: close" in fields.lower()
    assert events.startswith(b"data: {")
    assert events.endswith(b"data: [DONE]\n\n")
