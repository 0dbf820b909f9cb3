"""`python -m tests.server.failing_worker`: a parent whose workers end before they serve."""

from __future__ import annotations

import socket
import sys
from multiprocessing.connection import Connection
from typing import Any

from proxy.server.workers import Supervisor, Work


def fail(listening: socket.socket, link: Connection[Any, Any], name: str) -> None:
    sys.exit(3)


class Office:
    def work(self) -> Work:
        return fail

    def decide(self, asked: object) -> object:
        return asked

    def hung_up(self) -> object:
        return None


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.exit(Supervisor(Office(), listening, count=2, patience=1.0).run())
