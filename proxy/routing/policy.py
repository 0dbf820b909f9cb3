"""What an operator sets in `config/routing.yml`: the frozen values that the routing rooms are handed."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, field

from proxy.types import Need


class Step(StrEnum):
    """The ladder's rungs, in their usual order."""

    CACHE = "cache"
    RULES = "rules"
    JUDGE = "judge"
    SCORING = "scoring"
    STICKY = "sticky"
    ESCALATION = "escalation"
    EXPLORE = "explore"
    DEFAULT = "default"


class Weights(Struct, frozen=True):
    """A profile: how much each term counts, 0..10 each. `cost` is subtracted."""

    quality: float = 2.0
    success: float = 0.5
    latency: float = 0.25
    cost: float = 1.0


PROFILES = {
    "balanced": Weights(),
    "cheap": Weights(quality=0.9, success=0.5, latency=0.1, cost=3.0),
    "fast": Weights(quality=1.5, success=1.0, latency=3.0, cost=0.1),
    "best": Weights(quality=5.0, success=0.5, latency=0.05, cost=0.0),
}
"""What there is when `routing.yml` names none."""


class Condition(Struct, frozen=True):
    """All given members must hold. An empty condition always holds."""

    intent: tuple[str, ...] = ()
    """The leading intent is one of these ..."""
    min_confidence: float = 0.0
    """... with at least this confidence, 0..1."""
    profile: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    """ISO 639-1."""
    needs: tuple[Need, ...] = ()
    """All of these are required by the request."""
    background: tuple[str, ...] = ()
    """The chore is one of these; `any` is any chore."""
    min_prompt_tokens: int | None = None
    max_prompt_tokens: int | None = None
    min_difficulty: float | None = None
    max_difficulty: float | None = None
    headers: dict[str, str] = {}
    """Lower-case caller headers and the value each must have."""


class Rule(Struct, frozen=True):
    """A shortcut: the first rule whose condition holds names the model, before any scoring."""

    name: str
    when: Condition
    model: str
    """A registry id."""


class CachePolicy(Struct, frozen=True):
    """The decision cache. `ttl` in seconds, `size` in decisions; a size of 0 switches it off."""

    ttl: float = 60.0
    size: int = 4_096


class StickyPolicy(Struct, frozen=True):
    """How long a conversation stays with its model (seconds since its last turn), and when it leaves."""

    ttl: float = 1800.0
    size: int = 50_000
    margin: float = 0.15
    """A newcomer must beat the incumbent's total by this much, and by what is lost with its prompt cache."""
    prompt_cache: float = 300.0
    """Seconds for which providers are taken to keep a prompt; 0: nobody does."""


class EscalationPolicy(Struct, frozen=True):
    """What becomes of a caller who struggles: a better model is next."""

    enabled: bool = True
    reach: float = 0.5
    """Share, 0..1, of what the model lacks to the best one that the next must make good, at least."""
    failed_tools: int = 3
    """Rounds of tool calls in a row that brought nothing but errors."""


class ExplorePolicy(Struct, frozen=True):
    """Which decisions are drawn, so that it is seen what other models make of such asks."""

    share: float = 0.0
    """Of those that scores take, 0..0.2 go to another model than the best total. 0: none."""
    models: int = 3
    """The first so many by total may be drawn, the best one among them."""


class EffortPolicy(Struct, frozen=True):
    """`reasoning_effort` by difficulty, for models that take it and callers that said nothing of it."""

    enabled: bool = False
    low: float = 0.15
    """Difficulty, 0..1, below which little thought will do ..."""
    high: float = 0.4
    """... and from which on much is wanted; between them, `medium`."""


class JudgePolicy(Struct, frozen=True):
    """LLM-as-router: a small model is asked for the intent. Off unless `enabled`."""

    enabled: bool = False
    model: str = ""
    """Registry id of the judge."""
    timeout: float = 1.5
    """Seconds for the whole question; then the ladder goes on without it."""
    intent_margin: float = 0.2
    """It is asked only when the leading intent's confidence is above the next one's by less than this ..."""
    model_margin: float = 0.02
    """... or the best total is by less than this above that of the next model which answers otherwise."""
    cache_ttl: float = 3600.0
    cache_size: int = 10_000


class AdaptPolicy(Struct, frozen=True):
    """Whether lasting evidence moves the scoring's inputs, how far, and how sure it must be."""

    enabled: bool = False
    half_life: float = 600.0
    """Seconds after which an observation counts half."""
    bound: float = 0.3
    """A term, 0..1, is moved so far at most."""
    gain: float = 1.0
    """How much of what was surely seen is taken on."""
    doubt: float = 1e-6
    """The chance (0..1) at each sight that noise alone would have got as far."""
    frozen: bool = False
    """What was moved stays as it is, whatever is seen."""
    explore: float = 0.02
    """Share (0..1) of the decisions that go to a model which a shift has put behind another."""
    trials: float = 0.0
    """Hours between two trials of other weights on the call log; 0: none."""


class StreamRecovery(StrEnum):
    """What follows when a stream breaks after the commit point."""

    SPLICE = "splice"
    """Continue on a fallback; where that can't be done without a seam, as `error`."""
    ERROR = "error"
    """One error event, and the end of the body."""


class RoutingPolicy(Struct, frozen=True):
    """The whole of `config/routing.yml`."""

    ladder: tuple[Step, ...] = tuple(Step)
    default_model: str | None = None
    """Registry id for `default`; None: the first ready model."""
    profiles: dict[str, Weights] = field(default_factory=PROFILES.copy)
    """By name; `balanced` is what plain `auto` uses. `auto:NAME` picks another."""
    worth: dict[str, Weights] = {}
    """Profile -> the weights by which `kuro tune` judges, where they aren't the profile's own any more."""
    rules: tuple[Rule, ...] = ()
    cache: CachePolicy = CachePolicy()
    sticky: StickyPolicy = StickyPolicy()
    escalation: EscalationPolicy = EscalationPolicy()
    explore: ExplorePolicy = ExplorePolicy()
    effort: EffortPolicy = EffortPolicy()
    judge: JudgePolicy = JudgePolicy()
    adapt: AdaptPolicy = AdaptPolicy()
    named_models_use_ranking: bool = False
    """A model asked for by name falls back along the ranking, too, not only along its own list."""
    content_filter_fallback: bool = False
    """A refusal by a content filter goes on to the next model."""
    stream_recovery: StreamRecovery = StreamRecovery.SPLICE
