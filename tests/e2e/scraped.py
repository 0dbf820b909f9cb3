"""/metrics as a test reads it, and an eye on what must never fall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.raw import get

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Name and labels -> value."""
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


async def scrape(port: int) -> Samples:
    """One scrape, by a connection of its own: whichever worker takes it answers."""
    answer = await get(port, "/metrics")
    assert answer.status == 200, answer.body
    return samples(answer.body.decode())


def total(seen: Samples, name: str, **labels: str) -> float:
    """The sum of all series of this name with these labels, whatever their others are."""
    wanted = labels.items()
    return sum(value for (known, its), value in seen.items() if known == name and wanted <= its)


async def until_counted(
    port: int, name: str, number: float, patience: float = 20.0, **labels: str
) -> Samples:
    """Scrapes until there are so many: other workers show what they counted twice a second."""
    seen: Samples = {}
    try:
        async with asyncio.timeout(patience):
            while total(seen := await scrape(port), name, **labels) != number:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{name}: {total(seen, name, **labels)}, not {number}") from None
    return seen


@asynccontextmanager
async def nothing_falls(port: int) -> AsyncIterator[list[Samples]]:
    """Scrapes again and again; at the end, no counter was ever less than before. Yields the scrapes."""
    scrapes: list[Samples] = [await scrape(port)]

    async def watch() -> None:
        while True:
            with suppress(ConnectionError, AssertionError):  # the worker that had taken it was killed
                scrapes.append(await scrape(port))
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    try:
        yield scrapes
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    for before, after in pairwise(scrapes):
        fallen = {key: (value, after.get(key)) for key, value in before.items() if _falls(key, value, after)}
        assert not fallen
    assert len(scrapes) > 2


def _falls(key: tuple[str, frozenset[tuple[str, str]]], value: float, after: Samples) -> bool:
    counts = key[0].endswith(("_total", "_bucket", "_count", "_sum"))
    return counts and after.get(key, 0.0) < value - 1e-9
