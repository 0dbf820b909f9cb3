"""How hypothesis runs, wherever it is used: the same examples each time, and no look at the clock."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "kuro", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("kuro")
