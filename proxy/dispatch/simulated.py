"""An upstream without a network: the built-in simulated models, behind the same door as real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf

from proxy.dispatch.pool import Counts
from proxy.providers import simulated
from proxy.types import Model, Timeouts, UpstreamRequest
from proxy.wire.chat import parse


class SimulatedUpstream:
    """Answers at once, always."""

    connections = Counts(0, 0, 0)

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall

    async def send(
        self,
        request: UpstreamRequest,
        timeouts: Timeouts,
        *,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        fresh: bool = False,
    ) -> SimulatedReply:
        """A reply to what was encoded in OpenAI's dialect."""
        asked = parse(request.body)
        model = Model(id=asked.model, provider="simulated", upstream_model=asked.model)
        created = int(self._wall())
        if asked.stream:
            return SimulatedReply("text/event-stream", simulated.events(asked, model, created))
        return SimulatedReply("application/json", [simulated.reply(asked, model, created)])

    def retire(self) -> bool:
        """Nothing is open."""
        return False

    async def aclose(self) -> None:
        """Nothing is open."""


class SimulatedReply:
    """A reply that is already there."""

    status = 200
    patience = inf

    def __init__(self, content_type: str, parts: Iterable[bytes]) -> None:
        self.headers: Mapping[str, str] = {"content-type": content_type}
        self._parts = iter(parts)

    async def read(self, limit: int) -> bytes:
        """The whole body."""
        return b"".join(self._parts)

    async def take(self) -> bytes:
        """The body, an event at a time."""
        return next(self._parts, b"")

    async def pour(self, sink: Callable[[bytes], bool]) -> None:
        """All is here already: it is taken."""

    def abort(self) -> None:
        """Nothing is open."""
