"""A stub upstream with a proxy in front of it, one pair per test module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.kuro import Kuro, model, write_config
from tests.stub import StubUpstream

pytest.register_assert_rewrite("tests.e2e.heard", "tests.e2e.sixteen.faults")


@pytest.fixture(scope="module")
def stub() -> Iterator[StubUpstream]:
    with StubUpstream() as upstream:
        yield upstream


ADMIN = "sk-admin-of-the-tests"

MODELS = [
    model(
        "primary",
        capabilities={"casual_chat": 1.0, "code_generation": 0.9, "writing": 0.9},
        fallback=["second"],
    ),
    model("second", capabilities={"casual_chat": 0.5, "code_generation": 0.5}, aliases=["spare"]),
    model("third", capabilities={"casual_chat": 0.1}, context_window=200_000),
    model("claude", provider="anthropic", capabilities={"writing": 0.3}, max_output_tokens=4096),
]


@pytest.fixture(scope="module")
def kuro(stub: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kuro]:
    """Three models of one upstream, and a fourth that speaks Anthropic's dialect. No caller keys."""
    config = write_config(
        tmp_path_factory.mktemp("config"),
        stub.url,
        MODELS,
        providers={"anthropic": {"dialect": "anthropic", "base_url": stub.url, "api_key": "sk-ant"}},
        proxy={"admin_key": ADMIN},
        routing={"cache": {"size": 0}, "sticky": {"size": 0}},
    )
    with Kuro(config) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def closed_circuits(request: pytest.FixtureRequest) -> None:
    """Circuits and throttles of one test don't speak in the next."""
    for name in ("kuro", "quick"):
        if name in request.fixturenames:
            proxy: Kuro = request.getfixturevalue(name)
            for entry in MODELS:
                reset(proxy, entry["id"])


def reset(proxy: Kuro, name: str) -> None:
    status, _, body = proxy.request(
        "POST",
        f"/admin/v1/models/{name}/circuit",
        b'{"action": "reset"}',
        {"x-admin-key": ADMIN, "content-type": "application/json"},
    )
    assert status < 300, body


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, stub: StubUpstream) -> Iterator[Kuro]:
    """A proxy that loses patience soon, for upstreams that mean harm."""
    from tests.e2e.hostile import hurried  # which takes its models from here

    with hurried(tmp_path_factory.mktemp("hostile"), stub) as proxy:
        yield proxy
