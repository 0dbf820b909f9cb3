"""What the numbers of each struct may be. A field that isn't listed takes 0 and everything above."""

from __future__ import annotations

from math import inf

from proxy.dispatch.policy import BreakerPolicy, HedgePolicy, RetryPolicy, StatsPolicy
from proxy.routing.lexicon import Fact, IntentSpec, Pattern
from proxy.routing.policy import (
    AdaptPolicy,
    CachePolicy,
    Condition,
    EffortPolicy,
    EscalationPolicy,
    ExplorePolicy,
    JudgePolicy,
    StickyPolicy,
    Weights,
)
from proxy.server.policy import LimitPolicy, ReloadPolicy, ServerPolicy
from proxy.settings.entries import ModelEntry, ProviderEntry, TimeoutsEntry
from proxy.settings.reader import Range, Ranges
from proxy.telemetry.policy import CallsPolicy, MetricPolicy, RecordPolicy, TracePolicy
from proxy.types import Priors

_SHARE = Range(0, 1)
_POSITIVE = Range(0, above=True)
_COUNT = Range(1)
_ANY = Range(-inf)

RANGES: Ranges = {
    **{(TimeoutsEntry, name): _POSITIVE for name in ("connect", "first_token", "idle", "total")},
    (ProviderEntry, "max_connections"): _COUNT,
    (ModelEntry, "capabilities"): _SHARE,
    (ModelEntry, "context_window"): _COUNT,
    (ModelEntry, "max_output_tokens"): _COUNT,
    (Priors, "quality"): _SHARE,
    (Priors, "latency"): _SHARE,
    **{(Weights, name): Range(0, 10) for name in Weights.__struct_fields__},
    (Condition, "min_confidence"): _SHARE,
    (Condition, "min_difficulty"): _SHARE,
    (Condition, "max_difficulty"): _SHARE,
    (CachePolicy, "ttl"): _POSITIVE,
    (StickyPolicy, "ttl"): _POSITIVE,
    (EscalationPolicy, "reach"): _SHARE,
    (EscalationPolicy, "failed_tools"): _COUNT,
    (AdaptPolicy, "half_life"): _POSITIVE,
    (AdaptPolicy, "bound"): _SHARE,
    (AdaptPolicy, "gain"): Range(0, 10),
    (AdaptPolicy, "doubt"): Range(0, 1, above=True),
    (AdaptPolicy, "explore"): _SHARE,
    (ExplorePolicy, "share"): Range(0, 0.2),
    (ExplorePolicy, "models"): Range(2),
    (EffortPolicy, "low"): _SHARE,
    (EffortPolicy, "high"): _SHARE,
    (JudgePolicy, "timeout"): _POSITIVE,
    (JudgePolicy, "intent_margin"): _SHARE,
    (JudgePolicy, "cache_ttl"): _POSITIVE,
    (Pattern, "weight"): _ANY,
    (Fact, "weight"): _ANY,
    (Fact, "over"): _ANY,
    (Fact, "under"): _ANY,
    (IntentSpec, "prior"): _ANY,
    (IntentSpec, "difficulty"): _SHARE,
    (IntentSpec, "completion_tokens"): _COUNT,
    (ServerPolicy, "port"): Range(0, 65535),
    (ServerPolicy, "workers"): _COUNT,
    (ReloadPolicy, "interval"): _POSITIVE,
    (LimitPolicy, "max_body_bytes"): _COUNT,
    (LimitPolicy, "body_timeout"): _POSITIVE,
    (LimitPolicy, "max_in_flight"): _COUNT,
    (LimitPolicy, "queue_timeout"): _POSITIVE,
    (LimitPolicy, "head_timeout"): _POSITIVE,
    (LimitPolicy, "send_timeout"): _POSITIVE,
    (LimitPolicy, "max_head_bytes"): _COUNT,
    (LimitPolicy, "max_header_lines"): _COUNT,
    (LimitPolicy, "max_connections"): _COUNT,
    (HedgePolicy, "share"): _SHARE,
    (HedgePolicy, "window"): _POSITIVE,
    (BreakerPolicy, "consecutive_failures"): _COUNT,
    (BreakerPolicy, "failure_ratio"): Range(0, 1, above=True),
    (BreakerPolicy, "min_results"): _COUNT,
    (BreakerPolicy, "window"): _POSITIVE,
    (BreakerPolicy, "open_for"): _POSITIVE,
    (BreakerPolicy, "open_cap"): _POSITIVE,
    (BreakerPolicy, "open_jitter"): _SHARE,
    (BreakerPolicy, "forget_after"): _POSITIVE,
    (BreakerPolicy, "successes_to_close"): _COUNT,
    (BreakerPolicy, "probe_lease"): _POSITIVE,
    (BreakerPolicy, "auth_open_for"): _POSITIVE,
    (BreakerPolicy, "quota_open_for"): _POSITIVE,
    (RetryPolicy, "max_models"): _COUNT,
    (RetryPolicy, "budget_window"): _POSITIVE,
    (StatsPolicy, "half_life"): _POSITIVE,
    (RecordPolicy, "interval"): _POSITIVE,
    (MetricPolicy, "interval"): _POSITIVE,
    (RecordPolicy, "batch"): _COUNT,
    (CallsPolicy, "max_age"): _POSITIVE,
    (CallsPolicy, "max_bytes"): Range(1 << 20, 1 << 50),
    (CallsPolicy, "prompt_chars"): _COUNT,
    (RecordPolicy, "limit"): _COUNT,
    (TracePolicy, "ratio"): _SHARE,
}
