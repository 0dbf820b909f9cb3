"""One request's way up the ladder: what it stands on, and what has been found out so far."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Hashable, Mapping

from msgspec import Struct

from proxy.routing import judge, memory, rules, scoring
from proxy.routing.memory import Clock, Decision, Recent
from proxy.routing.policy import RoutingPolicy, Weights
from proxy.routing.pool import Pool, Pools
from proxy.types import Choice, Classification, Features, Model


class Memory(Struct, frozen=True):
    """What outlives a climb: decisions, conversations and the judge's verdicts; and the clock of all."""

    decisions: Recent[Decision]
    conversations: Recent[str]
    """`conversation` -> model."""
    verdicts: Recent[judge.Verdict]
    once: memory.Once
    """For what keys and decisions have in common."""
    clock: Clock


class Ground(Struct, frozen=True):
    """What every climb of one configuration stands on."""

    policy: RoutingPolicy
    models: dict[str, Model]
    """The ready ones, by id."""
    pools: Pools
    intents: tuple[tuple[str, str], ...]
    """(name, description): what the judge may choose from."""
    classify: Callable[[Features], Classification]
    shut: Callable[[frozenset[str]], frozenset[str]]
    """Of some models, those whose circuit would not admit a call now."""
    standing: Callable[[], scoring.Standing]
    """What the observations of late make of every model."""
    memory: Memory
    rules: tuple[rules.Prepared, ...]
    edges: tuple[int, ...]
    """Prompt sizes at which some rule changes its mind."""
    headers: tuple[str, ...]
    """Caller headers that some rule reads."""
    epoch: object
    """Decisions of another configuration are never found."""


class Climb:
    """What is known of one request, each part worked out when it is first needed."""

    __slots__ = ("_key", "_pool", "_shut", "choice", "features", "firm", "ground", "headers", "judging",
                 "known", "profile", "question", "ranking", "session", "weights")  # fmt: skip

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
        self.firm = True
        """No rung passed because of a circuit: the same request will be decided alike."""
        self._pool: Pool | None = None
        self._shut: frozenset[str] | None = None
        self._key: Hashable = None

    @property
    def classification(self) -> Classification:
        """The intents, classified at first sight."""
        if self.known is None:
            self.known = self.ground.classify(self.features)
        return self.known

    @property
    def pool(self) -> Pool:
        """Who is able to serve the request, healthy or not."""
        if self._pool is None:
            self._pool = self.ground.pools.of(self.features)
        return self._pool

    @property
    def shut(self) -> frozenset[str]:
        """Those of the pool whose circuit admits nobody; looked at once, so that a climb is of one mind."""
        if self._shut is None:
            self._shut = self.ground.shut(self.pool.ids)
        return self._shut

    def serves(self, model: str) -> bool:
        """This model is ready, healthy and can serve the request."""
        return model in self.pool.ids and model not in self.shut

    def ranked(self) -> scoring.Ranking:
        """The pool by total, best first; those with a shut circuit in their places, too."""
        if self.ranking is None:
            self.ranking = scoring.rank(
                self.pool.candidates, self.features, self.classification, self.weights, self.ground.standing()
            )
        return self.ranking

    def best(self) -> str | None:
        """The healthy model with the best total; when none is healthy, the best of all."""
        ranking = self.ranked()
        for model, _ in ranking:
            if model not in self.shut:
                return model
        return ranking[0][0] if ranking else None

    def key(self) -> Hashable:
        """Under which the decision cache knows this request: all that a decision is made of.

        Counts are compared by their order of magnitude, but for what rules and windows make of them.
        """
        if self._key is None:
            ground, features = self.ground, self.features
            kind = (
                self.profile,
                self.pool,
                features.background,
                features.tool_loop,
                features.turns.bit_length(),
                features.prompt_tokens.bit_length(),
                features.completion_tokens.bit_length(),
                bisect(ground.edges, features.prompt_tokens),
                ground.epoch,
            )
            said = tuple([self.headers.get(name) for name in ground.headers])
            self._key = (memory.digest(features), ground.memory.once(kind), *said)
        return self._key


_EVEN = Weights()
