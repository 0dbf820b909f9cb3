"""The verdict table holds every kind, and says what CONTRACT says."""

from __future__ import annotations

import pytest

from proxy.dispatch.states import GATES
from proxy.providers.failure import VERDICTS, Effect, Next, Retry
from proxy.types import FailureKind


def test_every_kind_has_a_verdict() -> None:
    assert set(VERDICTS) == set(FailureKind)


@pytest.mark.parametrize("kind", FailureKind)
def test_verdicts_are_coherent(kind: FailureKind) -> None:
    verdict = VERDICTS[kind]
    assert 400 <= verdict.status <= 599
    assert verdict.throttles == (kind in GATES), "a gate knows what shut it"
    assert not (verdict.throttles and not verdict.again), "who throttles may be asked again"
    if verdict.passes:
        assert verdict.retry is Retry.NO
        assert verdict.effect is Effect.NEUTRAL, "the request's fault says nothing about the model"


def test_what_one_model_lacks_another_is_asked_for() -> None:
    verdict = VERDICTS[FailureKind.UNSUPPORTED]
    assert (verdict.next, verdict.effect, verdict.passes) == (Next.YES, Effect.NEUTRAL, True)
