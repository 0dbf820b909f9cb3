"""A recording: what an upstream sent and what must be read out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.types import FailureKind, Usage


@dataclass(frozen=True)
class Recording:
    """One stream and what must be read out of it. `data` None: all of `stream` but its `[DONE]`."""

    name: str
    stream: bytes
    text: str = ""
    finish: str | None = "stop"
    model: str | None = None
    usage: Usage | None = None
    tools: bool = False
    failure: FailureKind | None = None
    dropped: int = 0
    data: bytes | None = None
    asks_usage: bool = True
    """The caller asked for the usage chunk."""
    chunks_valid: bool = True
    """Whether what is relayed fits the SDK's model strictly."""
    reasoning: str = ""
    """Of a translated stream: what its reasoning deltas add up to."""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    """Of a translated stream: (id, name, arguments) of each tool call."""
