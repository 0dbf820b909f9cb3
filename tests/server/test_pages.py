"""The admin page's files: what they are served with, and that they ask for nothing from elsewhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from litestar.testing import TestClient

Client = TestClient[Any]
FILES = {
    "/admin": "text/html",
    "/admin/": "text/html",
    "/admin/page.css": "text/css",
    "/admin/page.js": "text/javascript",
}


@pytest.mark.parametrize(("path", "kind"), FILES.items())
def test_a_file_comes_without_a_key_and_with_its_policy(client: Client, path: str, kind: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200 and answer.headers["content-type"] == f"{kind}; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/admin/index.html", "/admin/pages.py", "/admin/..%2fadmin.py", "/admin/page.map"]
)
def test_nothing_else_is_there(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


def test_it_names_no_other_place_and_sets_no_markup(client: Client) -> None:
    page, style, script = (client.get(path).text for path in ("/admin/", "/admin/page.css", "/admin/page.js"))
    for text in (page, style, script):
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}
    assert " style=" not in page and "<script>" not in page and " on" + "click=" not in page
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert sink not in script
