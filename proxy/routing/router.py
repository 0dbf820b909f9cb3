"""Climbs the ladder: from a request to a plan, or to a question that the judge must answer first.

model: auto | auto:PROFILE   the ladder
       id or alias           that model, then its own fallbacks
models: [...]                that list, in its order
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from itertools import count

from msgspec.structs import asdict, replace

from proxy.effort import Effort
from proxy.errors import ApiError
from proxy.routing import effort, judge, plan, refusal, rules, scoring
from proxy.routing.climb import Climb, Ground, Memory, Past, Sight
from proxy.routing.conversation import conversation, follow, outlasts
from proxy.routing.features import extract
from proxy.routing.memory import Clock, Glance, Once, Recent, Told, digest, plain
from proxy.routing.policy import RoutingPolicy, Step
from proxy.routing.pool import Pools
from proxy.routing.standing import Candidate, Standing, View, candidates, standing
from proxy.routing.steering import FREE, Helm, Steering
from proxy.routing.steps import REVISES, default, take
from proxy.routing.why import climb_with_reasons, filtered, scores
from proxy.types import ChatRequest, Classification, Features, Model, Need, RoutePlan

AUTO = "auto"
BALANCED = "balanced"
"""The profile of plain `auto`."""
EXPLICIT = "explicit"
"""The route of models that the caller named."""
_NO_HEADERS: Mapping[str, str] = {}
UNREAD = Features(ask="")
"""Of a request whose plan needs no look at it."""
UNTOLD = None, ""
"""The level, and why, where levels aren't chosen."""
GLANCE = 0.1
"""Seconds for which observations are good."""


_epochs = count()


def new_memory(policy: RoutingPolicy, clock: Clock, *, shared: bool = False) -> Memory:
    """An empty memory with the policy's bounds; `shared`: other processes are to hear of conversations."""
    remembered = Told if shared else Recent
    return Memory(
        decisions=Recent(policy.cache.ttl, policy.cache.size, clock),
        conversations=remembered(policy.sticky.ttl, policy.sticky.size, clock),
        verdicts=Recent(policy.judge.cache_ttl, policy.judge.cache_size, clock),
        once=Once(),
        clock=clock,
    )


def renew_memory(memory: Memory, policy: RoutingPolicy, models: Container[str]) -> None:
    """A reload: the policy's bounds; conversations stay with the models that are left, decisions go."""
    memory.decisions.bound(policy.cache.ttl, policy.cache.size)
    forget_decisions(memory)
    memory.conversations.bound(policy.sticky.ttl, policy.sticky.size)
    memory.conversations.keep(lambda held: held.model in models)
    memory.verdicts.bound(policy.judge.cache_ttl, policy.judge.cache_size)


def forget_decisions(memory: Memory) -> None:
    """Every request is decided anew."""
    memory.decisions.keep(lambda _: False)


