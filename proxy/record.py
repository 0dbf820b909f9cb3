"""What is kept of a call: one record, with an attempt for each try at a model.

Both are written while the call goes on, and emitted once, whatever happened.
Times are milliseconds or Unix seconds, as the names say; costs are USD.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

from proxy.lot import Lot
from proxy.types import FailureKind, Incumbent, RoutePlan, Usage


class Attempt(Struct):
    """One try at one model.

    `outcome` is `ok`, `failed`, `skipped`, `cancelled`, `cut` (its stream broke and another continued it)
    or `judge` (it was asked for the intent).
    """

    model: str
    provider: str
    outcome: str = "failed"
    failure: FailureKind | None = None
    status: int | None = None
    reason: str = ""
    """For a reader: why it was skipped or what the upstream said, scrubbed."""
    began_ms: float = 0.0
    """Since the call's arrival."""
    ttft_ms: float | None = None
    duration_ms: float = 0.0
    usage: Usage | None = None
    cost_usd: float | None = None
    effort: str | None = None
    """How hard it was told to think; None: it was told nothing that the caller hadn't said."""
    hedge: bool = False
    """It was begun beside another that was late."""
    seam: str = ""
    """How it continued a broken stream: `prefill`, or `restart`, what was sent already held back ..."""
    seam_at: int = 0
    """... after so many characters."""


class Grounds(Struct, frozen=True, omit_defaults=True):
    """What a decision was made of, beside what the record says of it: enough to take it again."""

    epoch: str
    """The configuration that was in force."""
    prompt_tokens: int = 0
    """Estimated."""
    completion_tokens: int = 0
    """What the caller reserved."""
    needs: tuple[str, ...] = ()
    turns: int = 1
    tool_loop: bool = False
    background: str | None = None
    language: str = ""
    """ISO 639-1; nothing where the decision was remembered, and the words were not looked at."""
    evidence: tuple[str, ...] = ()
    """What spoke for the intents."""
    headers: Mapping[str, str] = {}
    incumbent: Incumbent | None = None
    repeats: bool = False
    failed_tools: int = 0
    struggle: float = 0.0
    leans: bool = False
    shut: tuple[str, ...] = ()
    standing: Mapping[str, tuple[float, ...]] = {}
    """Model -> how it stood, as in a `RoutePlan`. Hundreds of plans share one: it is kept apart,
    once for all of them, and put in when one is read."""
    allowed: tuple[str, ...] | None = None
    tradeoff: int | None = None
    exploring: bool = False
    lot: Lot | None = None
    """What was left to chance."""
    own_effort: bool = False
    """The caller said itself how hard to think."""


OUTCOMES = ("ok", "error", "refused", "caller_left", "aborted")
"""How calls end: `refused` for what was asked, or for want of a place, before any attempt; `error` where no
model served it, though all circuits were open; `aborted` after the commit point."""


class CallRecord(Struct, tag_field="event", tag="call"):
    """Everything that is kept of one call. Emitted exactly once, whatever happened.

    As JSON it is a line of the log: its first member says so, and its last one how severe it is.
    """

    request_id: str
    time: float
    """Unix time of arrival."""
    key_id: str = ""
    session: str = ""
    traceparent: str = ""
    """The caller's trace, as it came (W3C); nothing when there was none, or a broken one."""
    requested_model: str = ""
    selected_model: str | None = None
    response_model: str | None = None
    provider: str | None = None
    stream: bool = False
    intent: str | None = None
    intents: dict[str, float] = {}
    difficulty: float | None = None
    effort: str | None = None
    """How hard the plan wants it thought about; None: the models were left alone."""
    route: str = ""
    profile: str = ""
    scores: dict[str, float] = {}
    plan: tuple[str, ...] = ()
    propensity: float | UnsetType = UNSET
    """The chance with which the first of the plan was drawn. Unset where nothing was."""
    attempts: list[Attempt] = field(default_factory=list)
    usage: Usage | None = None
    cost_usd: float | None = None
    """None when the price is unknown."""
    wasted_usd: float = 0.0
    """Cost of attempts that did not reach the caller."""
    judge_usd: float = 0.0
    """Cost of asking the judge."""
    baseline_usd: float | None = None
    """What the tokens of the answer would have cost at the baseline's price. None without a baseline, or
    without an answer."""
    ttft_ms: float | None = None
    latency_ms: float = 0.0
    overhead_ms: float = 0.0
    """Time that was neither the upstream's nor a deliberate wait; of a stream until its first token."""
    queued_ms: float = 0.0
    """Time in the queue in front of everything, which counts as neither."""
    fallback_used: bool = False
    outcome: str = "error"
    """One of OUTCOMES."""
    status: int = 500
    """The HTTP status that the caller saw; 499 when it left."""
    error_code: str | None = None
    why: tuple[RoutePlan, str] | UnsetType = UNSET
    """The decision and its configuration's epoch, on their way to the call log: there they are `grounds`."""
    prompt: str | UnsetType = UNSET
    """What was asked, cut to a bounded length. Unset unless the operator wants it, and on its way to the call
    log alone: whatever other sinks get lacks it."""
    level: str = "info"


# --- looking for calls ---------------------------------------------------------------------------


class Query(Struct, frozen=True):
    """Which calls. None and "" mean any; all that is given must hold."""

    model: str | None = None
    """The one that answered, or that was asked for."""
    intent: str | None = None
    outcome: str | None = None
    failed: bool = False
    since: float | None = None
    """Unix time of arrival, at the earliest."""
    until: float | None = None
    """Before this."""
    request_id: str | None = None
    """Its beginning."""
    session: str | None = None
    key: str | None = None
    before: int | None = None
    """The cursor of a former page."""
    after: int | None = None
    """The cursor of the latest call that is known already."""
    limit: int = 50


Row = dict[str, Any]
"""What a call comes to, without its details; or a sum over several."""


class Page(Struct, frozen=True):
    """A part of the calls that a query asks for."""

    calls: list[Row]
    next: int | None
    """Where the next page begins, as `before`; None at the end."""
    source: str
    """`database`; `memory`, the latest calls of one process, where there is no database; or `both`, where
    some calls of this process could not be kept."""


class Trend(Struct, frozen=True):
    """How attempts at a model went lately, a point for each step of time in which there were any."""

    model: str
    points: list[Row]
    """`at` (Unix time), `attempts`, `ok`, `ttft_ms` on average."""
