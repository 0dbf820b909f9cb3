"""The ladder's rungs. Each looks at the climb so far and answers with a choice, or passes.

    cache     the same request was decided a moment ago
    rules     an operator's condition holds
    judge     a small model says which intent this is; the scores are taken anew
    scoring   the best total among those that can serve it
    sticky    the conversation stays with its model: the one rung that may revise an earlier answer
    default   the configured model, or the first that is ready

`STEPS` is the table; the order comes from `routing.yml`. What is remembered doesn't depend on circuits:
a ranking holds everybody who is able, and whose circuit is shut is looked at on every climb.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.routing import judge, rules
from proxy.routing.climb import Climb
from proxy.routing.memory import conversation, decision
from proxy.routing.policy import JudgePolicy, Step
from proxy.types import Choice

REVISES = frozenset({Step.STICKY})
"""Rungs that are asked even when an earlier one has answered."""


def take(step: Step, climb: Climb) -> Choice | None:
    """Asks one rung; its answer becomes the climb's, and is remembered if it will hold for the next."""
    answer = STEPS[step](climb)
    if answer is not None:
        climb.choice = answer
        if climb.key and step in _DECIDES and climb.firm:
            memory, seen, ranking = climb.ground.memory, climb.classification, climb.ranked()
            decided = decision(
                answer.step,
                answer.model,
                climb.pool,
                climb.features,
                seen,
                ranking,
                memory.once,
                climb.spoken,
            )
            memory.decisions.put(climb.key, decided)
    return answer


def _cache(climb: Climb) -> Choice | None:
    hit = climb.ground.memory.decisions.get(climb.key) if climb.key else None
    if hit is None:
        return None
    if hit.step == Step.RULES and hit.model in climb.shut:
        return None
    climb.recall(hit)
    model = hit.model if hit.step == Step.RULES else climb.best()
    return Choice(hit.step, model, "cache") if model else None


def _rules(climb: Climb) -> Choice | None:
    prepared = climb.ground.rules
    if not prepared:
        return None
    for rule in rules.holding(prepared, climb):
        if climb.serves(rule.model):
            return Choice(Step.RULES, rule.model, f"rule:{rule.name}")
        if rule.model in climb.pool.ids:
            climb.firm = False
    return None


def _judge(climb: Climb) -> Choice | None:
    policy = climb.ground.policy.judge
    if not policy.enabled or not _doubtful(climb, policy):
        return None
    question = judge.question(climb.features, climb.ground.intents, policy.model)
    verdict = climb.ground.memory.verdicts.get(question.key)
    if verdict is None:
        climb.question = question if climb.judging and _sits(climb, policy.model) else None
        return None
    climb.known = judge.apply(verdict, climb.classification)
    climb.ranking = None
    model = climb.best()
    return Choice(Step.JUDGE, model, "judge") if model else None


def _doubtful(climb: Climb, policy: JudgePolicy) -> bool:
    """There is somebody to choose from, nobody is at work on it, and the rules aren't sure."""
    features = climb.features
    return (
        features.background is None
        and not features.tool_loop
        and len(climb.pool.candidates) > 1
        and climb.classification.intents[0][1] < policy.max_confidence
    )


def _sits(climb: Climb, model: str) -> bool:
    """The judge is ready, its circuit admits a question, and the caller lets it see the request."""
    return model in climb.ground.ids and model not in climb.shut and climb.steering.permits(model)


def _scoring(climb: Climb) -> Choice | None:
    model = climb.best()
    return Choice(Step.SCORING, model, "score") if model else None


def _sticky(climb: Climb) -> Choice | None:
    if climb.session:
        key = conversation(climb.session, climb.profile)
        climb.incumbent = climb.ground.memory.conversations.get(key)
    incumbent = climb.incumbent
    if incumbent is None or (climb.choice is not None and climb.choice.model == incumbent):
        return None
    if climb.features.background is not None or not climb.serves(incumbent) or not _stays(climb, incumbent):
        return None
    return Choice(Step.STICKY, incumbent, "sticky")


def _stays(climb: Climb, incumbent: str) -> bool:
    """In a tool loop always; else unless a rule spoke or a newcomer clearly beats it."""
    choice = climb.choice
    if climb.features.tool_loop:
        return True
    if choice is not None and choice.step == Step.RULES:
        return False
    newcomer = choice.model if choice else _scored(climb)
    totals = climb.ranked()
    lead = totals[newcomer] - totals[incumbent] if newcomer else 0.0
    return lead <= climb.ground.policy.sticky.margin


def _scored(climb: Climb) -> str | None:
    """Whom scoring will choose, when it stands higher on the ladder."""
    return climb.best() if Step.SCORING in climb.ground.policy.ladder else None


def default(climb: Climb) -> Choice | None:
    """The last rung: answers whenever anybody is able, also where no ladder names it."""
    wanted, pool = climb.ground.policy.default_model, climb.pool
    able = [candidate.id for candidate in pool.candidates]
    order = [wanted, *able] if wanted is not None and wanted in pool.ids else able
    healthy = [model for model in order if model not in climb.shut]
    first = next(iter(healthy or order), None)
    return Choice(Step.DEFAULT, first, "default") if first else None


STEPS: dict[Step, Callable[[Climb], Choice | None]] = {
    Step.CACHE: _cache,
    Step.RULES: _rules,
    Step.JUDGE: _judge,
    Step.SCORING: _scoring,
    Step.STICKY: _sticky,
    Step.DEFAULT: default,
}
"""Every step has a rung."""

_DECIDES = frozenset({Step.RULES, Step.JUDGE, Step.SCORING})
"""Rungs whose answer depends on the request alone, circuits apart."""
