"""`python -m tests.server.undecided`: a worker asks a parent whose office has no answer, and goes on."""

from __future__ import annotations

import socket
import sys
from multiprocessing.connection import Connection
from typing import Any

from proxy.server.link import READY, Ask
from proxy.server.workers import Supervisor, Work


def ask_twice(listening: socket.socket, link: Connection[Any, Any], name: str) -> None:
    """Until it is told to stop."""
    link.send(READY)
    for number in range(2):
        link.send(Ask(number, "why"))
        answer = link.recv()
        print(answer.number, answer.failed, flush=True)
    link.recv()


class Office:
    def work(self) -> Work:
        return ask_twice

    def decide(self, asked: object) -> object:
        raise KeyError(asked)

    def hung_up(self) -> object:
        return None


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.exit(Supervisor(Office(), listening, count=1, patience=1.0).run())
