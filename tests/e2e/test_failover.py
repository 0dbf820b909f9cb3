"""The primary misbehaves, and the SDK sees one clean answer."""

from __future__ import annotations

import subprocess
from typing import Any

import openai
import pytest

from tests.e2e.conftest import ADMIN, MODELS
from tests.e2e.kuro import Kuro, write_config
from tests.stub import (
    STORY,
    StubUpstream,
    bad_gzip,
    bad_json_event,
    byte_by_byte,
    close_before_headers,
    comments_only,
    cut_after,
    empty_stream,
    error_in_200,
    fail,
    finish_everywhere,
    garbage,
    headers_then_silence,
    html,
    no_done,
    ok,
    redirect,
    reset_before_headers,
    role_only_then_silence,
    wrong_type,
)

HELLO: Any = [{"role": "user", "content": "Hello there, how are you today?"}]
ASK: Any = {"model": "primary", "messages": HELLO}
"""By name: what is observed of the primary in one test must not choose another in the next."""

BEFORE_COMMIT: dict[str, Any] = {
    "500": fail(500),
    "502": fail(502),
    "503": fail(503),
    "529": fail(529),
    "429": fail(429, retry_after=30),
    "401, our key": fail(401),
    "402, our purse": fail(402),
    "404, our registry": fail(404),
    "a reset before the head": reset_before_headers(),
    "a close before the head": close_before_headers(),
    "garbage instead of HTTP": garbage(),
    "a page of HTML": html(),
    "a redirect": redirect(),
    "an error inside a 200": error_in_200(500),
}
STREAMS_ONLY: dict[str, Any] = {
    "silence after the head": headers_then_silence(0),
    "silence after the role": role_only_then_silence(),
    "comments for ever": comments_only(),
    "cut after the role": cut_after(1),
    "an empty stream": empty_stream(),
    "the wrong type": wrong_type(),
}
WHOLE_ONLY: dict[str, Any] = {"bad gzip": bad_gzip()}


@pytest.mark.parametrize(
    "behaviour", [*BEFORE_COMMIT.values(), *WHOLE_ONLY.values()], ids=[*BEFORE_COMMIT, *WHOLE_ONLY]
)
def test_a_whole_reply_falls_over(kuro: Kuro, stub: StubUpstream, behaviour: Any) -> None:
    stub.script("primary", behaviour)
    stub.script("second", ok("All is well."))
    status, headers, body = kuro.chat(ASK)
    assert (status, body["choices"][0]["message"]["content"]) == (200, "All is well.")
    assert headers["x-kuro-model"] == "second"
    assert headers["x-kuro-fallback"] == "true"
    assert int(headers["x-kuro-attempts"]) >= 2


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, stub: StubUpstream) -> Any:
    """A proxy that loses patience soon."""
    hurried = [m | {"timeouts": {"connect": 1, "first_token": 0.4, "idle": 0.4, "total": 10}} for m in MODELS]
    config = write_config(
        tmp_path_factory.mktemp("quick"),
        stub.url,
        hurried,
        providers={"anthropic": {"dialect": "anthropic", "base_url": stub.url, "api_key": "sk-ant"}},
        proxy={"admin_key": ADMIN},
        routing={"cache": {"size": 0}, "sticky": {"size": 0}},
    )
    with Kuro(config) as proxy:
        yield proxy


