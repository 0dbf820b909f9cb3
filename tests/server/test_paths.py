"""An id with slashes is one segment of a path, whatever follows it."""

from __future__ import annotations

import pytest

from proxy.server.paths import folded, plain


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/admin/v1/models/claude", "/admin/v1/models/claude", id="no slash"),
        pytest.param("/admin/v1/models/a/b", "/admin/v1/models/a%2Fb", id="a slash"),
        pytest.param("/admin/v1/models/a/b/", "/admin/v1/models/a%2Fb", id="one at the end, too"),
        pytest.param("/admin/v1/models/a/b/disable", "/admin/v1/models/a%2Fb/disable", id="a verb"),
        pytest.param(
            "/admin/v1/models/a/b/disable/", "/admin/v1/models/a%2Fb/disable", id="a verb and a slash"
        ),
        pytest.param("/admin/v1/models/a/disable/b", "/admin/v1/models/a%2Fdisable%2Fb", id="a verb within"),
        pytest.param("/admin/v1/models/disable", "/admin/v1/models/disable", id="a verb of nothing"),
        pytest.param("/admin/v1/models/", "/admin/v1/models/", id="nothing"),
        pytest.param("/admin/v1/models", "/admin/v1/models", id="all models"),
        pytest.param("/admin/v1/calls/a/b", "/admin/v1/calls/a/b", id="elsewhere"),
    ],
)
def test_folded(path: str, expected: str) -> None:
    assert folded(path) == expected
    assert plain(expected).rstrip("/") == path.rstrip("/")
