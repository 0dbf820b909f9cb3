"""Which pages may call, and what they may read."""

import pytest

from proxy.errors import ApiError
from proxy.server.cors import check_page, cors_headers, is_preflight, preflight_headers
from proxy.server.policy import AccessKey, AccessPolicy

PAGE = "https://chat.example"
NOBODY = AccessPolicy()
ANYBODY = AccessPolicy(cors_origins=("*",))
SOME = AccessPolicy(cors_origins=("https://other.example", PAGE))

ANSWERS = {
    "no page, none allowed": (NOBODY, None, None, False),
    "a page, none allowed": (NOBODY, PAGE, None, False),
    "no page, all allowed": (ANYBODY, None, None, False),
    "a page, all allowed": (ANYBODY, PAGE, b"*", False),
    "a file, all allowed": (ANYBODY, "null", b"*", False),
    "no page, some allowed": (SOME, None, None, True),
    "one of those allowed": (SOME, PAGE, PAGE.encode(), True),
    "a page from elsewhere": (SOME, "https://evil.example", None, True),
    "the same host over http": (SOME, "http://chat.example", None, True),
    "another port": (SOME, PAGE + ":8443", None, True),
    "a host that begins alike": (SOME, PAGE + ".evil.example", None, True),
    "a file": (SOME, "null", None, True),
    "odd bytes": (SOME, "\xff", None, True),
}


@pytest.mark.parametrize(("access", "origin", "allowed", "varies"), ANSWERS.values(), ids=ANSWERS.keys())
def test_answers(access: AccessPolicy, origin: str | None, allowed: bytes | None, varies: bool) -> None:
    head = dict(cors_headers(access, {} if origin is None else {"origin": origin}))
    assert head.get(b"access-control-allow-origin") == allowed
    assert (head.get(b"vary") == b"origin") is varies
    assert (b"access-control-expose-headers" in head) is (allowed is not None)
    assert b"access-control-allow-credentials" not in head


def test_pages_may_read_what_we_say_of_the_route() -> None:
    readable = dict(cors_headers(ANYBODY, {"origin": PAGE}))[b"access-control-expose-headers"]
    for name in (b"x-request-id", b"x-kuro-model", b"x-kuro-cost-usd", b"retry-after"):
        assert name in readable.split(b", ")


def test_a_preflight_may_send_what_it_asks_for() -> None:
    asked = {"origin": PAGE, "access-control-request-headers": "authorization, x-stainless-os"}
    head = dict(preflight_headers(SOME, asked))
    assert head[b"access-control-allow-origin"] == PAGE.encode()
    assert head[b"access-control-allow-methods"] == b"GET, POST, OPTIONS"
    assert head[b"access-control-allow-headers"] == b"authorization, x-stainless-os"


def test_a_preflight_from_elsewhere_is_told_nothing() -> None:
    assert preflight_headers(SOME, {"origin": "https://evil.example"}) == ((b"vary", b"origin"),)


PREFLIGHTS = {
    "a browser's question": ("OPTIONS", {"origin": PAGE, "access-control-request-method": "POST"}, True),
    "OPTIONS from a tool": ("OPTIONS", {}, False),
    "OPTIONS of a page itself": ("OPTIONS", {"origin": PAGE}, False),
    "a call": ("POST", {"origin": PAGE, "access-control-request-method": "POST"}, False),
}


@pytest.mark.parametrize(("method", "headers", "expected"), PREFLIGHTS.values(), ids=PREFLIGHTS.keys())
def test_is_preflight(method: str, headers: dict[str, str], expected: bool) -> None:
    assert is_preflight(method, headers) is expected


@pytest.mark.parametrize(
    ("origin", "keys", "origins", "may"),
    [
        (None, (), (), True),
        ("https://evil.example", (), (), False),
        ("null", (), (), False),
        ("http://rebound.example:8080", (), (), False),
        ("http://127.0.0.1:8080", (), (), True),
        ("http://localhost:3000", (), (), True),
        ("https://evil.example", (AccessKey("a", "sk-a"),), (), True),
        ("https://chat.example", (), ("https://chat.example",), True),
        ("https://evil.example", (), ("*",), True),
    ],
    ids=str,
)
def test_pages_from_elsewhere_may_not_spend_on_a_proxy_without_keys(
    origin: str | None, keys: tuple[AccessKey, ...], origins: tuple[str, ...], may: bool
) -> None:
    access = AccessPolicy(keys=keys, cors_origins=origins)
    headers = {} if origin is None else {"origin": origin}
    if may:
        check_page(access, headers)
    else:
        with pytest.raises(ApiError) as refused:
            check_page(access, headers)
        assert (refused.value.status, refused.value.code) == (403, "origin_not_allowed")
