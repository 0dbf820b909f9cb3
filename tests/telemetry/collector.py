"""Collectors in threads: they keep what is exported to them, by OTLP over HTTP or gRPC."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc

Headers = dict[str, str]
Took = list[tuple[str, Headers, Any]]
"""(path, headers, request) of each export; no path over gRPC."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server in a thread; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def http_collector(read: Callable[[bytes], Any]) -> Iterator[tuple[Took, str]]:
    """What it took, and its address without the path. `read` parses an export."""
    took: Took = []

    class Taking(Silent):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            took.append(
                (self.path, {name.lower(): value for name, value in self.headers.items()}, read(body))
            )
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

    with serving(Taking) as address:
        yield took, address


@contextmanager
def grpc_collector(
    add: Callable[[Any, grpc.Server], None], servicer: type, answer: Any
) -> Iterator[tuple[Took, str]]:
    """The same over gRPC: a servicer of the protocol, and what it answers."""
    took: Took = []

    def export(_: Any, request: Any, context: grpc.ServicerContext) -> Any:
        took.append(("", {str(key): str(value) for key, value in context.invocation_metadata()}, request))
        return answer

    server = grpc.server(futures.ThreadPoolExecutor(1))
    add(type("Taking", (servicer,), {"Export": export})(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield took, f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait(5)


class Silent(BaseHTTPRequestHandler):
    """Writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def refusing(gate: threading.Event) -> Iterator[str]:
    """The address of a collector that takes nothing, and says so when the gate is open."""

    class Refusing(Silent):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            gate.wait(10)
            self.send_error(400)

    with serving(Refusing) as address:
        yield address
