"""One request's way up the ladder: what it stands on, and what has been found out so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from proxy.lot import Lot
from proxy.routing import judge, rules, scoring
from proxy.routing.conversation import Held, conversation, fingerprint, meet
from proxy.routing.language import language
from proxy.routing.memory import Clock, Decision, Once, Recent
from proxy.routing.policy import RoutingPolicy, Weights
from proxy.routing.pool import Pool, Pools
from proxy.routing.standing import Stand, Standing
from proxy.routing.steering import FREE, Steering, leaning
from proxy.types import Choice, Classification, Features, Incumbent, Judged, Model


class Memory(Struct, frozen=True):
    """What outlives a climb: decisions, conversations and the judge's verdicts; and the clock of all."""

    decisions: Recent[Decision]
    conversations: Recent[Held]
    """`conversation` -> how its last turn left it."""
    verdicts: Recent[judge.Verdict]
    once: Once
    """For what keys and decisions have in common."""
    clock: Clock


DIGITS = 5
CHEAP = "cheap"
"""The profile for chores."""
NAMED = frozenset({"x-session-id", "x-openwebui-chat-id"})
"""Callers' headers that name one conversation."""
_EVEN = Weights()
_MERIT = Weights(quality=1.0, success=0.0, latency=0.0, cost=0.0)


class Sight:
    """How the models stand as observations were last looked at, and the scorers that rest on it."""

    def __init__(
        self,
        standing: Standing,
        profiles: Mapping[str, Weights],
        lengths: scoring.Lengths,
        unmoved: Standing | None = None,
    ) -> None:
        """`unmoved`: the standing without what lasting evidence has moved, where it has moved any."""
        self.standing = standing
        self.kept = {
            model: Stand(*[round(term, DIGITS) for term in terms]) for model, terms in standing.items()
        }
        """The same for the record, once for hundreds of plans: as exact as what it rests on."""
        self.unmoved = Sight(unmoved, profiles, lengths) if unmoved is not None else None
        self._profiles = profiles
        self._lengths = lengths
        self._scorers: dict[tuple[Pool, str, int | None], scoring.Scorer] = {}

    def scorer(self, pool: Pool, profile: str, tradeoff: int | None) -> scoring.Scorer:
        """Who ranks this pool for a profile and a caller's dial; made when it is first needed."""
        scorer = self._scorers.get((pool, profile, tradeoff))
        if scorer is None:
            scorer = self._made(pool, self.weights(profile, tradeoff))
            self._scorers[pool, profile, tradeoff] = scorer
        return scorer

    def merits(self, pool: Pool) -> scoring.Scorer:
        """Who ranks this pool by the answers alone."""
        scorer = self._scorers.get((pool, "", None))
        if scorer is None:
            scorer = self._scorers[pool, "", None] = self._made(pool, _MERIT)
        return scorer

    def weights(self, profile: str, tradeoff: int | None) -> Weights:
        """A profile's, leaning as the dial says; those of a profile that is no more are even."""
        weights = self._profiles.get(profile, _EVEN)
        return weights if tradeoff is None else leaning(weights, tradeoff)

    def _made(self, pool: Pool, weights: Weights) -> scoring.Scorer:
        return scoring.Scorer(pool.candidates, weights, self.standing, self._lengths)


class Ground(Struct, frozen=True):
    """What every climb of one configuration stands on."""

    policy: RoutingPolicy
    models: dict[str, Model]
    """The ready ones, by id."""
    ids: frozenset[str]
    """Theirs."""
    pools: Pools
    intents: tuple[tuple[str, str], ...]
    """(name, description): what the judge may choose from."""
    lengths: scoring.Lengths
    classify: Callable[[Features], Classification]
    shut: Callable[[frozenset[str]], frozenset[str]]
    """Of some models, those whose circuit would not admit a call now."""
    obstacle: Callable[[str], str]
    """For a reader: what stands in the way of one of those."""
    sight: Callable[[], Sight]
    """What the observations of late make of every model."""
    memory: Memory
    rules: tuple[rules.Prepared, ...]
    headers: tuple[str, ...]
    """Caller headers that some rule reads."""
    epoch: int
    """Decisions of another configuration are never found."""


class Past(Struct, frozen=True):
    """A former decision's grounds, in the terms of those who decide."""

    profile: str
    features: Features
    classification: Classification
    language: str
    headers: Mapping[str, str]
    incumbent: Incumbent | None
    """The conversation's model, as the turn before left it."""
    shut: frozenset[str]
    standing: Standing
    ranking: scoring.Ranking | None
    """The totals, where they hold for whoever decides again."""
    steering: Steering = FREE
    own_effort: bool = False
    """The caller said itself how hard to think."""
    draw: float | None = None
    """What was drawn then."""


