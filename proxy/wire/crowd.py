"""JSON whose size lies: `{},` is three bytes and becomes a hundred in memory. Told before it is decoded.

A body of 64 MB of them took 1.9 GB and five seconds of the event loop.
"""

from __future__ import annotations

FROM = 1024 * 1024
"""Bytes up to which a body is decoded unseen: at its worst it takes 40 MB for a tenth of a second."""
MOST_OBJECTS = 500_000
"""An answer of 16,000 tokens with twenty log probabilities each has 340,000."""
MOST_VALUES = 1_000_000


def many_objects(body: bytes) -> bool:
    """For decoders that make only what their types ask for: whether there could be too many objects."""
    return len(body) > FROM and body.count(b"{") > MOST_OBJECTS


def many_values(body: bytes) -> bool:
    """For decoders that make everything: whether there could be too many values of any kind."""
    return len(body) > FROM and body.count(b",") + body.count(b"[") + body.count(b"{") > MOST_VALUES
