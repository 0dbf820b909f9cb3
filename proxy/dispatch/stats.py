"""What was seen of each model lately: success, time to first token, speed; older sights count less.

Instead of letting every old sum decay at each observation, new ones weigh more as time goes by, doubling
every half-life; ratios come out the same, and an observation costs a few additions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from math import log

from msgspec import Struct

from proxy.dispatch.policy import StatsPolicy

QUANTILE_FLOOR = 0.01
"""Seconds; the first bucket of the ttft histogram ends here ..."""
QUANTILE_STEP = 1.2
"""... and each further one is longer by this, which is also how exact a quantile is."""
QUANTILE_BUCKETS = 64
"""Up to about 17 minutes."""

_LOG_STEP = log(QUANTILE_STEP)
_HEAVY = 2.0**100
"""New observations may weigh so much before all sums are brought down."""
_HEAVIEST = 2.0**1000


class Observed(Struct, frozen=True):
    """One model as it was seen. Without evidence: full success, the rest unknown."""

    success: float = 1.0
    """0..1 of the attempts that answered."""
    ttft: float | None = None
    """Seconds to the first token, failures counted with the policy's penalty."""
    speed: float | None = None
    """Tokens per second."""
    evidence: float = 0.0
    """Attempts that this rests on, an older one counting less."""
    p95: float | None = None
    """Seconds within which 95 % of the streams began; failures and whole replies don't count here."""


class Stats:
    """Observations by registry id."""

    def __init__(self, policy: StatsPolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._start = clock()
        self._sums: dict[str, _Sums] = {}

    def observe(
        self,
        model: str,
        ok: bool,
        ttft: float | None,
        tokens_per_second: float | None,
        streamed: bool = True,
    ) -> None:
        """One attempt: whether it answered, and, where known, how soon (seconds) and how fast."""
        weight = self._now_weighs()
        if weight > _HEAVY:
            weight = self._lighten(weight)
        sums = self._sums.get(model) or self._sums.setdefault(model, _Sums())
        sums.all += weight
        if ok:
            sums.good += weight
            if ttft is not None and streamed:
                sums.began(ttft, weight)
        else:
            penalty = self._policy.penalty_ttft
            ttft = penalty if ttft is None or ttft < penalty else ttft
        if ttft is not None:
            sums.timed += weight
            sums.ttft += weight * ttft
        if tokens_per_second is not None:
            sums.clocked += weight
            sums.speed += weight * tokens_per_second

    def view(self, model: str) -> Observed:
        """What is known of the model, without the quantile, which costs more than the rest."""
        sums = self._sums.get(model)
        return sums.observed(self._now_weighs()) if sums is not None else _NOTHING

    def p95(self, model: str, least: float = 0.0) -> float | None:
        """Seconds within which 95 % of its streams began; None: none seen, or fewer than `least`."""
        sums = self._sums.get(model)
        if sums is None or sum(sums.began_at) < least * self._now_weighs():
            return None
        return sums.quantile(0.95)

    def retain(self, models: Iterable[str], policy: StatsPolicy | None = None) -> None:
        """A reload: forgets the models that aren't named; a new `policy` holds from here on."""
        kept = set(models)
        if policy is not None and policy != self._policy:
            self._lighten(self._now_weighs())  # what was seen keeps the weight that it has by now
            self._policy = policy
        self._sums = {model: sums for model, sums in self._sums.items() if model in kept}

    def snapshot(self) -> dict[str, Observed]:
        """All that is known, with the quantile."""
        weight = self._now_weighs()
        return {model: sums.observed(weight, sums.quantile(0.95)) for model, sums in self._sums.items()}

    def _now_weighs(self) -> float:
        age = (self._clock() - self._start) / self._policy.half_life
        return 2.0**age if age < 1000.0 else _HEAVIEST

    def _lighten(self, weight: float) -> float:
        """Makes an observation of now weigh 1 again; the old keep their share."""
        for sums in self._sums.values():
            sums.scale(1.0 / weight)
        self._start = self._clock()
        return 1.0


class _Sums:
    """Weighted sums over one model's observations."""

    __slots__ = ("all", "began_at", "clocked", "good", "speed", "timed", "ttft")

    def __init__(self) -> None:
        self.all = self.good = 0.0
        self.ttft = self.timed = 0.0
        self.speed = self.clocked = 0.0
        self.began_at = [0.0] * QUANTILE_BUCKETS
        """A histogram of ttft, in logarithmic buckets."""

    def began(self, ttft: float, weight: float) -> None:
        bucket = int(log(ttft / QUANTILE_FLOOR) / _LOG_STEP) + 1 if ttft > QUANTILE_FLOOR else 0
        self.began_at[bucket if bucket < QUANTILE_BUCKETS else -1] += weight

    def observed(self, weight: float, p95: float | None = None) -> Observed:
        if not self.all:
            return _NOTHING
        return Observed(
            success=self.good / self.all,
            ttft=self.ttft / self.timed if self.timed else None,
            speed=self.speed / self.clocked if self.clocked else None,
            evidence=self.all / weight,
            p95=p95,
        )

    def quantile(self, share: float) -> float | None:
        """The upper edge of the bucket in which the share is reached."""
        reached = list(accumulate(self.began_at))
        if not reached[-1]:
            return None
        return QUANTILE_FLOOR * QUANTILE_STEP ** bisect_left(reached, share * reached[-1])

    def scale(self, factor: float) -> None:
        self.all *= factor
        self.good *= factor
        self.ttft *= factor
        self.timed *= factor
        self.speed *= factor
        self.clocked *= factor
        self.began_at = [weight * factor for weight in self.began_at]


_NOTHING = Observed()
