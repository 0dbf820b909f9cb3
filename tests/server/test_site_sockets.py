"""The plain routes behind uvicorn, byte by byte as clients and probes send them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from proxy.server.protocol import Protocol
from proxy.server.site import create_site
from tests.server.conftest import PAGE, World


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A served site. The socket listens before the thread starts, so that nobody needs to wait for it."""
    world = World()
    config = uvicorn.Config(
        create_site(world.services, world.chat), http=Protocol, ws="none", lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=10)
    assert not thread.is_alive()


def ask(port: int, *lines: str, version: str = "HTTP/1.1") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a request given as its first line without version, then headers."""
    host = [] if any(line.startswith("Host:") for line in lines) else ["Host: localhost"]
    head = [f"{lines[0]} {version}", *host, "Connection: close", *lines[1:]]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    first, *rest = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return int(first.split(" ")[1]), headers, answer.partition(b"\r\n\r\n")[2]


KEY = "Authorization: Bearer sk-alice"
ADMIN = "X-Admin-Key: sk-admin"

REQUESTS = {
    "a probe": (["GET /healthz"], 200, b'{"status":"alive"}'),
    "a probe for the head": (["HEAD /healthz"], 200, b""),
    "an id with an encoded slash": (
        ["GET /v1/models/groq%2Fllama-3.3-70b", KEY],
        200,
        b'"groq/llama-3.3-70b"',
    ),
    "a query string": (["GET /v1/models/llama?limit=5", KEY], 200, b'"groq/llama-3.3-70b"'),
    "a key in the query string": (["GET /v1/models?key=sk-alice"], 401, b"invalid_api_key"),
    "an encoded path without a key": (["GET /v1/%6Dodels"], 401, b"invalid_api_key"),
    "an encoded slash in the path": (["GET /admin%2Fv1%2Fmodels"], 401, b"invalid_api_key"),
    "the admin API": (["GET /admin/v1/models", ADMIN], 200, b'"upstream_model"'),
    "dots that climb": (["GET /v1/models/../../admin/v1/models", KEY], 404, b"model_not_found"),
    "a path that isn't UTF-8": (["GET /%e4"], 404, b"unknown_url"),
    "a NUL in the path": (["GET /%00"], 404, b"unknown_url"),
    "a method of WebDAV": (["PROPFIND /v1/models", KEY], 405, b"method_not_allowed"),
    "the hot path, spelled otherwise": (["POST /v1/chat/completions/"], 200, b"{}"),
    "a host that is none": (["GET /healthz", "Host: a b/c"], 400, b"invalid_request"),
}


@pytest.mark.parametrize(("lines", "status", "part"), REQUESTS.values(), ids=REQUESTS.keys())
def test_requests(port: int, lines: list[str], status: int, part: bytes) -> None:
    answered, headers, body = ask(port, *lines)
    assert answered == status
    assert part in body
    assert headers["x-request-id"]
    if status >= 400:
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


def test_a_caller_of_http_1_0_gets_an_answer_with_its_length(port: int) -> None:
    status, headers, body = ask(port, "GET /readyz", version="HTTP/1.0")
    assert (status, int(headers["content-length"])) == (200, len(body))
    assert "transfer-encoding" not in headers


def test_a_preflight(port: int) -> None:
    status, headers, body = ask(
        port, "OPTIONS /v1/chat/completions", f"Origin: {PAGE}", "Access-Control-Request-Method: POST"
    )
    assert (status, body) == (204, b"")
    assert headers["access-control-allow-origin"] == PAGE
    assert "POST" in headers["access-control-allow-methods"]


def test_a_wrong_method_is_told_the_right_one(port: int) -> None:
    status, headers, _ = ask(port, "GET /v1/chat/completions", KEY)
    assert (status, headers["allow"]) == (405, "POST, OPTIONS")
