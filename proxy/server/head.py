"""What a request's head says, worked out once for all requests of a connection that say the same.

Callers who keep their connection send one head over and over; only the length of what follows differs. That
line is kept apart, so that the head before is taken again when the other lines are equal, byte for byte.
"""

from __future__ import annotations

from typing import Any

from proxy.server.framing import is_host
from proxy.server.types import Pair


class Head:
    """The lines of a head but `content-length`. Shared by requests: not to be changed."""

    __slots__ = ("coded", "expects_continue", "fields", "hosts", "lines", "plain", "told")

    def __init__(self, lines: list[Pair]) -> None:
        self.lines = lines
        """As they came."""
        self.fields = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in lines}
        """By lower-case name; of a repeated one, the last."""
        self.hosts = [value for name, value in lines if name.lower() == b"host"]
        self.coded = [value.strip().lower() for name, value in lines if name.lower() == b"transfer-encoding"]
        """The values of Transfer-Encoding, in lower case."""
        self.expects_continue = self.fields.get("expect", "").lower() == "100-continue"
        self.plain = len(self.hosts) == 1 and is_host(self.hosts[0]) and not self.coded
        """`framing.check_head` has nothing to say against it, if it is HTTP/1.1's."""
        self.told: Any = None
        """What whoever answers has made of it, to be found again."""

    def pairs(self, length: bytes | None) -> list[Pair]:
        """All lines with names in lower case, for ASGI."""
        pairs = [(name.lower(), value) for name, value in self.lines]
        return pairs if length is None else [*pairs, (b"content-length", length)]
