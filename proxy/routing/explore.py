"""Some decisions are drawn, so that it is seen what other models make of such asks.

    ranking: A, B, C, D    the first `models`:  A  1 - share
                                                B  share / 2      --draw--> who is asked first
                                                C  share / 2

The chances are kept with the call: whatever is measured of it later can be weighed by how likely it was
(`proxy.evaluate.drawn`). Only where scores decide and nothing hangs on it: no chore, no tools, for whoever
begins with them goes on with them, nothing that went before. Whoever is drawn can serve the request, and
stands in for this one call: the conversation's next turn goes to whom it was meant for.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from proxy.routing.climb import Climb
from proxy.routing.policy import Step
from proxy.types import Need


def free(climb: Climb) -> bool:
    """Nothing hangs on who answers this one."""
    choice, features = climb.choice, climb.features
    if choice is None or choice.step != Step.SCORING or features.turns > 1 or climb.exploring:
        return False
    if features.tool_loop or Need.TOOLS in features.needs or features.background is not None:
        return False
    return climb.incumbent is None


def chances(climb: Climb) -> dict[str, float]:
    """The chance of each model to be asked first, the choice's own first; empty where nobody else may be."""
    policy, shut = climb.ground.policy.explore, climb.shut
    if not policy.share or not free(climb):
        return {}
    healthy = [model for model in climb.ranked() if model not in shut] if shut else climb.ranked()
    first, *others = islice(healthy, policy.models) if healthy else ("",)
    if not others:
        return {}
    return {first: 1.0 - policy.share, **dict.fromkeys(others, policy.share / len(others))}


def drawn(odds: Mapping[str, float], draw: float) -> str:
    """Whom a number from 0 (incl.) to 1 (excl.) stands for. Small ones are the others'."""
    choice, *others = odds
    for model in others:
        draw -= odds[model]
        if draw < 0.0:
            return model
    return choice
