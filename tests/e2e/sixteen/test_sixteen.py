"""The faults that show before the first token, and the oddities after it; 8, 9 and 14 are in `test_cuts`."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.e2e.kuro import Kuro
from tests.e2e.sixteen.faults import (
    FULL,
    PAIRS,
    SCALED,
    STORIES,
    STORY_COST,
    ask,
    both,
    config,
    pair,
    since,
    sizes,
    tells_the_story,
    tries,
)
from tests.stub import (
    STORY,
    Behaviour,
    Gate,
    StubUpstream,
    bad_json_event,
    error_in_200,
    fail,
    gated,
    hang,
    headers_then_silence,
    no_done,
    ok,
    reset_before_headers,
)

# --- 1 to 7: before the first token ----------------------------------------------------------------


def test_01_a_named_model_with_a_rate_limit_of_two_seconds_is_waited_for(
    proxy: Kuro, stub: StubUpstream
) -> None:
    stub.script("limited", fail(429, retry_after=2), STORIES)
    hits = since(stub, "limited", "limited-spare")
    heard = ask(proxy, "limited", auto=False)
    record = tells_the_story(proxy, heard, "limited")
    assert hits() == (2, 0), "no tight loop"
    first, second = stub.requests["limited"][-2:]
    assert 2.0 <= second.time - first.time < 2.5
    assert tries(record) == [("limited", "failed", "rate_limit"), ("limited", "ok", None)]
    assert heard.headers["x-kuro-attempts"] == "2"
    assert heard.headers["x-kuro-fallback"] == "false"


def test_01_auto_falls_over_at_once_from_a_rate_limit(proxy: Kuro, stub: StubUpstream) -> None:
    stub.script("limited", fail(429, retry_after=2), ok("too early"))
    stub.script("limited-spare", STORIES)
    hits = since(stub, "limited", "limited-spare")
    heard = ask(proxy, "limited", auto=True)
    tells_the_story(proxy, heard, "limited-spare")
    assert hits() == (1, 1)
    assert heard.ended < 1.0
    assert heard.headers["x-kuro-fallback"] == "true"
    again = ask(proxy, "limited", auto=True)
    assert again.model != "limited", "it asked for two seconds"
    assert hits()[0] == 1


@both
def test_02_a_rate_limit_without_a_time_is_tried_a_few_times_then_the_fallback_answers(
    proxy: Kuro, stub: StubUpstream, auto: bool
) -> None:
    stub.script("always-limited", fail(429))
    stub.script("always-limited-spare", STORIES)
    hits = since(stub, "always-limited", "always-limited-spare")
    heard = ask(proxy, "always-limited", auto)
    record = tells_the_story(proxy, heard, "always-limited-spare")
    assert hits() == (1 if auto else 2, 1), "at most 4 in 3 s, and 6 in all"
    assert heard.ended < 3.0
    assert [a["failure"] for a in record["attempts"][:-1]] == ["rate_limit"] * hits()[0]


@both
def test_03_a_single_500_is_retried_on_the_same_model(proxy: Kuro, stub: StubUpstream, auto: bool) -> None:
    stub.script("once-500", fail(500), STORIES)
    hits = since(stub, "once-500", "once-500-spare")
    heard = ask(proxy, "once-500", auto)
    record = tells_the_story(proxy, heard, "once-500")
    assert hits() == (2, 0)
    assert record["fallback_used"] is False
    assert (heard.headers["x-kuro-attempts"], heard.headers["x-kuro-fallback"]) == ("2", "false")


@both
def test_04_a_model_that_is_always_unavailable_gives_way_to_its_fallback(
    proxy: Kuro, stub: StubUpstream, auto: bool
) -> None:
    stub.script("down", fail(503))
    stub.script("down-spare", STORIES)
    hits = since(stub, "down", "down-spare")
    heard = ask(proxy, "down", auto)
    record = tells_the_story(proxy, heard, "down-spare")
    assert hits() == (2, 1)
    assert record["fallback_used"] is True
    assert (heard.headers["x-kuro-attempts"], heard.headers["x-kuro-fallback"]) == ("3", "true")


@both
@pytest.mark.parametrize("times", ["once", "always"])
def test_05_a_reset_before_the_headers_is_answered(
    proxy: Kuro, stub: StubUpstream, auto: bool, times: str
) -> None:
    stub.script("resetting", reset_before_headers(), *([STORIES] if times == "once" else []))
    stub.script("resetting-spare", STORIES)
    hits = since(stub, "resetting", "resetting-spare")
    heard = ask(proxy, "resetting", auto)
    tells_the_story(proxy, heard, heard.headers["x-kuro-model"])
    assert sum(hits()) in (2, 3), "once more at most, in case that the connection had grown stale"
    assert heard.ended < 2.0


def first_token_limit(name: str) -> float:
    return float(next(entry["timeouts"]["first_token"] for entry in PAIRS if entry["id"] == name))


@sizes
@both
def test_06_a_model_that_accepts_and_never_answers_is_left_after_one_first_token_timeout(
    proxy: Kuro, stub: StubUpstream, auto: bool, size: str
) -> None:
    name = "silent" if size == SCALED else "silent-full"
    limit = first_token_limit(name)
    stub.script(name, hang())
    stub.script(f"{name}-spare", STORIES)
    hits = since(stub, name, f"{name}-spare")
    heard = ask(proxy, name, auto)
    record = tells_the_story(proxy, heard, f"{name}-spare")
    assert hits() == (1, 1), "a silent model is not tried again"
    assert limit <= heard.ended < limit + 1.0
    assert tries(record)[0] == (name, "failed", "first_token_timeout")
    stub.last(name).disconnected.block()


@sizes
@both
def test_07_headers_at_once_and_a_first_token_too_late_moves_on(
    proxy: Kuro, stub: StubUpstream, auto: bool, size: str
) -> None:
    name = "late" if size == SCALED else "late-full"
    limit = first_token_limit(name)
    stub.script(name, ok("far too late", first_delay=2 * limit))
    stub.script(f"{name}-spare", STORIES)
    hits = since(stub, name, f"{name}-spare")
    heard = ask(proxy, name, auto)
    record = tells_the_story(proxy, heard, f"{name}-spare")
    assert hits() == (1, 1)
    assert limit <= heard.began < limit + 1.0
    assert tries(record)[0] == (name, "failed", "first_token_timeout")


# --- 10 and 11: oddities ----------------------------------------------------------------------------


@both
def test_10_a_tenth_event_that_is_not_json_is_dropped_and_the_rest_arrives(
    proxy: Kuro, stub: StubUpstream, auto: bool
) -> None:
    stub.script("bad-event", bad_json_event(9, STORIES))
    hits = since(stub, "bad-event", "bad-event-spare")
    record = tells_the_story(proxy, ask(proxy, "bad-event", auto), "bad-event")
    assert hits() == (1, 0)
    assert tries(record) == [("bad-event", "ok", None)]


@both
@pytest.mark.parametrize("after", ["the end", "silence"])
def test_11_a_stream_without_done_is_finished_promptly_with_its_usage(
    proxy: Kuro, stub: StubUpstream, auto: bool, after: str
) -> None:
    whole = no_done(STORIES)
    stub.script("no-done", whole if after == "the end" else headers_then_silence(63, STORIES))
    heard = ask(proxy, "no-done", auto)
    record = tells_the_story(proxy, heard, "no-done")
    assert heard.ended < 2.0
    assert heard.usage is not None
    assert (heard.usage["prompt_tokens"], heard.usage["completion_tokens"]) == (21, 60)
    assert (record["usage"]["prompt"], record["usage"]["completion"]) == (21, 60)
    assert not record["usage"]["estimated"]


# --- 12 and 13: the request's own -------------------------------------------------------------------

TOO_LONG = {
    "its code": fail(400, "Too long.", code="context_length_exceeded"),
    "its words": fail(400, "This model's maximum context length is 8000 tokens."),
    "an error inside the stream": error_in_200(400, "Too long.", code="context_length_exceeded"),
}


@both
@pytest.mark.parametrize("told", TOO_LONG.values(), ids=TOO_LONG.keys())
def test_12_a_context_that_is_too_long_goes_to_a_larger_window_only(
    proxy: Kuro, stub: StubUpstream, auto: bool, told: Behaviour
) -> None:
    stub.script("long", told)
    stub.script("long-spare", STORIES)
    hits = since(stub, "long", "long-same", "long-spare")
    record = tells_the_story(proxy, ask(proxy, "long", auto), "long-spare")
    assert hits() == (1, 0, 1), "not the same again, and nobody as small"
    assert record["attempts"][0]["failure"] == "context_length"
    assert proxy.circuit("long")["failures"] == 0


REASON = "The response was filtered because of our content management policy."
FILTERED = {
    "a refusal": fail(400, REASON, code="content_filter"),
    "an error inside the stream": error_in_200(400, REASON, code="content_filter"),
}


@both
@pytest.mark.parametrize("told", FILTERED.values(), ids=FILTERED.keys())
def test_13_a_content_filters_reason_reaches_the_caller_once(
    proxy: Kuro, stub: StubUpstream, auto: bool, told: Behaviour
) -> None:
    stub.script("filter", told)
    hits = since(stub, "filter", "filter-spare")
    heard = ask(proxy, "filter", auto)
    assert hits() == (1, 0), "one attempt, no fallback"
    assert heard.status == 400
    assert heard.errors[0]["message"] == REASON
    assert heard.errors[0]["code"] == "content_filter"
    assert heard.headers["x-should-retry"] == "false"
    assert (heard.headers["x-kuro-attempts"], heard.headers["x-kuro-fallback"]) == ("1", "false")
    assert tries(proxy.record(heard.request_id)) == [("filter", "failed", "content_filter")]


@both
def test_13_a_content_filter_in_the_middle_of_a_stream_is_not_spliced_around(
    proxy: Kuro, stub: StubUpstream, auto: bool
) -> None:
    gate = Gate()
    told = error_in_200(400, REASON, code="content_filter", after=21, base=ok(STORY))
    stub.script("filter", gated(gate, told, at=21))
    hits = since(stub, "filter", "filter-spare")
    heard = ask(proxy, "filter", auto, gate)
    assert hits() == (1, 0)
    assert (heard.done, len(heard.errors)) == (0, 1)
    assert heard.errors[0]["code"] == "content_filter"
    assert REASON in heard.errors[0]["message"]


@both
def test_13_an_answer_that_ends_for_the_filter_is_an_answer(
    proxy: Kuro, stub: StubUpstream, auto: bool
) -> None:
    stub.script("filter", ok("I would rather", finish_reason="content_filter"))
    hits = since(stub, "filter", "filter-spare")
    heard = ask(proxy, "filter", auto)
    assert hits() == (1, 0)
    assert (heard.text, heard.finish, heard.done) == ("I would rather", ["content_filter"], 1)


# --- 14 to 16 ---------------------------------------------------------------------------------------


CHOSEN = ("by name", "by a rule of auto", "by its scores")


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize(
    ("down", "apart", "calls"),
    [
        pytest.param(3.0, 0.2, 20, id=SCALED),
        pytest.param(60.0, 4.0, 20, id=FULL, marks=pytest.mark.slow),
    ],
)
def test_15_a_model_that_was_down_is_used_again_soon_after_it_recovers(
    stub: StubUpstream, tmp_path: Any, chosen: str, down: float, apart: float, calls: int
) -> None:
    """20 calls, evenly apart, while it is down for the first so many seconds. SCALED: all times by 1/20."""
    scale = apart / 4.0
    breaker = {
        "window": 60.0 * scale,
        "open_for": 5.0 * scale,
        "open_cap": 15.0 * scale,
        "forget_after": 60.0 * scale,
    }
    better, worse = pair("recovering")
    better |= {"capabilities": dict.fromkeys(better["capabilities"], 1.0), "weights": {"quality": 0.9}}
    models = [better, worse | {"weights": {"quality": 0.6}}]
    stub.script("recovering", fail(503))
    stub.script("recovering-spare", STORIES)
    with Kuro(config(stub, tmp_path, models, breaker=breaker, stats={"half_life": 120.0 * scale})) as kuro:
        began = time.monotonic()
        hits = since(stub, "recovering")
        recovered, used_again, while_down = 0.0, 0.0, 0
        for number in range(calls):
            # Time itself is the fault here: there is nothing else to wait for.
            time.sleep(max(began + number * apart - time.monotonic(), 0.0))
            if not recovered and time.monotonic() - began >= down:
                while_down = hits()[0]
                stub.script("recovering", STORIES)
                recovered = time.monotonic()
            heard = ask(kuro, "recovering", chosen != "by name", led="rule" in chosen)
            tells_the_story(kuro, heard, heard.headers["x-kuro-model"])
            if recovered and not used_again and heard.headers["x-kuro-model"] == "recovering":
                used_again = time.monotonic()
        assert used_again, "it was never used again"
        assert used_again - recovered < 16.0 * scale + 0.3
        assert while_down <= 12, "few attempts while it is down"


@both
def test_16_model_usage_and_cost_are_the_fallbacks_and_failures_are_not_billed(
    proxy: Kuro, stub: StubUpstream, auto: bool
) -> None:
    stub.script("billed", fail(503))
    stub.script("billed-spare", STORIES)
    heard = ask(proxy, "billed", auto)
    record = tells_the_story(proxy, heard, "billed-spare")
    assert {chunk["model"] for chunk in heard.chunks} == {"billed-spare"}
    assert heard.headers["x-kuro-model"] == "billed-spare"
    assert heard.usage is not None
    assert (heard.usage["prompt_tokens"], heard.usage["completion_tokens"]) == (21, 60)
    assert (record["usage"]["prompt"], record["usage"]["completion"]) == (21, 60)
    assert record["cost_usd"] == pytest.approx(STORY_COST)
    assert record["wasted_usd"] == 0.0
    failed = [a for a in record["attempts"] if a["outcome"] == "failed"]
    assert len(failed) == 2
    assert all(a["usage"] is None and a["cost_usd"] is None for a in failed)
