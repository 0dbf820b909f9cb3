"""What the plain routes need of the rest of the house, handed to them by `app`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from litestar.connection import ASGIConnection
from msgspec import Struct

from proxy.record import Page, Query, Row, Trend
from proxy.server.audit import Audit
from proxy.server.auth import Keyring
from proxy.server.health import Heard
from proxy.server.learned import Forget, Forgotten
from proxy.server.orders import Command, Orders, Ruling
from proxy.server.policy import AccessPolicy
from proxy.types import Model

Connection = ASGIConnection[Any, Any, Any, Any]


class History(Protocol):
    """Former calls. May wait for the disk: to be asked in a thread."""

    def find(self, query: Query) -> Page:
        """Summaries, latest first."""

    def record(self, request_id: str, key: str | None = None) -> dict[str, Any] | None:
        """The whole record of one call, with the feedback on it; only one of this key, if one is named."""

    def trends(self, since: float, step: float) -> list[Trend]:
        """How attempts at each model went since then, in steps of so many seconds."""

    def spend(self, since: float, until: float) -> list[Row]:
        """By day and model, between two Unix times."""


class Rated(Struct, frozen=True):
    """A caller's feedback on an answer, 0..1: what every process may learn from."""

    request_id: str
    key: str
    """The caller's: callers of other keys may have given their calls the same id."""
    model: str
    score: float


class Services(Struct):
    """Values and callables in force now. A reload assigns the values anew; open requests don't mind."""

    access: AccessPolicy
    keyring: Keyring
    admin: Keyring
    models: Callable[[], Sequence[Model]]
    """Those that are ready, in the registry's order."""
    profiles: Callable[[], Sequence[str]]
    """What may follow `auto:`, in the order in which it is shown."""
    look: Callable[[], Awaitable[Heard]]
    """How the models are doing in every process."""
    orders: Callable[[], Orders]
    """What an operator has ordered so far."""
    order: Callable[[Command], Awaitable[tuple[Ruling, tuple[str, ...]]]]
    """Has every process do it; also who has said nothing of it in time, and will do it later."""
    reload: Callable[[str, bool], Awaitable[Mapping[str, Any]]]
    """Reads the configuration anew, for the admin of this name; or, dry, only says what would come of it.
    Raises ApiError 422 when it is no good."""
    registry: Callable[[], Mapping[str, Any]]
    """Providers and models in force. No secret is in it."""
    compare: Callable[[str], Awaitable[Mapping[str, Any]]]
    """The files beside what is in force, for the admin of this name."""
    weights: Callable[[], Mapping[str, Any]]
    """What decisions weigh, and where it comes from."""
    forget: Callable[[Forget], Awaitable[Forgotten]]
    """Has every process forget what lasting evidence has moved."""
    restore: Callable[[str], Awaitable[Mapping[str, Any]]]
    """Has the weights put back that trials changed, for the admin of this name. Raises ApiError 422."""
    rate: Callable[[Rated, bool], Awaitable[None]]
    """Keeps feedback; when it is the first on its call, every process learns of it."""
    audit: Audit
    metrics: Callable[[], tuple[bytes, str]]
    """The exposition and its content type."""
    flush: Callable[[], None]
    """Hands what was recorded to those who keep it, now."""
    history: History
    explain: Callable[[Mapping[str, Any]], dict[str, Any]]
    """The decision on a chat body, or on `{"model", "prompt"}`, as things are now. Raises ApiError."""
    decided_again: Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
    """The trace of a record's decision, as the configuration in force takes it; None: it can't be told."""
    draining: Callable[[], bool]
    started: int
    """Unix time, whole seconds."""

    def names(self) -> dict[str, str]:
        """Every id and alias -> the id."""
        return {name: model.id for model in self.models() for name in (model.id, *model.aliases)}


def services(connection: Connection) -> Services:
    """The services of the site that this connection came to."""
    found: Services = connection.app.state["services"]
    return found


def caller_headers(scope: Mapping[str, Any]) -> dict[str, str]:
    """The request's headers by lower-case name; of a repeated one, the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
