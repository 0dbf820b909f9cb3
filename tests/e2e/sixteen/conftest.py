"""One stub and one proxy for all faults of a module, looked over after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.heard import listen
from tests.e2e.kuro import Kuro
from tests.e2e.sixteen.faults import MESSAGES, PAIRS, config
from tests.stub import StubUpstream


@pytest.fixture(scope="module")
def stub() -> Iterator[StubUpstream]:
    with StubUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(stub: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kuro]:
    with Kuro(config(stub, tmp_path_factory.mktemp("sixteen"), PAIRS)) as kuro:
        yield kuro
        assert kuro.stop() == 0


@pytest.fixture(autouse=True)
def well_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every fault the process answers others, and it logged no traceback."""
    yield
    if "proxy" not in request.fixturenames:
        return
    kuro: Kuro = request.getfixturevalue("proxy")
    assert kuro.request("GET", "/readyz")[0] == 200
    good = listen(kuro, {"model": "well", "messages": MESSAGES})
    assert (good.text, good.done) == ("Hello from well.", 1)
    assert not kuro.lines(lambda line: "traceback" in line or line.get("level") in ("error", "critical"))
    kuro.reset()
