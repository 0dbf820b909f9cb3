"""What an operator sets in `config/proxy.yml` about failing upstreams: frozen values, no logic.

Times are seconds. The defaults are the contract's (section 4).
"""

from __future__ import annotations

from msgspec import Struct


class BreakerPolicy(Struct, frozen=True):
    """When a model's circuit opens, for how long, and what closes it again."""

    consecutive_failures: int = 5
    """As many failures in a row open it ..."""
    failure_ratio: float = 0.5
    """... or this share of failures (0..1) ..."""
    min_results: int = 10
    """... among at least as many results ..."""
    window: float = 60.0
    """... of the last so many seconds, counted in twelve buckets."""
    open_for: float = 5.0
    """The first opening; each further one in a row is twice as long ..."""
    open_cap: float = 15.0
    """... up to this."""
    open_jitter: float = 0.1
    """The share (0..1) by which an opening is longer or shorter, so that circuits don't move in step."""
    forget_after: float = 60.0
    """So many seconds closed take one opening off the count that the doubling goes by."""
    successes_to_close: int = 2
    """Successes in a row that close a half-open circuit."""
    probe_lease: float = 60.0
    """A probe not settled within this is given up for lost. Longer than any time to first token."""
    auth_open_for: float = 600.0
    """The opening after an upstream refused our key (401, 403); ended by a reload."""
    quota_open_for: float = 300.0
    """The opening after an upstream said that nothing is left to spend; ended by a reload."""


class RetryPolicy(Struct, frozen=True):
    """How often and how long after a failure is tried again."""

    max_retries: int = 2
    """Attempts at a model that has already been asked, over the whole call."""
    max_models: int = 3
    """Models asked, over the whole call."""
    base_delay: float = 0.05
    """The first back-off is a random part of this, each further one of twice as much ..."""
    max_delay: float = 2.0
    """... up to this, which is also the longest Retry-After that is waited for inline."""
    budget_ratio: float = 0.2
    """All calls together may retry this share (0..) of the recent requests ..."""
    budget_floor: float = 3.0
    """... plus so many a second."""
    budget_window: float = 10.0
    """Seconds that are recent."""


class HedgePolicy(Struct, frozen=True):
    """Whether a second model is asked when a stream's first is late, and how often at most."""

    enabled: bool = False
    share: float = 0.05
    """All calls together may ask a second model for this share (0..1) of the recent ones."""
    min_delay: float = 0.2
    """Seconds of silence before it is asked: the first model's own 95th percentile, but never less."""
    min_answers: float = 20.0
    """Answers of a model, older ones counting less, below which its percentile says nothing."""
    window: float = 300.0
    """Seconds that are recent."""


class StatsPolicy(Struct, frozen=True):
    """How fast observations of a model fade, and what a failure costs it."""

    half_life: float = 120.0
    """Seconds after which an observation counts half."""
    penalty_ttft: float = 10.0
    """Seconds to first token that a failure counts as, at least: a fast 429 must not look fast."""