@pytest.mark.parametrize(
    "behaviour", [*BEFORE_COMMIT.values(), *STREAMS_ONLY.values()], ids=[*BEFORE_COMMIT, *STREAMS_ONLY]
)
def test_a_stream_falls_over_before_its_first_token(quick: Kuro, stub: StubUpstream, behaviour: Any) -> None:
    stub.script("primary", behaviour)
    stub.script("second", ok("All is well."))
    with quick.client() as client:
        chunks = list(client.chat.completions.create(**ASK, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "All is well."
    assert chunks[-1].choices[0].finish_reason == "stop"


BEGINNING = " ".join(STORY.split()[:20])
AFTER_COMMIT: dict[str, Any] = {
    "cut after forty words": cut_after(41, ok(STORY)),
    "silence after twenty words": headers_then_silence(21, ok(STORY)),
    "an engine that is stopped after twenty words": ok(BEGINNING, finish_reason="abort", pace=0.01),
    "no machines left after twenty words": ok(
        BEGINNING, finish_reason="insufficient_system_resource", pace=0.01
    ),
}


@pytest.mark.parametrize("behaviour", AFTER_COMMIT.values(), ids=AFTER_COMMIT.keys())
def test_a_broken_stream_is_continued(quick: Kuro, stub: StubUpstream, behaviour: Any) -> None:
    stub.script("primary", behaviour)
    stub.script("second", ok(STORY))
    with quick.client() as client:
        raw = client.chat.completions.with_raw_response.create(**ASK, stream=True)
        chunks = list(raw.parse())
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == STORY
    record = quick.record(raw.headers["x-request-id"])
    assert [(a["model"], a["outcome"]) for a in record["attempts"]] == [("primary", "cut"), ("second", "ok")]
    assert (record["selected_model"], record["fallback_used"]) == ("second", True)


def test_what_a_stream_takes_to_be_written_is_no_overhead(quick: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", cut_after(4, ok("one two three four five", pace=0.1)))
    stub.script("second", ok("one two three four five", delay=0.1, pace=0.1))
    with quick.client() as client:
        list(
            client.chat.completions.create(
                model="primary", messages=HELLO, stream=True, extra_headers={"x-request-id": "written-1"}
            )
        )
    record = quick.record("written-1")
    began, went_on = record["attempts"]
    assert (began["outcome"], went_on["outcome"]) == ("cut", "ok")
    assert record["latency_ms"] > 600
    # The first token is the first that the caller saw, whoever went on from there.
    assert record["ttft_ms"] < went_on["began_ms"]
    assert record["overhead_ms"] < record["ttft_ms"]


def test_a_continuation_that_departs_is_said_honestly(quick: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", cut_after(21, ok(STORY)))
    stub.script("second", ok("Something else entirely, and long enough to be noticed as such."))
    seen = ""
    with quick.client() as client, pytest.raises(openai.APIError, match="broke off"):
        for chunk in client.chat.completions.create(**ASK, stream=True):
            seen += chunk.choices[0].delta.content or ""
    assert STORY.startswith(seen)
    assert seen


UNREAD: dict[str, Any] = {
    # Apart, or they may come in one read, and the attempt fails before it has committed.
    "it departs after a few words": ok("Once upon a time a small dog lived by the sea.", pace=0.1),
    "it breaks off, too, and sooner": cut_after(11, ok(STORY)),
}


@pytest.mark.parametrize("behaviour", UNREAD.values(), ids=UNREAD.keys())
def test_a_continuation_that_nobody_read_did_not_answer(
    quick: Kuro, stub: StubUpstream, behaviour: Any
) -> None:
    stub.script("primary", cut_after(21, ok(STORY)))
    stub.script("second", behaviour)
    _, headers, body = quick.chat(ASK | {"stream": True})
    assert b"broke off" in body
    record = quick.record(headers["x-request-id"])
    assert (record["selected_model"], record["fallback_used"], record["outcome"]) == (
        "primary", False, "aborted"
    )  # fmt: skip
    read, unread = record["attempts"]
    assert (read["model"], read["outcome"]) == ("primary", "cut")
    assert (unread["model"], unread["outcome"]) == ("second", "failed")
    assert record["usage"] == read["usage"]
    assert record["wasted_usd"] == pytest.approx(unread["cost_usd"])


def test_no_done_is_supplied(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", no_done(ok("one two three")))
    status, _, body = kuro.chat(ASK | {"stream": True})
    assert status == 200
    assert body.endswith(b"data: [DONE]\n\n")
    assert body.count(b"[DONE]") == 1


def test_a_finish_reason_that_is_none_does_not_cut_an_answer_short(quick: Kuro, stub: StubUpstream) -> None:
    text = "It takes its time, but not for ever."
    stub.script("primary", finish_everywhere(ok(text, pace=0.2)))
    with quick.client() as client:
        chunks = list(client.chat.completions.create(**ASK, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == text


def test_an_event_that_is_not_json_is_dropped(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", bad_json_event(4, ok("one two three four five")))
    with kuro.client() as client:
        chunks = list(client.chat.completions.create(**ASK, stream=True))
    assert len(chunks) > 4
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_bytes_may_come_one_by_one(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", byte_by_byte(ok("one two three é 😀")))
    with kuro.client() as client:
        chunks = list(client.chat.completions.create(**ASK, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "one two three é 😀"


def test_a_caller_that_leaves_while_waiting_cancels_the_upstream(kuro: Kuro, stub: StubUpstream) -> None:
    gate = stub.gate("third")
    before = stub.hits("third")
    with kuro.client(timeout=0.3) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(
            model="third", messages=HELLO, extra_headers={"x-request-id": "leaver-1"}
        )
    received = stub.block_hits("third", before + 1)
    received.disconnected.block(1.0)
    gate.release()
    record = kuro.record("leaver-1")
    assert (record["outcome"], record["status"]) == ("caller_left", 499)
    assert record["attempts"][0]["outcome"] == "cancelled"
    # The upstream has read the prompt: that is paid for in vain.
    assert record["attempts"][0]["usage"]["estimated"]
    assert record["wasted_usd"] == record["attempts"][0]["cost_usd"] > 0
    assert record["cost_usd"] is None
    # What it waited for the upstream is no overhead of ours.
    assert record["overhead_ms"] < record["attempts"][0]["duration_ms"]


def test_a_caller_that_leaves_mid_stream_cancels_the_upstream(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("second", headers_then_silence(3, ok("one two three four five six")))
    before = stub.hits("second")
    with kuro.client() as client:
        stream = client.chat.completions.create(
            model="second", messages=HELLO, stream=True, extra_headers={"x-request-id": "leaver-2"}
        )
        next(iter(stream))
        stream.close()
    stub.block_hits("second", before + 1).disconnected.block(1.0)
    assert kuro.record("leaver-2")["outcome"] == "caller_left"


def test_curl_sees_events_as_they_come(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", ok("one two three"))
    command = ["curl", "-sS", "-N", "-i", "--max-time", "10", f"{kuro.url}/v1/chat/completions",
               "-H", "content-type: application/json", "--data-binary", "@-"]  # fmt: skip
    body = b'{"model": "primary", "stream": true, "messages": [{"role": "user", "content": "Hello there!"}]}'
    ran = subprocess.run(command, input=body, capture_output=True, timeout=15, check=True)
    head, _, events = ran.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    for line in (b"content-type: text/event-stream", b"cache-control: no-cache", b"x-accel-buffering: no"):
        assert line in head.lower()
    assert events.endswith(b"data: [DONE]\n\n")


def test_records_are_one_per_call_with_every_attempt(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", fail(503))
    stub.script("second", ok("Fine."))
    kuro.chat(ASK, x_request_id="recorded-1")
    record = kuro.record("recorded-1")
    assert record["selected_model"] == "second"
    assert record["fallback_used"] is True
    assert record["latency_ms"] > 0
    assert [(a["model"], a["outcome"], a["failure"]) for a in record["attempts"]] == [
        ("primary", "failed", "unavailable"),
        ("primary", "failed", "unavailable"),
        ("second", "ok", None),
    ]
    assert "Hello there" not in str(record)
