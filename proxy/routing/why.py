"""A decision's reasons, for a reader: what each rung said, who was left out for what."""

from __future__ import annotations

from collections.abc import Callable

from proxy.routing import rules, scoring
from proxy.routing.climb import Climb
from proxy.routing.policy import Step, Weights
from proxy.routing.pool import unfit
from proxy.routing.steps import REVISES, take
from proxy.types import Rung, Scored

NOT_ASKED = "not asked: an earlier rung answered"


def climb_with_reasons(climb: Climb) -> tuple[Rung, ...]:
    """Asks every rung of the ladder in turn, or the first ones, while the judge has to be asked."""
    climbed = []
    for step in climb.ground.policy.ladder:
        if climb.choice is not None and step not in REVISES:
            climbed.append(Rung(step, NOT_ASKED))
            continue
        climbed.append(_timed(step, climb))
        if climb.question is not None:
            break
    return tuple(climbed)


def scores(climb: Climb) -> tuple[Scored, ...]:
    """Every candidate with its terms by name, best first."""
    sight = climb.sight or climb.ground.sight()
    return scoring.explain(
        climb.pool.candidates, climb.features, climb.classification, weights(climb), sight.standing
    )


def weights(climb: Climb) -> Weights:
    """How much each term counts for it."""
    return (climb.sight or climb.ground.sight()).weights(climb.profile, climb.steering.tradeoff)


def filtered(climb: Climb) -> tuple[tuple[str, str], ...]:
    """(model, reason) of all that are no candidates, or may not be asked now."""
    reasons = []
    for model in climb.ground.models.values():
        if not climb.steering.permits(model.id):
            reasons.append((model.id, "the caller leaves it out"))
        elif model.id not in climb.pool.ids:
            reasons.append((model.id, unfit(model, climb.features)))
        elif model.id in climb.shut:
            reasons.append((model.id, climb.ground.obstacle(model.id) or "circuit open or throttled"))
    return tuple(reasons)


def _timed(step: Step, climb: Climb) -> Rung:
    clock = climb.ground.memory.clock
    began = clock()
    answer = take(step, climb)
    took = (clock() - began) * 1e6
    if answer is not None:
        return Rung(step, f"{answer.model} ({answer.route})", took)
    return Rung(step, f"passed: {PASSED[step](climb)}", took)


def _cache(climb: Climb) -> str:
    if not climb.key:
        return "nothing is remembered here"
    return "this request was not decided lately, or its model can't be asked now"


def _rules(climb: Climb) -> str:
    prepared = climb.ground.rules
    if not prepared:
        return "there are none"
    held = [rule for rule in rules.holding(prepared, climb) if rule.model not in climb.pool.ids]
    shut = [rule for rule in rules.holding(prepared, climb) if rule.model in climb.shut]
    if shut:
        return f"{shut[0].name} holds, but {shut[0].model} can't be asked now"
    return f"{held[0].name} holds, but {held[0].model} can't serve this" if held else "none holds"


def _judge(climb: Climb) -> str:
    policy, features = climb.ground.policy.judge, climb.features
    if not policy.enabled:
        return "switched off"
    if climb.question is not None:
        return f"{policy.model} is asked"
    if features.background is not None:
        return "a chore is not worth a question"
    if features.tool_loop:
        return "a model is at work"
    if not climb.steering.permits(policy.model):
        return f"the caller leaves {policy.model} out"
    if policy.model not in climb.ground.ids or policy.model in climb.shut:
        return f"{policy.model} can't be asked now"
    return "the intent is sure enough, or the judge gave no answer"


def _scoring(climb: Climb) -> str:
    return "nobody can serve this"


def _sticky(climb: Climb) -> str:
    incumbent, choice = climb.incumbent, climb.choice
    if incumbent is None:
        return "the conversation is with nobody yet"
    if choice is not None and choice.model == incumbent:
        return f"the conversation is with {incumbent} anyway"
    if climb.features.background is not None:
        return "a chore is no part of the conversation"
    if not climb.serves(incumbent):
        return f"{incumbent}, whom the conversation was with, can't be asked now or can't serve this"
    newcomer = choice.model if choice is not None else climb.best()
    totals = climb.ranked()
    if newcomer is None or incumbent not in totals or newcomer not in totals:
        return f"{incumbent} is not a candidate any more"
    return f"{newcomer} beats {incumbent} by {totals[newcomer] - totals[incumbent]:.3f}"


PASSED: dict[Step, Callable[[Climb], str]] = {
    Step.CACHE: _cache,
    Step.RULES: _rules,
    Step.JUDGE: _judge,
    Step.SCORING: _scoring,
    Step.STICKY: _sticky,
    Step.DEFAULT: _scoring,
}
"""Step -> why it had no answer. Every step has one."""
