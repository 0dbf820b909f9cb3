"""CONTRACT's verdict table as rows: what an upstream does, and all that must follow from it.

A row is tried with a model that stands alone and with one that has a fallback, in both dialects, as a
stream and whole, unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from tests.e2e.kuro import Model, model
from tests.stub import (
    Behaviour,
    End,
    bad_gzip,
    close_before_headers,
    comments_only,
    cut_after,
    empty_stream,
    error_in_200,
    fail,
    garbage,
    hang,
    html,
    no_finish,
    ok,
    raw,
    redirect,
    reset_before_headers,
    role_only_then_silence,
    streamed_anyway,
    wrong_type,
)

OPENAI, ANTHROPIC = "openai", "anthropic"
STREAM, WHOLE = "as a stream", "whole"
ALONE, BACKED = "alone", "with a fallback"
SPARE = "spare"
"""Every fallback: healthy, and with the largest window."""


@dataclass(frozen=True)
class Row:
    """One outcome. Without `passes`, a fallback answers in its place."""

    behaviour: Behaviour
    kind: str
    """FailureKind of each attempt."""
    status: int
    """What the caller gets when nothing is left, with `code` and `type`."""
    code: str | None
    type: str = "upstream_error"
    tries: int = 1
    """Of a model that stands alone ..."""
    backed_tries: int | None = None
    """... and of one with a fallback, when that differs."""
    passes: bool = False
    """Nobody else is asked, and the caller gets the upstream's own message."""
    message: str = ""
    """Part of what the caller is told."""
    retry_after: float | None = None
    """Seconds that the caller is told to wait; None: told that trying again won't help."""
    counted: bool = True
    """The circuit counts every try as a failure."""
    opens: bool = False
    """At once, and long."""
    gated: bool = False
    """Retry-After shuts the model's gate."""
    dialects: Sequence[str] = (OPENAI, ANTHROPIC)
    modes: Sequence[str] = (STREAM, WHOLE)
    fields: Model = field(default_factory=dict)
    own_provider: bool = False
    """Connections are nobody else's: the first is certainly a new one."""
    base_url: str = "{stub}"
    """Of its provider; see `places` in the tests."""


BAD, LIMIT = "invalid_request_error", "rate_limit_error"
SOON: Model = {"timeouts": {"connect": 0.3, "first_token": 0.3, "idle": 5, "total": 0.4}}
NO_WAY: dict[str, Any] = {"own_provider": True, "dialects": [OPENAI]}
ONLY_OPENAI: dict[str, Any] = {"dialects": [OPENAI]}
ONLY_ANTHROPIC: dict[str, Any] = {"dialects": [ANTHROPIC]}
IN_HALF_A_MINUTE = {
    "retry-after": formatdate(1_700_000_030, usegmt=True),
    "date": formatdate(1_700_000_000, usegmt=True),
}


def bad_answer(behaviour: Behaviour, **fields: Any) -> Row:
    return Row(behaviour, "bad_response", 502, "bad_upstream_response", **fields)


def long(behaviour: Behaviour, **fields: Any) -> Row:
    return Row(behaviour, "context_length", 400, "context_length_exceeded", BAD, counted=False, **fields)


def limited(behaviour: Behaviour, wait: float, **fields: Any) -> Row:
    return Row(
        behaviour, "rate_limit", 429, "rate_limit_exceeded", LIMIT,
        retry_after=wait, counted=False, **fields,
    )  # fmt: skip


def quota(behaviour: Behaviour, **fields: Any) -> Row:
    return Row(behaviour, "quota", 503, "upstream_quota_exhausted", opens=True, **fields)


def unavailable(behaviour: Behaviour, status: int = 503, tries: int = 2, **fields: Any) -> Row:
    fields = {"retry_after": 1.0} | fields
    return Row(behaviour, "unavailable", status, "upstream_unavailable", tries=tries, **fields)


def overloaded(behaviour: Behaviour, **fields: Any) -> Row:
    return Row(
        behaviour, "overloaded", 503, "upstream_overloaded",
        tries=2, backed_tries=1, retry_after=1.0, **fields,
    )  # fmt: skip