class Climb:
    """What is known of one request, each part worked out when it is first needed."""

    __slots__ = (
        "_asked", "_features", "_incumbent", "_met", "_pool", "_read", "_shut", "choice",
        "draw", "exploring", "firm", "ground", "headers", "judged", "judging", "key",
        "known", "lot", "named", "own_effort", "profile", "question", "ranking", "said", "session", "sight",
        "spoken", "steering",
    )  # fmt: skip

    def __init__(
        self,
        ground: Ground,
        read: Callable[[], Features],
        key: int,
        headers: Mapping[str, str],
        profile: str,
        session: str,
        judging: bool,
        steering: Steering = FREE,
    ) -> None:
        """`key`: under which the decision cache knows this request; 0 if it shall not."""
        self.ground = ground
        self.key = key
        self.headers = headers
        self.profile = profile
        self.session = session
        self.judging = judging
        self.steering = steering
        self.choice: Choice | None = None
        self.known: Classification | None = None
        self.ranking: scoring.Ranking | None = None
        self.judged: Judged | None = None
        """The verdict that was taken over, and what was thought before."""
        self.question: judge.Question | None = None
        """Set when the judge has to be asked before the climb can go on."""
        self.sight: Sight | None = None
        """Who ranks, if not what the ground sees now."""
        self.exploring = False
        """It is looked past what lasting evidence has moved."""
        self.draw: float | None = None
        """0..1; None: nothing is drawn."""
        self.lot: Lot | None = None
        """What was left to chance, once it was looked at."""
        self.said = b""
        """What the request says, in its plain form; empty where that isn't known."""
        self.named = False
        """The caller's body names the conversation."""
        self.own_effort = False
        """The caller's body says how hard to think."""
        self.firm = True
        """No rung passed because of a circuit: the same request will be decided alike."""
        self._read = read
        self._features: Features | None = None
        self._pool: Pool | None = None
        self._shut: frozenset[str] | None = None
        self._asked: int | None = None
        self._incumbent: Incumbent | None = None
        self._met = False
        self.spoken: str | None = None
        """The ask's language, once it was looked at."""

    @classmethod
    def again(cls, ground: Ground, past: Past) -> Climb:
        """The climb of a former decision: what it was made of is known already."""
        climb = cls(ground, lambda: past.features, 0, past.headers, past.profile, "", False, past.steering)
        climb.known, climb.ranking = past.classification, past.ranking
        climb._asked, climb._incumbent = 0, past.incumbent
        climb.sight = Sight(past.standing, ground.policy.profiles, ground.lengths)
        climb._shut, climb.spoken = past.shut & ground.ids, past.language
        climb.own_effort, climb.draw = past.own_effort, past.draw
        return climb

    @property
    def features(self) -> Features:
        """The facts, read at first sight; of a decision that was remembered, without the words."""
        if self._features is None:
            self._features = self._read()
        return self._features

    @property
    def classification(self) -> Classification:
        """The intents, classified at first sight."""
        if self.known is None:
            self.known = self.ground.classify(self.features)
        return self.known

    @property
    def language(self) -> str:
        """The ask's, ISO 639-1."""
        if self.spoken is None:
            self.spoken = language(self.features.ask)
        return self.spoken

    @property
    def asked(self) -> int:
        """Knows the same messages again."""
        if self._asked is None:
            features = self.features
            named = self.named or (features.turns < 2 and not NAMED.isdisjoint(self.headers))
            self._asked = fingerprint(self.said, features, named) if self.session else 0
        return self._asked

    @property
    def incumbent(self) -> Incumbent | None:
        """The conversation's model, looked for at first sight."""
        if self.session and not self._met:
            self._met = True
            memory = self.ground.memory
            held = memory.conversations.get(conversation(self.session, self.profile))
            if held is not None:
                sticky = self.ground.policy.sticky
                self._incumbent = meet(held, self.asked, memory.clock(), sticky)
        return self._incumbent

    @property
    def pool(self) -> Pool:
        """Who is able to serve the request, healthy or not."""
        if self._pool is None:
            self._pool = self.ground.pools.of(self.features, self.steering.allowed)
        return self._pool

    @property
    def shut(self) -> frozenset[str]:
        """Those whose circuit admits nobody; looked at once, so that a climb is of one mind."""
        if self._shut is None:
            self._shut = self.ground.shut(self.ground.ids)
        return self._shut

    def serves(self, model: str) -> bool:
        """This model is ready, healthy and can serve the request."""
        return model in self.pool.ids and model not in self.shut

    def ranked(self) -> scoring.Ranking:
        """The pool by total, best first; those with a shut circuit in their places, too."""
        if self.ranking is None:
            features, sight = self.features, self.sight or self.ground.sight()
            profile, dial = (
                (self.profile, self.steering.tradeoff) if features.background is None else self.weighed
            )
            self.ranking = sight.scorer(self.pool, profile, dial).rank(features, self.classification)
        return self.ranking

    @property
    def weighed(self) -> tuple[str, int | None]:
        """The profile and the dial by which the pool is ranked: a chore goes to the cheap end, whoever it is
        for."""
        if self.features.background is not None and CHEAP in self.ground.policy.profiles:
            return CHEAP, None
        return self.profile, self.steering.tradeoff

    @property
    def weights(self) -> Weights:
        """What each term counts."""
        return self.view.weights(*self.weighed)

    @property
    def view(self) -> Sight:
        """How the models stand for this climb."""
        return self.sight or self.ground.sight()

    @property
    def expected(self) -> float:
        """Tokens that the answer is expected to have."""
        return scoring.expected(self.features, self.classification, self.ground.lengths)

    def merits(self) -> scoring.Ranking:
        """The pool by the chance of a good answer, whatever it costs and however long it takes."""
        return self.view.merits(self.pool).rank(self.features, self.classification)

    def best(self) -> str | None:
        """The healthy model with the best total; when none is healthy, the best of all."""
        ranking, shut = self.ranked(), self.shut
        healthy = [model for model in ranking if model not in shut] if shut else ranking
        return next(iter(healthy or ranking), None)

    def recall(self, decision: Decision) -> None:
        """All that was known when this was decided, so that nothing has to be worked out."""
        self._features = decision.facts
        self._pool = decision.pool
        self.known = decision.classification
        self.spoken = decision.spoken
        self.ranking = decision.ranking()
