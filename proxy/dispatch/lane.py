"""All that an attempt at one model needs, put together once: registry entry, codec, way upstream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from msgspec import Struct

from proxy.dispatch.pool import Counts
from proxy.providers.base import Codec
from proxy.providers.scrub import Secrets, secrets_of
from proxy.types import Model, Provider, Timeouts, UpstreamRequest


class Reply(Protocol):
    """An upstream's answer, its head read. Raises only UpstreamError."""

    patience: float
    """Seconds that each wait for more of it may take."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Lower-case names."""

    async def read(self, limit: int) -> bytes:
        """The whole body; longer than `limit` is a bad response."""

    def take(self) -> Awaitable[bytes]:
        """All of the body that has come since the last time, at least one byte; none at the end."""

    async def pour(self, sink: Callable[[bytes], bool]) -> None:
        """Hands each piece to `sink` the moment that it comes, until that says no, or all has come, or it
        can't be done: what follows is had by `take`."""

    def abort(self) -> None:
        """Closes the connection unless the body has come to its end. Idempotent, never waits."""


class Upstream(Protocol):
    """The way to one provider."""

    @property
    def connections(self) -> Counts:
        """How many are open, idle and waited for."""

    async def send(
        self,
        request: UpstreamRequest,
        timeouts: Timeouts,
        *,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        fresh: bool = False,
    ) -> Reply:
        """Posts the request and waits for the head of the answer. Raises only UpstreamError."""

    def retire(self) -> bool:
        """Another takes its place: idle connections go now, the others when their exchanges are over.

        Whether any of those are left. Idempotent.
        """

    async def aclose(self) -> None:
        """Closes every connection."""


class Lane(Struct, frozen=True):
    """One model, ready to be asked."""

    model: Model
    provider: Provider
    codec: Codec
    upstream: Upstream
    patient: Timeouts
    """The model's timeouts for a reply that comes as one piece: no sign of life until it is done."""
    secrets: Secrets = ()
    """What no failure may say."""


def lane(model: Model, provider: Provider, codec: Codec, upstream: Upstream) -> Lane:
    """Puts a lane together."""
    limits = model.timeouts
    patient = Timeouts(limits.connect, limits.first_token, limits.total, limits.total)
    return Lane(model, provider, codec, upstream, patient, secrets_of(provider))
