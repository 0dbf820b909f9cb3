"""Who can serve a request at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.routing.pool import ESTIMATE_SLACK, WISHES, Pools, unfit
from proxy.routing.standing import candidates
from proxy.types import Features, Model, Need


def model(id: str, window: int = 8000, answer: int | None = None, *supports: Need) -> Model:
    return Model(id=id, provider="p", upstream_model=id, context_window=window, max_output_tokens=answer,
                 supports=frozenset(supports))  # fmt: skip


MODELS = [
    model("short", 1000),
    model("long", 100_000, 4000, Need.TOOLS),
    model("seeing", 8000, 8000, Need.TOOLS, Need.VISION),
]


def ask(prompt: int = 10, completion: int = 0, *needs: Need) -> Features:
    return Features("ask", prompt_tokens=prompt, completion_tokens=completion, needs=frozenset(needs))


def pool(models: list[Model], features: Features) -> list[str]:
    return [candidate.id for candidate in Pools(candidates(models)).of(features).candidates]


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        pytest.param(ask(), ["short", "long", "seeing"], id="a small plain ask fits everybody"),
        pytest.param(ask(10, 0, Need.TOOLS), ["long", "seeing"], id="tools need a model with tools"),
        pytest.param(ask(10, 0, Need.TOOLS, Need.VISION), ["seeing"], id="all needs must be supported"),
        pytest.param(ask(10, 0, Need.AUDIO), [], id="what nobody supports finds nobody"),
        pytest.param(ask(10, 0, Need.TOOLS, Need.FILES), ["long", "seeing"], id="but for what is a wish"),
        pytest.param(
            ask(1049), ["short", "long", "seeing"], id="a window is as large as the estimate is sure"
        ),
        pytest.param(ask(1050), ["long", "seeing"], id="a prompt that fills the window leaves no answer"),
        pytest.param(ask(500, 600), ["long", "seeing"], id="the answer must fit beside the prompt"),
        pytest.param(ask(10, 5000), ["seeing"], id="a longer answer than a model gives isn't asked of it"),
        pytest.param(
            ask(10, 50_000), ["short", "long", "seeing"], id="a limit that nobody has room for is no bar"
        ),
        pytest.param(ask(50_000, 50_000), ["long"], id="but the prompt must fit all the same"),
        pytest.param(ask(10, 9000, Need.VISION), ["seeing"], id="nor does such a limit waive a need"),
        pytest.param(ask(200_000), [], id="too long for all is too long"),
    ],
)
def test_the_pool_of(features: Features, expected: list[str]) -> None:
    assert pool(MODELS, features) == expected


@pytest.mark.parametrize(
    ("features", "which", "expected"),
    [
        pytest.param(ask(1, 0, Need.VISION, Need.AUDIO), 0, "does not support audio, vision", id="a need"),
        pytest.param(ask(2000), 0, "context window of 1000 tokens is too small by 951", id="the window"),
        pytest.param(ask(10, 5000), 1, "has no room for an answer of 5000 tokens", id="the answer"),
    ],
)
def test_a_reader_is_told(features: Features, which: int, expected: str) -> None:
    assert unfit(MODELS[which], features) == expected


def test_no_models_form_an_empty_pool() -> None:
    assert pool([], ask()) == []


def test_a_wish_counts_where_somebody_fulfils_it() -> None:
    models = [*MODELS, model("going on", 8000, None, Need.PREFILL)]
    assert pool(models, ask(10, 0, Need.PREFILL)) == ["going on"]
    assert pool(models, ask(10, 0, Need.PREFILL, Need.VISION)) == ["seeing"]


def test_requests_of_a_kind_share_one_pool() -> None:
    pools = Pools(candidates(MODELS))
    assert pools.of(ask(10)) is pools.of(ask(900, 20))
    assert pools.of(ask(10)) is not pools.of(ask(2000))


NEEDS = st.frozensets(st.sampled_from(Need), max_size=3)
SIZES = st.integers(1, 5000)
REGISTRY = st.lists(
    st.builds(
        Model, id=st.uuids().map(str), provider=st.just("p"), upstream_model=st.just("m"), supports=NEEDS,
        context_window=SIZES, max_output_tokens=st.none() | SIZES,
    ),
    max_size=6,
)  # fmt: skip
ASKS = st.builds(
    Features, ask=st.just(""), prompt_tokens=st.integers(0, 6000), completion_tokens=st.integers(0, 6000),
    needs=NEEDS,
)  # fmt: skip


@given(REGISTRY, st.lists(ASKS, min_size=1, max_size=4))
def test_the_looked_up_pool_is_the_filtered_registry(models: list[Model], asks: list[Features]) -> None:
    pools = Pools(candidates(models))
    for features in asks:
        found = pools.of(features)
        bare = replace(features, needs=features.needs - WISHES)
        tries = [
            [m.id for m in models if fits(m, wanted, answer)]
            for wanted in (features, bare)
            for answer in (features.completion_tokens, 0)
        ]
        expected = next(filter(None, tries), [])
        assert [c.id for c in found.candidates] == expected
        assert found.ids == set(expected)


def fits(model: Model, features: Features, answer: int) -> bool:
    return (
        features.needs <= model.supports
        and features.prompt_tokens + max(answer, 1) <= int(model.context_window * ESTIMATE_SLACK)
        and (model.max_output_tokens is None or answer <= model.max_output_tokens)
    )
