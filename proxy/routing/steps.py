"""The ladder's rungs. Each looks at the climb so far and answers with a choice, or passes.

    cache     the same ask was decided a moment ago
    rules     an operator's condition holds
    judge     a small model says which intent this is; the scores are taken anew
    scoring   the best total among those that can serve it
    sticky    the conversation stays with its model: the one rung that may revise an earlier answer
    default   the configured model, or the first that is ready

`STEPS` is the table; the order comes from `routing.yml`.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from proxy.routing import judge, memory, rules, scoring
from proxy.routing.memory import Decision, Recent
from proxy.routing.policy import JudgePolicy, RoutingPolicy, Step, Weights
from proxy.types import Choice, Classification, Features, Model


class Memory(Struct, frozen=True):
    """What outlives a climb: decisions, conversations (key -> model) and the judge's verdicts."""

    decisions: Recent[Decision]
    conversations: Recent[str]
    verdicts: Recent[judge.Verdict]


class Ground(Struct, frozen=True):
    """What every climb of one configuration stands on."""

    policy: RoutingPolicy
    models: dict[str, Model]
    """The ready ones, by id."""
    pool: tuple[scoring.Candidate, ...]
    intents: tuple[tuple[str, str], ...]
    """(name, description): what the judge may choose from."""
    classify: Callable[[Features], Classification]
    available: Callable[[str], bool]
    """Whether a model's circuit would admit a call now."""
    view: scoring.View
    memory: Memory
    thresholds: tuple[int, ...] = ()
    """Prompt sizes at which some rule changes its mind."""
    rule_headers: tuple[str, ...] = ()
    """Caller headers that some rule reads."""


class Climb:
    """One request's way up the ladder: what is known so far, each part worked out when first needed."""

    __slots__ = ("_key", "_pool", "choice", "features", "ground", "headers", "judging", "known", "profile",
                 "question", "ranking", "session", "weights")  # fmt: skip

    def __init__(
        self,
        ground: Ground,
        features: Features,
        headers: Mapping[str, str],
        profile: str,
        session: str,
        judging: bool,
    ) -> None:
        self.ground = ground
        self.features = features
        self.headers = headers
        self.profile = profile
        self.weights = ground.policy.profiles.get(profile, _EVEN)
        self.session = session
        self.judging = judging
        self.choice: Choice | None = None
        self.known: Classification | None = None
        self.ranking: scoring.Ranking | None = None
        self.question: judge.Question | None = None
        """Set when the judge has to be asked before the climb can go on."""
        self._pool: tuple[scoring.Candidate, ...] | None = None
        self._key: bytes | None = None

    @property
    def classification(self) -> Classification:
        """The intents, classified at first sight."""
        if self.known is None:
            self.known = self.ground.classify(self.features)
        return self.known

    @property
    def pool(self) -> tuple[scoring.Candidate, ...]:
        """Candidates that can serve the request: those with a shut circuit only if there are no others."""
        if self._pool is None:
            fit = tuple(c for c in self.ground.pool if scoring.unfit(c.model, self.features) is None)
            open_ = tuple(c for c in fit if self.ground.available(c.model.id))
            self._pool = open_ or fit
        return self._pool

    def ranked(self) -> scoring.Ranking:
        """The pool by total, best first."""
        if self.ranking is None:
            self.ranking = scoring.rank(
                self.pool, self.features, self.classification, self.weights, self.ground.view
            )
        return self.ranking

    def serves(self, model: str) -> bool:
        """This model is ready, healthy and can serve the request."""
        entry = self.ground.models.get(model)
        return (
            entry is not None and self.ground.available(model) and scoring.unfit(entry, self.features) is None
        )

    def key(self) -> bytes:
        """Under which the decision cache knows this request."""
        if self._key is None:
            ground, features = self.ground, self.features
            self._key = memory.decision_key(
                features,
                self.profile,
                bisect(ground.thresholds, features.prompt_tokens),
                *map(self.headers.get, ground.rule_headers),
            )
        return self._key


def conversation(session: str, profile: str) -> str:
    """Under which a conversation's model is remembered: another profile is another conversation."""
    return f"{session}\n{profile}"