ROWS: dict[str, Row] = {
    # the request's fault
    "400": Row(
        fail(400, "No."), "bad_request", 400, None, BAD, passes=True, message="No.", counted=False
    ),
    "422": Row(fail(422), "bad_request", 422, None, BAD, passes=True, counted=False),
    "413": Row(fail(413), "bad_request", 413, None, "request_too_large", passes=True, counted=False),
    "400 inside a 200": Row(
        error_in_200(400, "No.", type=BAD), "bad_request", 400, None, BAD,
        passes=True, message="No.", counted=False,
    ),
    # too long
    "context length by its code": long(fail(400, code="context_length_exceeded"), **ONLY_OPENAI),
    "context length by its words": long(
        fail(400, "prompt is too long: 213462 tokens > 200000 maximum"), **ONLY_ANTHROPIC
    ),
    "context length as a 413": long(fail(413, "Prompt is too long"), **ONLY_ANTHROPIC),
    "context length inside a 200": long(error_in_200(400, "too long", code="context_length_exceeded"),
                                        **ONLY_OPENAI),
    "more than the whole limit": Row(
        fail(429, "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9214",
             code="rate_limit_exceeded"),
        "too_large", 413, "request_too_large", BAD,
        message="Limit 6000, Requested 9214", counted=False, **ONLY_OPENAI,
    ),
    # content filters
    "a content filter": Row(
        fail(400, "Filtered.", code="content_filter"), "content_filter", 400, "content_filter", BAD,
        passes=True, message="Filtered.", counted=False, **ONLY_OPENAI,
    ),
    "a content filter by its words": Row(
        fail(400, "Output blocked by content filtering policy"), "content_filter", 400, "content_filter", BAD,
        passes=True, message="Output blocked", counted=False, **ONLY_ANTHROPIC,
    ),
    # what it wrote
    "a tool call that is none": Row(
        fail(400, "Failed to call a function.", code="tool_use_failed"), "malformed", 502,
        "malformed_generation", tries=2, counted=False, **ONLY_OPENAI,
    ),
    "a malformed call for an end": Row(
        ok("", finish_reason="function_call_filter: MALFORMED_FUNCTION_CALL"), "malformed", 502,
        "malformed_generation", tries=2, counted=False, **ONLY_OPENAI,
    ),
    "an engine that was stopped": unavailable(ok("", finish_reason="abort"), **ONLY_OPENAI),
    # our key
    "401": Row(fail(401), "auth", 502, "upstream_auth_error", opens=True),
    "403": Row(fail(403), "auth", 502, "upstream_auth_error", opens=True),
    "401 inside a 200": Row(
        error_in_200(401, type="authentication_error"), "auth", 502, "upstream_auth_error", opens=True
    ),
    # our purse
    "402": quota(fail(402, type="billing_error")),
    "429 for an empty quota": quota(fail(429, code="insufficient_quota"), **ONLY_OPENAI),
    "400 for an empty purse": quota(
        fail(400, "Your credit balance is too low to access the API."), **ONLY_ANTHROPIC
    ),
    "an empty quota inside a 200": quota(error_in_200(429, code="insufficient_quota"), **ONLY_OPENAI),
    # no such model
    "404": Row(fail(404), "model_not_found", 502, "upstream_model_not_found"),
    # rate limits
    "429 for 30 s": limited(fail(429, retry_after=30), 30.0, gated=True),
    "429 until a date": limited(fail(429, headers=IN_HALF_A_MINUTE), 30.0, gated=True, **ONLY_OPENAI),
    "429 for 1m2s": limited(fail(429, retry_after="1m2s"), 62.0, gated=True, **ONLY_OPENAI),
    "429 for 45 s in its words": limited(fail(429, "Please try again in 45s."), 45.0, gated=True),
    "429 for 100 ms": limited(fail(429, headers={"retry-after-ms": "100"}), 0.1, tries=3, gated=True),
    "429 without a time": limited(fail(429), 1.0, tries=2),
    "a rate limit inside a 200": limited(
        error_in_200(429, type=LIMIT, code="rate_limit_exceeded"), 1.0, tries=2
    ),
    # its fault
    "500": Row(fail(500), "server_error", 502, "upstream_server_error", tries=2),
    "500 inside a 200": Row(error_in_200(500), "server_error", 502, "upstream_server_error", tries=2),
    "501": Row(fail(501), "server_error", 502, "upstream_server_error", tries=2),
    "502": unavailable(fail(502)),
    "503": unavailable(fail(503)),
    "504": unavailable(fail(504), 504),
    "503 with a web page": unavailable(html(503)),
    "503 for 30 s": unavailable(fail(503, retry_after=30), tries=1, retry_after=30.0, gated=True),
    "529": overloaded(fail(529)),
    "503 that says overloaded": overloaded(fail(503, "The model is overloaded.")),
    "overloaded inside a 200": overloaded(error_in_200(529), **ONLY_ANTHROPIC),
    # no way there
    "refused": Row(ok(), "connect", 502, "upstream_connect_error", base_url="http://{refusing}", **NO_WAY),
    "no TLS": Row(ok(), "connect", 502, "upstream_connect_error", base_url="https://{plain}", **NO_WAY),
    "no such host": Row(
        ok(), "connect", 502, "upstream_connect_error", base_url=f"http://{'x' * 64}.test", **NO_WAY
    ),
    "no connection in time": Row(
        ok(), "connect_timeout", 504, "upstream_timeout",
        base_url="http://{full}", fields={"timeouts": {"connect": 0.2}}, **NO_WAY,
    ),
    # no answer
    "closed before the head": Row(
        close_before_headers(), "disconnected", 502, "upstream_disconnected", own_provider=True
    ),
    "reset before the head": Row(
        reset_before_headers(), "disconnected", 502, "upstream_disconnected", own_provider=True
    ),
    "never an answer": Row(hang(), "first_token_timeout", 504, "upstream_timeout", fields=SOON),
    "never a token": Row(
        role_only_then_silence(), "first_token_timeout", 504, "upstream_timeout", fields=SOON, modes=[STREAM]
    ),
    "comments for ever": Row(
        comments_only(), "first_token_timeout", 504, "upstream_timeout",
        fields=SOON, modes=[STREAM], **ONLY_OPENAI,
    ),
    # no good answer
    "no HTTP": bad_answer(garbage()),
    "a head of 2 MB": bad_answer(raw(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 2_000_000 + b"\r\n\r\n")),
    "a redirect": bad_answer(redirect("/v1/chat/completions")),
    "a redirect for good": bad_answer(redirect("/v1/chat/completions", 301)),
    "204": bad_answer(raw(b"HTTP/1.1 204 No Content\r\n\r\n", End.WHOLE)),
    "a web page": bad_answer(html()),
    "a web page with a 403": bad_answer(html(403)),
    "the wrong type": bad_answer(wrong_type(), modes=[STREAM]),
    "a stream without an end instead of a reply": bad_answer(streamed_anyway(no_finish()), modes=[WHOLE]),
    "bad gzip": bad_answer(bad_gzip()),
    "an empty stream": bad_answer(empty_stream(), modes=[STREAM]),
    "an empty body": bad_answer(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", End.WHOLE)),
    "an end after the role": bad_answer(no_finish(ok("")), modes=[STREAM]),
    "a cut after the role": bad_answer(cut_after(1), modes=[STREAM]),
    "a cut body": bad_answer(cut_after(1), modes=[WHOLE]),
    "no JSON": bad_answer(fail(200, body=b"{"), modes=[WHOLE]),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A row as one model meets it. The model is nobody else's."""

    title: str
    row: Row
    dialect: str
    mode: str
    plan: str

    @property
    def id(self) -> str:
        return f"{self.title}-{self.dialect}-{self.mode}-{self.plan}"

    @property
    def model(self) -> str:
        return self.id.lower().replace(" ", "_")

    @property
    def backed(self) -> bool:
        return self.plan == BACKED

    @property
    def provider(self) -> str:
        return self.model if self.row.own_provider else self.dialect

    @property
    def tries(self) -> int:
        if self.backed and self.row.backed_tries is not None:
            return self.row.backed_tries
        return self.row.tries

    def entry(self) -> Model:
        fallback: Model = {"fallback": [SPARE]} if self.backed else {}
        return model(
            self.model, provider=self.provider, max_output_tokens=4096, **self.row.fields, **fallback
        )


CASES = [
    Case(title, row, dialect, mode, plan)
    for title, row in ROWS.items()
    for dialect in row.dialects
    for mode in row.modes
    for plan in (ALONE, BACKED)
]