class Router:
    """Decides for one configuration. Never calls anyone; remembers through its `Memory` alone."""

    def __init__(
        self,
        policy: RoutingPolicy,
        models: Iterable[Model],
        intents: Sequence[tuple[str, str]],
        classify: Callable[[Features], Classification],
        memory: Memory,
        shut: Callable[[frozenset[str]], frozenset[str]],
        view: View,
        intent_needs: Mapping[str, Iterable[Need]] | None = None,
        moved: Callable[[], Standing] = dict,
        chance: Callable[[], float] = lambda: 1.0,
        obstacle: Callable[[str], str] = lambda _: "",
        lengths: scoring.Lengths | None = None,
    ) -> None:
        """`intents` are (name, description); `intent_needs` what a model must support to count as able.

        `shut` says of some models which of them may not be asked now; `moved` how far lasting evidence has
        moved which. `chance` is 0..1 at random: below `adapt.explore` a decision looks past that, and else
        it says whom `explore` sends it to.
        `obstacle` says for a reader why a model may not be asked.
        """
        ready = {model.id: model for model in models}
        lengths = lengths or {}
        prepared = candidates(ready.values(), intent_needs)
        self.ground = Ground(
            policy=policy,
            models=ready,
            ids=frozenset(ready),
            pools=Pools(prepared),
            intents=tuple(intents),
            lengths=lengths,
            classify=classify,
            shut=shut,
            obstacle=obstacle,
            sight=Glance(partial(_look, prepared, policy, lengths, view, moved), GLANCE, memory.clock),
            memory=memory,
            rules=rules.prepare(policy.rules),
            headers=rules.headers(policy.rules),
            epoch=next(_epochs),
        )
        self._chance = chance
        self._looks_past = policy.adapt.enabled and policy.adapt.explore > 0.0
        self._draws = policy.explore.share > 0.0 and Step.EXPLORE in policy.ladder
        self._thinks = policy.effort.enabled
        self._remembers = Step.CACHE in policy.ladder and policy.cache.size > 0
        idle = {
            Step.RULES: not policy.rules,
            Step.JUDGE: not policy.judge.enabled,
            Step.EXPLORE: not self._draws,
        }
        self._ladder = tuple(step for step in policy.ladder if not idle.get(step))
        self._names = {name: model.id for model in ready.values() for name in (model.id, *model.aliases)}
        self._helm = Helm(self._names)
        self._profiles = {AUTO: BALANCED, **{f"{AUTO}:{name}": name for name in policy.profiles}}

    def plan(
        self,
        request: ChatRequest,
        headers: Mapping[str, str],
        session: str = "",
        *,
        judging: bool = True,
        traced: bool = False,
    ) -> RoutePlan | judge.Question:
        """The plan for a request, or, while `judging`, what the judge should be asked first.

        `headers` has lower-case names. Put a verdict with `judged` and plan again with judging off.
        Raises ApiError: 404 for an unknown model or profile, 400 when no model can or may serve the
        request, 503 when none is ready.
        """
        profile = None if request.models else self._profiles.get(request.model)
        if profile is None:
            explicit = self._listed if request.models else self._named
            return explicit(request, traced)
        said = plain(request) if self._remembers else b""
        key = self._key(said, request, headers, profile)
        steering = self._steering(request)
        climb = Climb(
            self.ground, partial(extract, request), key, headers, profile, session, judging, steering
        )
        climb.said = said
        climb.named = "session_id" in request.fields
        climb.own_effort = self._thinks and effort.said(request.fields)
        if self._looks_past or self._draws:
            self._draw(climb)
        if traced:
            return self._traced(climb, extract(request))
        for step in self._ladder:
            if climb.choice is None or step in REVISES:
                take(step, climb)
                if climb.question is not None:
                    return climb.question
        return self._planned(climb)

    def _steering(self, request: ChatRequest) -> Steering:
        return FREE if request.auto_router is None else self._helm.steer(request.auto_router)

    def _draw(self, climb: Climb) -> None:
        """One number for both: a decision that looks past what was moved is not sent elsewhere besides."""
        unmoved = self.ground.sight().unmoved if self._looks_past else None
        if unmoved is None and not self._draws:
            return
        draw = self._chance()
        if unmoved is not None:
            past = self.ground.policy.adapt.explore
            if draw < past:
                climb.key, climb.sight, climb.exploring = 0, unmoved, True
                return
            draw = (draw - past) / (1.0 - past)
        climb.draw = draw if self._draws else None

    @property
    def least_effort(self) -> Effort | None:
        """How hard a judge is to think; None: it isn't told."""
        return Effort.NONE if self._thinks else None

    def judged(self, question: judge.Question, verdict: judge.Verdict) -> None:
        """Keeps the judge's verdict for the plan that waits for it, and for the same ask later."""
        self.ground.memory.verdicts.put(question.key, verdict)

    def served(self, plan: RoutePlan, session: str, model: str, *, hedged: bool = False) -> None:
        """The conversation's turn was answered by this model, `hedged` if beside a late one."""
        if session and not plan.explicit and plan.features.background is None:
            memory, number = self.ground.memory, conversation(session, plan.profile)
            held, known = follow(plan, model, hedged, memory.clock()), memory.conversations.peek(number)
            if known is None or outlasts(held, known):
                memory.conversations.put(number, held)

    def decide_again(self, past: Past, *, traced: bool = False) -> RoutePlan:
        """The plan that this configuration makes of former grounds. Raises ApiError as `plan` does."""
        priors = standing(self.ground.pools.all, lambda _: None)
        known = {model: past.standing.get(model, stand) for model, stand in priors.items()}
        climb = Climb.again(self.ground, replace(past, standing=known))
        if traced:
            plan = self._traced(climb, past.features)
            assert isinstance(plan, RoutePlan)
            return plan
        for step in self._ladder:
            if climb.choice is None or step in REVISES:
                take(step, climb)
        return self._planned(climb)

    def named_again(self, models: Sequence[str], asked: str) -> RoutePlan:
        """The plan of models that a caller named, `asked` as `model`; those that are left of them."""
        left = tuple(model for model in models if model in self.ground.models)
        if not left:
            raise refusal.unknown(asked, "model", list(self.names()))
        return RoutePlan(left, EXPLICIT, UNREAD, explicit=True)

    def apart(self) -> Router:
        """The same router with a memory of its own that keeps nothing: to explain decisions."""
        other = copy(self)
        other.ground = replace(self.ground, memory=_forgetful(self.ground.memory.clock))
        other._remembers = other._looks_past = other._draws = False
        return other

    def names(self) -> Iterable[str]:
        """Every value of `model` that this router understands: auto and profiles first."""
        yield from self._profiles
        yield from self._names

    def _key(self, said: bytes, request: ChatRequest, headers: Mapping[str, str], profile: str) -> int:
        """All that a decision is made of, but for circuits, observations and conversations."""
        ground = self.ground
        read = tuple([headers.get(name) for name in ground.headers]) if ground.headers else None
        beside = (ground.epoch, profile, read)
        return digest(said, *(beside if request.auto_router is None else (*beside, request.auto_router)))

    def _planned(self, climb: Climb) -> RoutePlan:
        ground, choice = self.ground, climb.choice or default(climb)
        if choice is None:
            raise _refused(climb)
        ranking, own = climb.ranked(), ground.models[choice.model].fallback
        models = plan.build(choice.model, own, ranking, climb.pool.ids, climb.shut)
        level, why = effort.choose(climb, models[0]) if self._thinks else UNTOLD
        return RoutePlan(
            models=models,
            route=choice.route,
            features=climb.features,
            classification=climb.classification,
            profile=climb.profile,
            ranking=ranking,
            judged=climb.judged,
            asked=climb.asked,
            incumbent=climb.incumbent,
            shut=climb.shut,
            standing=climb.view.kept,
            headers={name: climb.headers[name] for name in ground.headers if name in climb.headers}
            if ground.headers
            else _NO_HEADERS,
            language=climb.spoken,
            allowed=climb.steering.allowed,
            tradeoff=climb.steering.tradeoff,
            exploring=climb.exploring,
            lot=climb.lot,
            effort=level,
            effort_why=why,
        )

    def _traced(self, climb: Climb, features: Features) -> RoutePlan | judge.Question:
        """The same plan with its reasons."""
        rungs = climb_with_reasons(climb)
        if climb.question is not None:
            return climb.question
        made = self._planned(climb)
        first = climb.choice.model if climb.choice else made.models[0]
        return replace(
            made,
            features=features,  # a decision that was remembered has forgotten the words
            rungs=rungs,
            scores=scores(climb),
            weights=asdict(climb.weights),
            expected=climb.expected,
            filtered=filtered(climb),
            origins=plan.origins(
                made.models,
                first,
                self.ground.models[first].fallback,
                climb.shut,
                plan.DRAWN if made.lot and made.lot.instead_of else plan.FIRST,
            ),
            efforts=effort.told(made.effort, map(self.ground.models.__getitem__, made.models)),
        )

    def _named(self, request: ChatRequest, traced: bool) -> RoutePlan:
        model, steering = self._resolve(request.model, "model"), self._steering(request)
        own = [other for other in self.ground.models[model].fallback if steering.permits(other)]
        if not own and not self.ground.policy.named_models_use_ranking:
            return _asked_for((model,), request, traced)
        features = extract(request)
        climb = Climb(self.ground, lambda: features, 0, {}, BALANCED, "", False, steering)
        ranking = climb.ranked() if self.ground.policy.named_models_use_ranking else {}
        # Its own circuit isn't looked at: it was asked for, and is refused where permits are given.
        shut = climb.shut - {model}
        models = plan.build(model, own, ranking, climb.pool.ids, shut)
        return RoutePlan(
            models=models,
            route=EXPLICIT,
            features=features,
            classification=climb.known,
            explicit=True,
            ranking=ranking,
            allowed=steering.allowed,
            tradeoff=steering.tradeoff,
            origins=plan.origins(models, model, own, shut, plan.ASKED_FOR) if traced else (),
        )

    def _listed(self, request: ChatRequest, traced: bool) -> RoutePlan:
        # As OpenRouter does: a model named beside the list is asked first.
        named = () if request.model in self._profiles else (self._resolve(request.model, "model"),)
        listed = [self._resolve(name, "models") for name in request.models]
        models = tuple(dict.fromkeys((*named, *listed)))
        return _asked_for(models, request, traced)

    def _resolve(self, name: str, param: str) -> str:
        model = self._names.get(name)
        if model is None and name in self._profiles:
            raise refusal.not_a_model(name)
        if model is None:
            raise refusal.unknown(name, param, list(self.names()))
        return model


def _asked_for(models: tuple[str, ...], request: ChatRequest, traced: bool) -> RoutePlan:
    features, origins = (extract(request), (plan.ASKED_FOR,) * len(models)) if traced else (UNREAD, ())
    return RoutePlan(models, EXPLICIT, features, explicit=True, origins=origins)


def _look(
    pool: Sequence[Candidate],
    policy: RoutingPolicy,
    lengths: scoring.Lengths,
    view: View,
    moved: Callable[[], Standing],
) -> Sight:
    shifts = moved()
    unmoved = standing(pool, view) if shifts else None
    return Sight(standing(pool, view, shifts), policy.profiles, lengths, unmoved)


def _refused(climb: Climb) -> ApiError:
    models = [model for model in climb.ground.models.values() if climb.steering.permits(model.id)]
    return refusal.nobody(models, climb.features, "ready" if climb.steering.allowed is None else "allowed")


def _forgetful(clock: Clock) -> Memory:
    return Memory(Recent(0.0, 0, clock), Recent(0.0, 0, clock), Recent(0.0, 0, clock), Once(), clock)
