"""`python -m tests.server.failing_worker`: a parent whose workers end before they serve.

With the path of an interpreter: before they run at all, if there is none.
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from proxy.server.workers import Supervisor, Work

CONFIGURATION = "x" * 1_000_000
"""More than any pipe holds."""


def fail(_: str, listening: socket.socket, link: Connection[Any, Any], name: str) -> None:
    sys.exit(3)


class Office:
    def work(self) -> Work:
        return partial(fail, CONFIGURATION)

    def decide(self, asked: object) -> object:
        return asked

    def hung_up(self) -> object:
        return None


if __name__ == "__main__":
    for interpreter in sys.argv[1:]:
        multiprocessing.set_executable(interpreter)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.exit(Supervisor(Office(), listening, count=2, patience=1.0).run())
