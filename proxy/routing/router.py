"""Climbs the ladder: from a request to a plan, or to a question that the judge must answer first.

model: auto | auto:PROFILE   the ladder
       id or alias           that model, then its own fallbacks
models: [...]                that list, in its order
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter

from proxy.errors import ApiError
from proxy.routing import judge, plan, scoring, steps
from proxy.routing.features import extract
from proxy.routing.memory import Clock, Recent
from proxy.routing.policy import RoutingPolicy
from proxy.routing.steps import STEPS, Climb, Ground, Memory
from proxy.types import (
    ChatRequest,
    Choice,
    Classification,
    Features,
    Model,
    RoutePlan,
    Rung,
    Scored,
)

AUTO = "auto"
BALANCED = "balanced"
"""The profile of plain `auto`."""


def new_memory(policy: RoutingPolicy, clock: Clock) -> Memory:
    """An empty memory with the policy's bounds."""
    return Memory(
        decisions=Recent(policy.cache.ttl, policy.cache.size, clock),
        conversations=Recent(policy.sticky.ttl, policy.sticky.size, clock),
        verdicts=Recent(policy.judge.cache_ttl, policy.judge.cache_size, clock),
    )


class Router:
    """Decides for one configuration. Never calls anyone; remembers through its `Memory` alone."""

    def __init__(
        self,
        policy: RoutingPolicy,
        models: Iterable[Model],
        intents: Sequence[tuple[str, str]],
        classify: Callable[[Features], Classification],
        memory: Memory,
        available: Callable[[str], bool],
        view: scoring.View,
    ) -> None:
        ready = {model.id: model for model in models}
        self.ground = Ground(
            policy=policy,
            models=ready,
            pool=scoring.candidates(ready.values()),
            intents=tuple(intents),
            classify=classify,
            available=available,
            view=view,
            memory=memory,
            thresholds=steps.thresholds(policy),
            rule_headers=tuple(steps.rule_headers(policy)),
        )
        self._names = {name: model.id for model in ready.values() for name in (model.id, *model.aliases)}
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
        Raises ApiError: 404 for an unknown model or profile, 400 when no model can serve the request,
        503 when none is ready.
        """
        features = extract(request)
        if request.models:
            return self._listed(request, features)
        profile = self._profiles.get(request.model)
        if profile is None:
            return self._named(request, features)
        climb = Climb(self.ground, features, headers, profile, session, judging)
        rungs = _climb_traced(climb) if traced else _climb(climb)
        if climb.question is not None:
            return climb.question
        if climb.choice is None:
            raise _nobody(self.ground.models.values(), features)
        steps.remember(climb, climb.choice)
        return self._planned(climb, climb.choice, rungs)

    def judged(self, question: judge.Question, verdict: judge.Verdict) -> None:
        """Keeps the judge's verdict for the plan that waits for it, and for the same ask later."""
        self.ground.memory.verdicts.put(question.key, verdict)

    def served(self, plan: RoutePlan, session: str, model: str) -> None:
        """The conversation is with this model now."""
        if session and not plan.explicit and plan.features.background is None:
            self.ground.memory.conversations.put(steps.conversation(session, plan.profile), model)

    def names(self) -> Iterable[str]:
        """Every value of `model` that this router understands: auto and profiles first."""
        yield from self._profiles
        yield from self._names

    def _planned(self, climb: Climb, choice: Choice, rungs: tuple[Rung, ...]) -> RoutePlan:
        ground = self.ground
        ranking = climb.ranked()
        return RoutePlan(
            models=plan.build(choice.model, ranking, ground.models, climb.features, ground.available),
            route=choice.route,
            features=climb.features,
            classification=climb.classification,
            profile=climb.profile,
            ranking=ranking,
            rungs=rungs,
            scores=self._scores(climb) if rungs else (),
            filtered=self._filtered(climb.features) if rungs else (),
        )

    def _named(self, request: ChatRequest, features: Features) -> RoutePlan:
        model = self._resolve(request.model, "model")
        ground = self.ground
        ranking: scoring.Ranking = ()
        if ground.policy.named_models_use_ranking:
            ranking = Climb(ground, features, {}, BALANCED, "", False).ranked()
        models = plan.build(model, ranking, ground.models, features, _always)
        return RoutePlan(models=models, route="explicit", features=features, explicit=True, ranking=ranking)

    def _listed(self, request: ChatRequest, features: Features) -> RoutePlan:
        # As OpenRouter does: a model named beside the list is asked first.
        named = () if request.model in self._profiles else (self._resolve(request.model, "model"),)
        listed = (self._resolve(name, "models") for name in request.models)
        models = tuple(dict.fromkeys((*named, *listed)))
        return RoutePlan(models=models, route="explicit", features=features, explicit=True)

    def _resolve(self, name: str, param: str) -> str:
        model = self._names.get(name)
        if model is None:
            raise _unknown(name, param, list(self.names()))
        return model

    def _scores(self, climb: Climb) -> tuple[Scored, ...]:
        return scoring.explain(
            climb.pool, climb.features, climb.classification, climb.weights, self.ground.view
        )

    def _filtered(self, features: Features) -> tuple[tuple[str, str], ...]:
        reasons = []
        for model in self.ground.models.values():
            reason = scoring.unfit(model, features)
            if reason is None and not self.ground.available(model.id):
                reason = "circuit open or throttled"
            if reason is not None:
                reasons.append((model.id, reason))
        return tuple(reasons)


def _climb(climb: Climb) -> tuple[Rung, ...]:
    for step in climb.ground.policy.ladder:
        if climb.choice is None or step in steps.REVISES:
            climb.choice = STEPS[step](climb) or climb.choice
            if climb.question is not None:
                break
    return ()


def _climb_traced(climb: Climb) -> tuple[Rung, ...]:
    rungs = []
    for step in climb.ground.policy.ladder:
        if climb.choice is not None and step not in steps.REVISES:
            rungs.append(Rung(step, "not asked: an earlier rung answered"))
            continue
        began = perf_counter()
        answer = STEPS[step](climb)
        took = (perf_counter() - began) * 1e6
        rungs.append(Rung(step, f"{answer.model} ({answer.route})" if answer else "passed", took))
        climb.choice = answer or climb.choice
        if climb.question is not None:
            break
    return tuple(rungs)


def _unknown(name: str, param: str, known: list[str]) -> ApiError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"GET /v1/models lists {len(known)} names."
    return ApiError(
        404, f"The model {name[:200]!r} does not exist here. {hint}", code="model_not_found", param=param
    )


def _nobody(models: Iterable[Model], features: Features) -> ApiError:
    """Why no model can serve this request."""
    models = tuple(models)
    able = [model.context_window for model in models if features.needs <= model.supports]
    if not models:
        return ApiError(
            503,
            "No model is ready: set a provider's API key, then see `kuro check`.",
            type="server_error",
            code="no_healthy_upstream",
        )
    if able:
        return ApiError(
            400,
            f"This request has about {features.prompt_tokens} tokens and reserves "
            f"{features.completion_tokens} more; the largest context window here is {max(able)} tokens.",
            code="context_length_exceeded",
            param="messages",
        )
    needs = sorted(features.needs)
    return ApiError(
        400,
        f"No ready model supports all that this request needs: {', '.join(needs)}.",
        code="unsupported_capability",
        param=_FIELDS.get(needs[0], "messages"),
    )


_FIELDS = {"tools": "tools", "json_schema": "response_format", "logprobs": "logprobs"}
"""Which field of the body makes which need."""


def _always(_: str) -> bool:
    return True
