"""A decision's reasons, for a reader: what each rung said, who was left out for what."""

from __future__ import annotations

from collections.abc import Callable

from proxy.routing import explore, rules, scoring
from proxy.routing.climb import Climb
from proxy.routing.policy import Step
from proxy.routing.pool import unfit
from proxy.routing.steps import REVISES, doubtful, leads, struggles, take
from proxy.types import Choice, Rung, Scored

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
    return scoring.explain(
        climb.pool.candidates,
        climb.features,
        climb.classification,
        climb.weights,
        climb.view.standing,
        climb.ground.lengths,
    )


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
    before = climb.choice
    began = clock()
    answer = take(step, climb)
    took = (clock() - began) * 1e6
    if answer is not None:
        why = f": {SAID[step](climb, before)}" if step in SAID else ""
        return Rung(step, f"{answer.model} ({answer.route}){why}", took)
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
    if not doubtful(climb):
        return "the first two intents are far enough apart, and so are the first two models"
    return "it gave no answer, or could not be asked in time"


def _scoring(climb: Climb) -> str:
    return "nobody can serve this"


def _sticky(climb: Climb) -> str:
    incumbent, choice = climb.incumbent, climb.choice
    if incumbent is None:
        return "the conversation is with nobody yet"
    if climb.features.background is not None:
        return "a chore is no part of the conversation"
    if choice is not None and choice.model == incumbent.model:
        return f"the conversation is with {incumbent.model} anyway"
    if not climb.serves(incumbent.model):
        return f"{incumbent.model}, whom the conversation was with, can't be asked now or can't serve this"
    if choice is None or choice.step == Step.RULES:
        return "a rule holds"
    lead, asked = leads(climb, choice.model, incumbent.model)
    return f"{choice.model} beats {incumbent.model} by {lead:.3f}, {asked:.3f} would be too little"


def _verdict(climb: Climb, _: Choice | None) -> str:
    judged, seen = climb.judged, climb.classification
    if judged is None or climb.choice is None:
        return "as it was judged before"
    before = judged.before
    return (
        f"{before.top} ({before.intents[0][1]:.2f}) -> {seen.top} ({seen.intents[0][1]:.2f}), "
        f"difficulty {before.difficulty:.2f} -> {seen.difficulty:.2f}, "
        f"{judged.model_before} -> {climb.choice.model}"
    )


def _stayed(climb: Climb, before: Choice | None) -> str:
    if before is None:
        return "the conversation is with it"
    if climb.features.tool_loop:
        return "it is at work"
    keeper = climb.choice.model if climb.choice else ""
    lead, asked = leads(climb, before.model, keeper)
    if lead <= asked:
        return f"{before.model} beats it by {lead:.3f}, {asked:.3f} is too little for a change"
    return f"{before.model} would be a lesser model for the same task"


def _escalated(climb: Climb, before: Choice | None) -> str:
    assert before is not None  # there is nothing to be better than else
    features, incumbent = climb.features, climb.incumbent
    marks = [label for label in climb.classification.evidence if label.startswith(_STRUGGLE)]
    signs = {
        "the same messages came again": incumbent is not None and incumbent.again,
        f"{features.failed_tools} rounds of tool calls failed": features.failed_tools > 0,
        "the ask is repeated": features.repeats,
        ", ".join(marks): bool(marks) and not features.tool_loop,
    }
    return f"better than {before.model}, for " + "; ".join(sign for sign, holds in signs.items() if holds)


def _escalation(climb: Climb) -> str:
    choice = climb.choice
    if not climb.ground.policy.escalation.enabled:
        return "switched off"
    if not struggles(climb):
        return "nothing says that the caller struggles"
    if choice is None or choice.step == Step.RULES:
        return "a rule holds"
    return f"nobody is enough better than {choice.model}"


def _drawn(climb: Climb, before: Choice | None) -> str:
    assert before is not None  # somebody is drawn instead of
    model = climb.choice.model if climb.choice else ""
    chance = climb.lot.chances[model] if climb.lot else 0.0
    return f"drawn instead of {before.model}, with a chance of {chance:.3f}"


def _explore(climb: Climb) -> str:
    choice = climb.choice
    if not climb.ground.policy.explore.share:
        return "switched off"
    if climb.lot and choice is not None:
        return f"with a chance of {1.0 - climb.lot.chances[choice.model]:.3f} another model would be drawn"
    return "nothing is drawn here" if not explore.free(climb) else "nobody else can be asked now"


_STRUGGLE = "struggle:"
"""Evidence that the ask complains."""

SAID: dict[Step, Callable[[Climb, Choice | None], str]] = {
    Step.JUDGE: _verdict,
    Step.STICKY: _stayed,
    Step.ESCALATION: _escalated,
    Step.EXPLORE: _drawn,
}
"""Step -> why it took whom it took, after the choice before it; the others say it by their route."""

PASSED: dict[Step, Callable[[Climb], str]] = {
    Step.CACHE: _cache,
    Step.RULES: _rules,
    Step.JUDGE: _judge,
    Step.SCORING: _scoring,
    Step.STICKY: _sticky,
    Step.ESCALATION: _escalation,
    Step.EXPLORE: _explore,
    Step.DEFAULT: _scoring,
}
"""Step -> why it had no answer. Every step has one."""
