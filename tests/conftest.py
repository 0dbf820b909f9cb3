"""How hypothesis runs, wherever it is used; and no test keeps calls in its user's own folder."""

import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "kuro", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("kuro")


@pytest.fixture(scope="session", autouse=True)
def state_folder() -> Iterator[None]:
    """A folder that goes with the tests."""
    with tempfile.TemporaryDirectory(prefix="kuro-state-") as place:
        os.environ["XDG_STATE_HOME"] = place
        yield
