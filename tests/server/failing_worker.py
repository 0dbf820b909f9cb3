"""`python -m tests.server.failing_worker`: a parent whose workers end before they serve."""

from __future__ import annotations

import socket
import sys
from multiprocessing.connection import Connection

from proxy.server.workers import Supervisor


def fail(listening: socket.socket, link: Connection[bytes, bytes], name: str) -> None:
    sys.exit(3)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.exit(Supervisor(fail, listening, count=2, patience=1.0).run())
