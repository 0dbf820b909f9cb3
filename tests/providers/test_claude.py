"""Versions of Claude by name."""

from __future__ import annotations

import pytest

from proxy.providers.claude import Feature, version


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("claude-3-opus-20240229", (3, 0)),
        ("claude-3-5-sonnet-20241022", (3, 5)),
        ("claude-3-7-sonnet-latest", (3, 7)),
        ("claude-sonnet-4-20250514", (4, 0)),
        ("claude-opus-4-1-20250805", (4, 1)),
        ("claude-sonnet-4-5-20250929", (4, 5)),
        ("claude-haiku-4-5", (4, 5)),
        ("claude-opus-4-6", (4, 6)),
        ("anthropic/claude-sonnet-4.5", (4, 5)),
        ("us.anthropic.claude-opus-4-7-v1:0", (4, 7)),
        ("claude-opus-5", (5, 0)),
        ("Claude-Sonnet-5-5", (5, 5)),
        ("claude-2.1", (2, 1)),
        ("claude", (0, 0)),
        ("MiniMax-M2", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_version(name: str, expected: tuple[int, int]) -> None:
    assert version(name) == expected


def test_a_feature_comes_and_goes() -> None:
    feature = Feature(since=(4, 1), until=(5, 0))
    names = ["claude-opus-4", "claude-opus-4-1", "claude-opus-4-9", "claude-opus-5"]
    assert [feature.accepts(name) for name in names] == [False, True, True, False]
