"""README and docs/: links lead somewhere, commands are there, and tables say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.__main__ import COMMANDS
from proxy.providers.failure import VERDICTS
from proxy.server import cors
from tests.server.test_schema import GOOD

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
}
TEXTS = {name: path.read_text("utf-8") for name, path in PAGES.items()}

LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")


def anchors(text: str) -> set[str]:
    """The ids that heads get where such pages are shown."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def cells(text: str, first: str) -> dict[str, list[str]]:
    """The rows of the table whose first head is `first`, by their first cell."""
    rows = text.partition(f"\n| {first} |")[2].partition("\n\n")[0].splitlines()[2:]
    found = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {key.strip("`"): rest for key, *rest in found}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for path, anchor in LINK.findall(TEXTS[name]):
        target = (PAGES[name].parent / path).resolve() if path else PAGES[name]
        assert target.exists(), f"{name}: {path}"
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), f"{name}: {path}#{anchor}"


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {path for path, _ in LINK.findall(TEXTS["README.md"])}
    assert {name for name in PAGES if name != "README.md"} <= linked


def test_what_is_to_be_made_can_be_made() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for name, text in TEXTS.items():
        assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets, name


def test_the_readme_tells_every_command() -> None:
    assert set(re.findall(r"`kuro ([a-z]+)", TEXTS["README.md"])) >= set(COMMANDS)


def test_verdicts_are_told_as_they_are() -> None:
    told = cells(TEXTS["docs/failures.md"], "kind")
    assert list(told) == [kind.value for kind in VERDICTS]
    for kind, verdict in VERDICTS.items():
        _, retry, following, circuit, left = told[kind.value]
        assert (retry, following, circuit) == (verdict.retry, verdict.next, verdict.effect), kind
        if verdict.passes:
            assert left == "as the upstream said it", kind
        elif verdict.status != 499:
            assert left == f"{verdict.status} `{verdict.code}`", kind


def test_every_admin_route_is_told() -> None:
    table = TEXTS["docs/operating.md"].partition("## The admin API\n")[2].partition("\n\n## ")[0]
    told = set(re.findall(r"(/[a-z_{][^`? ,]*)", table.replace("`/enable`", "`/models/{model_id}/enable`")))
    for _, path in GOOD:
        assert path in told or path.removeprefix("/admin/v1") in told, path


def test_every_header_of_ours_is_told() -> None:
    headers = re.findall(r"x-kuro-[a-z-]+", Path(cors.__file__).read_text("utf-8"))
    assert headers
    for header in headers:
        assert f"`{header}`" in TEXTS["docs/callers.md"], header