def remember(climb: Climb, choice: Choice) -> None:
    """Puts a decision into the cache, when it depends on the request alone."""
    if choice.step in _DECIDES and climb.ground.policy.cache.size > 0:
        decision = Decision(choice.model, climb.classification, climb.ranked())
        climb.ground.memory.decisions.put(climb.key(), decision)


def _cache(climb: Climb) -> Choice | None:
    if climb.ground.policy.cache.size <= 0:
        return None
    hit = climb.ground.memory.decisions.get(climb.key())
    if hit is None:
        return None
    climb.known = hit.classification
    if not climb.serves(hit.model):
        return None
    climb.ranking = hit.ranking
    return Choice(Step.CACHE, hit.model, "cache")


def _rules(climb: Climb) -> Choice | None:
    policy = climb.ground.policy
    if not policy.rules:
        return None
    rule = rules.first(
        policy.rules, climb.features, climb.classification, climb.headers, climb.profile, climb.serves
    )
    return Choice(Step.RULES, rule.model, f"rule:{rule.name}") if rule else None


def _judge(climb: Climb) -> Choice | None:
    policy = climb.ground.policy.judge
    if not policy.enabled or not _unsure(climb, policy):
        return None
    question = judge.question(climb.features, climb.ground.intents, policy.model)
    verdict = climb.ground.memory.verdicts.get(question.key)
    if verdict is None:
        climb.question = question if climb.judging else None
        return None
    climb.known = judge.apply(verdict, climb.classification)
    climb.ranking = None
    return Choice(Step.JUDGE, climb.ranked()[0][0], "judge")


def _unsure(climb: Climb, policy: JudgePolicy) -> bool:
    return (
        climb.features.background is None
        and bool(climb.pool)
        and climb.classification.intents[0][1] < policy.max_confidence
    )


def _scoring(climb: Climb) -> Choice | None:
    ranking = climb.ranked()
    return Choice(Step.SCORING, ranking[0][0], "score") if ranking else None


def _sticky(climb: Climb) -> Choice | None:
    if not climb.session or climb.features.background is not None:
        return None
    incumbent = climb.ground.memory.conversations.get(conversation(climb.session, climb.profile))
    if incumbent is None or not climb.serves(incumbent) or not _stays(climb, incumbent):
        return None
    return Choice(Step.STICKY, incumbent, "sticky")


def _stays(climb: Climb, incumbent: str) -> bool:
    """In a tool loop always; else unless a rule spoke or the newcomer clearly beats it."""
    choice = climb.choice
    if climb.features.tool_loop or choice is None:
        return True
    if choice.step == Step.RULES or choice.model == incumbent:
        return False
    totals = dict(climb.ranked())
    lead = totals.get(choice.model, 0.0) - totals.get(incumbent, 0.0)
    return lead <= climb.ground.policy.sticky.margin


def _default(climb: Climb) -> Choice | None:
    wanted = climb.ground.policy.default_model
    if wanted is not None and climb.serves(wanted):
        return Choice(Step.DEFAULT, wanted, "default")
    return Choice(Step.DEFAULT, climb.pool[0].model.id, "default") if climb.pool else None


STEPS: dict[Step, Callable[[Climb], Choice | None]] = {
    Step.CACHE: _cache,
    Step.RULES: _rules,
    Step.JUDGE: _judge,
    Step.SCORING: _scoring,
    Step.STICKY: _sticky,
    Step.DEFAULT: _default,
}

REVISES = frozenset({Step.STICKY})
"""Rungs that are asked even when an earlier one has answered."""

_DECIDES = frozenset({Step.RULES, Step.JUDGE, Step.SCORING})

_EVEN = Weights()


def thresholds(policy: RoutingPolicy) -> tuple[int, ...]:
    """The prompt sizes, ascending, at which some rule of the policy begins or ceases to hold."""
    edges: set[int] = set()
    for rule in policy.rules:
        if rule.when.min_prompt_tokens is not None:
            edges.add(rule.when.min_prompt_tokens)
        if rule.when.max_prompt_tokens is not None:
            edges.add(rule.when.max_prompt_tokens + 1)
    return tuple(sorted(edges))


def rule_headers(policy: RoutingPolicy) -> Sequence[str]:
    """The caller headers that some rule of the policy reads."""
    return sorted({name for rule in policy.rules for name in rule.when.headers})
