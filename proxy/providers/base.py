"""What a dialect must be able to do: four pure verbs, so that differences live nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from proxy.effort import Effort
from proxy.types import ChatRequest, Chunk, Failure, Model, Provider, UpstreamRequest


class Decoder(Protocol):
    """Turns the bytes of one upstream stream into canonical chunks. Never raises on what it is fed."""

    def feed(self, data: bytes) -> Chunk:
        """Everything that became complete with `data`, as one chunk (empty when nothing did)."""

    def close(self) -> Chunk:
        """The upstream's end. A stream that ended unfinished gives a chunk with a failure."""


class Codec(Protocol):
    """One dialect. Pure: no I/O, no clock, no state between calls."""

    def encode(
        self, request: ChatRequest, model: Model, provider: Provider, effort: Effort | None = None
    ) -> UpstreamRequest:
        """The request as this upstream wants it, with its key; without caller headers.

        `effort`: how hard to think, for a request that says nothing of it itself.
        """

    def decode(self, body: bytes) -> Chunk:
        """A whole 200 reply as one chunk; `failure` is set when it is an error or no reply at all."""

    def decoder(self, request: ChatRequest) -> Decoder:
        """A fresh decoder for one stream; the usage-only chunk is left out unless the caller asked."""

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """Why the upstream refused. `headers` has lower-case names; `body` may be anything."""
