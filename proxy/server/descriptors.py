"""How many connections this process may hold, and how they are shared out.

    soft limit (raised to the hard one at start) = RESERVE + callers' half + upstreams' half

A call needs one connection on either side. Without shares, a storm of callers takes every descriptor, and no
call can be served any more; at the limit itself the event loop can but close what it accepts.
"""

from __future__ import annotations

import resource
from contextlib import suppress

RESERVE = 32
"""Descriptors for everything else: event loop, log, exporter, resolver."""
ENOUGH = 1_048_576
"""More are never asked for; some systems allow any number."""


def raise_limit() -> None:
    """Asks for all descriptors that the system would give. The usual default, 1,024, is 500 calls."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def callers_share() -> int:
    """Connections of callers up to which every one of them can be served."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max((ENOUGH if soft == resource.RLIM_INFINITY else soft) - RESERVE, 2) // 2
