"""Who changed what by the admin API, and who tried to: a JSON line each, event `admin`.

    {"event": "admin", "admin": {"by": "alice", "from": "10.0.0.7", "action": "disable",
                                 "target": "groq/llama", "result": "changed", "old": null, "new": {...}}}

`by` is the name of a key, never the key. What is refused is logged likewise, with its code; of many refusals
only some, so that nobody fills the disk by guessing keys.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from proxy.errors import ApiError
from proxy.server.paths import plain

_log = logging.getLogger("kuro.admin")

REFUSALS = 20
"""Lines about refusals ..."""
PERIOD = 10.0
"""... in so many seconds. What is beyond is counted in the first line that comes later."""
AUDITED = "audited"
"""In the `opt` of routes whose refusals are logged."""
_BY = "kuro_admin"
_PATH_LIMIT = 300
_WHY_LIMIT = 500

Scope = MutableMapping[str, Any]
"""Of a request."""


class Audit:
    """One process's. The clock is handed in, seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._lines = 0
        self._unlogged = 0

    def done(self, scope: Scope, action: str, target: str, result: str, **more: Any) -> None:
        """An admin did this, or found it done; `more` is what was and what is."""
        told = {**_who(scope), "action": action, "target": target, "result": result, **more}
        _log.info("%s %s by %s: %s", action, target, told["by"], result, extra=_extra(told))

    def refused(self, scope: Scope, error: ApiError) -> None:
        """Somebody wanted something and was told no."""
        now, unlogged = self._clock(), 0
        if now - self._since >= PERIOD:
            unlogged, self._unlogged = self._unlogged, 0
            self._since, self._lines = now, 0
        self._lines += 1
        if self._lines > REFUSALS:
            self._unlogged += 1
            return
        wanted = f"{scope['method']} {plain(scope['path'])[:_PATH_LIMIT]}"
        why = {"status": error.status, "code": error.code, "why": error.message[:_WHY_LIMIT]}
        told = {**_who(scope), "action": wanted, "result": "refused", **why}
        if unlogged:
            told["unlogged"] = unlogged
        _log.warning("%s by %s: refused", wanted, told["by"] or "nobody", extra=_extra(told))


def done_by_itself(who: str, action: str, target: str, result: str, **more: Any) -> None:
    """The proxy did this on its own account, or found nothing to do; told as an admin's doings are."""
    told = {"by": who, "from": "", "action": action, "target": target, "result": result, **more}
    _log.info("%s %s by %s: %s", action, target, who, result, extra=_extra(told))


def sign(scope: Scope, name: str) -> None:
    """This request came with the admin key of that name."""
    scope["state"][_BY] = name


def signer(scope: Mapping[str, Any]) -> str:
    """The name of the admin key that this request came with; "" while none is known."""
    name: str = scope["state"].get(_BY, "")
    return name


def _who(scope: Mapping[str, Any]) -> dict[str, Any]:
    client = scope.get("client")
    return {"by": signer(scope), "from": client[0] if client else ""}


def _extra(told: Mapping[str, Any]) -> dict[str, Any]:
    return {"event": "admin", "admin": told}
