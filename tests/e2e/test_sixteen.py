"""The sixteen faults of the public Failover Bench, met by a caller that streams.

Two retries, 30 s timeouts and one fallback per model: the defaults. Where the fault is a silence the limits
are a fraction of that in the default run, so that nobody waits for it (SCALED); `make sixteen-full` runs
those again with the limits as they are (FULL).

Every model NAME has a fallback NAME-spare. `auto` is led to NAME by a rule, everything else is as for anyone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.e2e.heard import Heard, listen
from tests.e2e.kuro import ADMIN, Kuro, Model, model, write_config
from tests.stub import (
    STORY,
    Behaviour,
    End,
    Gate,
    StubUpstream,
    Tokens,
    Tool,
    bad_json_event,
    cut_after,
    error_in_200,
    fail,
    gated,
    hang,
    headers_then_silence,
    no_done,
    ok,
    prefill,
    refuse_prefill,
    reset_before_headers,
)

MESSAGES = [{"role": "user", "content": "Tell me the story of the cat in the lighthouse."}]
STORIES = ok(STORY, usage=Tokens(prompt=21, completion=60))
"""What a healthy fallback says."""
PRICE = {"input": 1.0, "output": 2.0}
SPARE_PRICE = {"input": 10.0, "output": 20.0}
STORY_COST = (21 * 10.0 + 60 * 20.0) / 1e6
"""USD of STORIES at the fallback's price."""

LIMITS = {"connect": 5.0, "first_token": 30.0, "idle": 30.0, "total": 600.0}
SCALED, FULL = "scaled", "full"
HASTE = {
    "silent": {"first_token": 0.6},
    "late": {"first_token": 0.6},
    "mute": {"idle": 0.6},
}
"""The limits of the SCALED runs, in seconds; FULL is LIMITS, and 10 s to the first token for the late one."""

sizes = pytest.mark.parametrize("size", [SCALED, pytest.param(FULL, marks=pytest.mark.slow)])
both = pytest.mark.parametrize("auto", [True, False], ids=["asked as auto", "asked by name"])


def pair(name: str, *, spare: Model | None = None, **fields: Any) -> list[Model]:
    """A model and its fallback."""
    common = {"price": PRICE, "timeouts": LIMITS} | fields
    other: Model = {"price": SPARE_PRICE, "timeouts": LIMITS} | (spare or {})
    return [model(name, fallback=[f"{name}-spare"], **common), model(f"{name}-spare", **other)]


PREFILLS = {"supports": ["tools", "json_schema", "logprobs", "prefill"]}
CLAUDE: Model = {"provider": "anthropic", "max_output_tokens": 4096}
NAMES = (
    "limited", "always-limited", "once-500", "down", "resetting", "cut", "cut-white", "cut-at-the-end",
    "bad-event", "no-done", "filter", "recovering", "billed", "whole", "departing", "sdk",
)  # fmt: skip
PAIRS: list[Model] = [
    *[entry for name in NAMES for entry in pair(name)],
    *pair("silent", timeouts=LIMITS | HASTE["silent"]),
    *pair("silent-full"),
    *pair("late", timeouts=LIMITS | HASTE["late"]),
    *pair("late-full", timeouts=LIMITS | {"first_token": 10.0}),
    *pair("mute", timeouts=LIMITS | HASTE["mute"]),
    *pair("mute-full"),
    *pair("cut-prefill", spare=PREFILLS),
    *pair("cut-refused", spare=PREFILLS),
    *pair("cut-claude", spare=CLAUDE | PREFILLS),
    *pair("claude-cut", **CLAUDE),
    model("long", context_window=8_000, fallback=["long-same", "long-spare"]),
    model("long-same", context_window=8_000),
    model("long-spare", context_window=200_000, price=SPARE_PRICE),
    model("well"),
]


@pytest.fixture(scope="module")
def stub() -> Iterator[StubUpstream]:
    with StubUpstream() as upstream:
        yield upstream


def config(stub: StubUpstream, directory: Any, models: Sequence[Model], **proxy: Any) -> Any:
    rules = [
        {"name": entry["id"], "model": entry["id"], "when": {"headers": {"x-fault": entry["id"]}}}
        for entry in models
    ]
    return write_config(
        directory,
        stub.url,
        models,
        providers={"anthropic": {"dialect": "anthropic", "base_url": stub.url, "api_key": "sk-ant"}},
        proxy={"admin_key": ADMIN, **proxy},
        routing={"rules": rules},
    )


@pytest.fixture(scope="module")
def proxy(stub: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kuro]:
    with Kuro(config(stub, tmp_path_factory.mktemp("sixteen"), PAIRS)) as kuro:
        yield kuro
        assert kuro.stop() == 0


@pytest.fixture(autouse=True)
def well_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every fault the process answers, nothing is left open, and it logged no traceback."""
    yield
    if "proxy" not in request.fixturenames:
        return
    kuro: Kuro = request.getfixturevalue("proxy")
    assert kuro.request("GET", "/readyz")[0] == 200
    good = listen(kuro, {"model": "well", "messages": MESSAGES})
    assert (good.text, good.done) == ("Hello from well.", 1)
    assert not kuro.lines(lambda line: "traceback" in line or line.get("level") in ("error", "critical"))
    kuro.reset()


def ask(kuro: Kuro, name: str, auto: bool, gate: Gate | None = None, **fields: Any) -> Heard:
    """The stream of one call, by name or as `auto`; its usage is asked for, its trace too.

    The `gate` is opened when twenty words have been heard.
    """

    def heard(words: int) -> None:
        if gate and words == 20:
            gate.release()

    body = {
        "model": "auto" if auto else name,
        "messages": MESSAGES,
        "stream_options": {"include_usage": True},
        **fields,
    }
    return listen(kuro, body, {"x-fault": name, "x-kuro-trace": "1"}, heard)


def tells_the_story(kuro: Kuro, heard: Heard, served_by: str) -> dict[str, Any]:
    """The sixty words exactly once, properly ended, from whom they should be; the call's record."""
    assert heard.status == 200
    assert heard.text == STORY
    assert heard.finish == ["stop"]
    assert heard.done == 1
    assert not heard.errors
    assert heard.model == served_by
    record = kuro.record(heard.request_id)
    assert record["outcome"] == "ok"
    assert record["selected_model"] == record["response_model"] == served_by
    return record


def tries(record: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(a["model"], a["outcome"], a["failure"]) for a in record["attempts"]]


def since(stub: StubUpstream, *names: str) -> Callable[[], tuple[int, ...]]:
    """How often each of these was asked from now on."""
    before = [stub.hits(name) for name in names]
    return lambda: tuple(stub.hits(name) - was for name, was in zip(names, before, strict=True))


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


# --- 8 and 9: after it ------------------------------------------------------------------------------

CUTS: dict[str, Callable[[int, Behaviour], Behaviour]] = {
    "closed": cut_after,
    "reset": lambda events, base: cut_after(events, base, end=End.RST),
    "ended properly": lambda events, base: cut_after(events, base, end=End.WHOLE),
    "ended by an error event": lambda events, base: error_in_200(500, after=events, base=base),
}
"""Ways in which a stream ends without a terminal chunk."""


@both
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
def test_08_a_stream_cut_after_forty_words_is_sixty_words_to_the_caller(
    proxy: Kuro, stub: StubUpstream, auto: bool, cut: Any
) -> None:
    gate = Gate()  # so that the end can't overtake the beginning: a reset takes unread bytes with it
    stub.script("cut", gated(gate, cut(41, ok(STORY)), at=30))
    stub.script("cut-spare", STORIES)
    hits = since(stub, "cut", "cut-spare")
    heard = ask(proxy, "cut", auto, gate)
    record = tells_the_story(proxy, heard, "cut-spare")
    assert hits() == (1, 1)
    assert heard.headers["x-kuro-model"] == "cut", "said before it broke"
    booked_in_two_parts(heard, record, "cut")


def booked_in_two_parts(heard: Heard, record: dict[str, Any], name: str) -> None:
    """Usage and cost of both parts are in the record, and the record and the trace show the seam."""
    first, *refused, last = record["attempts"]
    assert (first["model"], first["outcome"], last["model"], last["outcome"]) == (
        name,
        "cut",
        f"{name}-spare",
        "ok",
    )
    assert first["failure"]
    assert first["usage"]["estimated"]
    assert 20 < first["usage"]["completion"] < 70, "what it wrote before it broke"
    assert all(attempt["outcome"] == "failed" and not attempt["cost_usd"] for attempt in refused)
    assert record["fallback_used"] is True
    for count in ("prompt", "completion"):
        assert record["usage"][count] == first["usage"][count] + last["usage"][count]
    assert record["cost_usd"] == pytest.approx(first["cost_usd"] + last["cost_usd"])
    traces = [chunk["kuro"]["attempts"] for chunk in heard.chunks if "kuro" in chunk]
    assert [a["outcome"] for a in traces[0]] == ["ok"]
    assert [a["outcome"] for a in traces[-1]] == ["cut", *["failed"] * len(refused), "ok"]
    assert len(traces) == 2, "once at the start, once at the seam"


@both
def test_08_a_fallback_that_takes_prefill_writes_on_from_where_the_first_broke_off(
    proxy: Kuro, stub: StubUpstream, auto: bool
) -> None:
    stub.script("cut-prefill", cut_after(41, ok(STORY)))
    stub.script("cut-prefill-spare", prefill(STORY))
    hits = since(stub, "cut-prefill", "cut-prefill-spare")
    heard = ask(proxy, "cut-prefill", auto)
    record = tells_the_story(proxy, heard, "cut-prefill-spare")
    assert hits() == (1, 1)
    forty = " ".join(STORY.split(" ")[:40])
    assert stub.last("cut-prefill-spare").json["messages"] == [
        *MESSAGES,
        {"role": "assistant", "content": forty},
    ]
    booked_in_two_parts(heard, record, "cut-prefill")


def test_08_prefill_is_used_only_where_the_registry_says_so(proxy: Kuro, stub: StubUpstream) -> None:
    stub.script("cut", cut_after(41, ok(STORY)))
    stub.script("cut-spare", prefill(STORY))
    tells_the_story(proxy, ask(proxy, "cut", auto=False), "cut-spare")
    assert stub.last("cut-spare").json["messages"] == MESSAGES


@pytest.mark.parametrize("name", ["cut-claude", "claude-cut"])
def test_08_either_side_may_speak_anthropics_dialect(proxy: Kuro, stub: StubUpstream, name: str) -> None:
    events = 41 if name == "cut-claude" else 43  # message_start, ping and content_block_start come first
    stub.script(name, cut_after(events, ok(STORY)))
    stub.script(f"{name}-spare", prefill(STORY))
    heard = ask(proxy, name, auto=False)
    record = tells_the_story(proxy, heard, f"{name}-spare")
    booked_in_two_parts(heard, record, name)


def test_08_a_stream_cut_after_its_last_word_is_only_finished(proxy: Kuro, stub: StubUpstream) -> None:
    stub.script("cut-at-the-end", cut_after(61, ok(STORY)))
    stub.script("cut-at-the-end-spare", STORIES)
    tells_the_story(proxy, ask(proxy, "cut-at-the-end", auto=False), "cut-at-the-end-spare")


SPACED = ["One", "  two", "\n\n\tthree ", "four", "\u00a0five", "\r\nsix  "]


@pytest.mark.parametrize("cut", range(1, len(SPACED)))
def test_08_white_space_is_compared_exactly(proxy: Kuro, stub: StubUpstream, cut: int) -> None:
    stub.script("cut-white", cut_after(1 + cut, ok(events=SPACED)))
    stub.script("cut-white-spare", ok(events=["".join(SPACED)[:9], "".join(SPACED)[9:]]))
    heard = ask(proxy, "cut-white", auto=False)
    assert heard.text == "".join(SPACED)
    assert heard.done == 1


DEPARTURES = {
    "another word": STORY.replace("small", "large"),
    "one space for two": STORY.replace("small black", "small  black"),
    "a line break for a space": STORY.replace("black cat", "black\ncat"),
    "an end too soon": " ".join(STORY.split(" ")[:30]),
}


@both
@pytest.mark.parametrize("text", DEPARTURES.values(), ids=DEPARTURES.keys())
def test_08_a_text_that_departs_from_what_was_sent_is_one_honest_error(
    proxy: Kuro, stub: StubUpstream, text: str, auto: bool
) -> None:
    stub.script("departing", cut_after(41, ok(STORY)))
    stub.script("departing-spare", ok(text))
    # For `auto` others of the ranking are asked behind it: they have another story, too.
    heard = ask(proxy, "departing", auto)
    assert heard.text == " ".join(STORY.split(" ")[:40]), "no word that wasn't, none twice"
    assert (heard.done, len(heard.errors)) == (0, 1)
    assert "broke off" in heard.errors[0]["message"]
    record = proxy.record(heard.request_id)
    assert record["outcome"] == "aborted"
    assert proxy.circuit("departing-spare")["failures"] == 0, "other words are no failure of a model"


SEAMLESS = {
    "structured output": {"response_format": {"type": "json_object"}},
    "several choices": {"n": 2},
    "log probabilities": {"logprobs": True},
}


@pytest.mark.parametrize("fields", SEAMLESS.values(), ids=SEAMLESS.keys())
def test_08_nothing_is_spliced_into(proxy: Kuro, stub: StubUpstream, fields: dict[str, Any]) -> None:
    stub.script("whole", cut_after(41, ok(STORY)))
    stub.script("whole-spare", STORIES)
    one_honest_error(proxy, stub, fields)


def test_08_nothing_is_spliced_into_a_tool_call(proxy: Kuro, stub: StubUpstream) -> None:
    arguments = '{"city": "Longyearbyen, Svalbard"}'
    stub.script("whole", cut_after(4, ok(tools=[Tool("weather", arguments)])))
    stub.script("whole-spare", ok(tools=[Tool("weather", arguments)]))
    heard = one_honest_error(proxy, stub, {"tools": [WEATHER]})
    assert not heard.text


WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def one_honest_error(proxy: Kuro, stub: StubUpstream, fields: dict[str, Any]) -> Heard:
    hits = since(stub, "whole", "whole-spare")
    heard = ask(proxy, "whole", False, **fields)
    assert hits() == (1, 0)
    assert (heard.done, len(heard.errors), heard.finish) == (0, 1, [])
    record = proxy.record(heard.request_id)
    assert (record["outcome"], record["fallback_used"]) == ("aborted", False)
    assert record["attempts"][0]["failure"] == "bad_response"
    assert record["usage"]["estimated"], "what was written is booked all the same"
    return heard


@both
def test_08_text_beside_offered_tools_is_still_text(proxy: Kuro, stub: StubUpstream, auto: bool) -> None:
    stub.script("cut", cut_after(41, ok(STORY)))
    stub.script("cut-spare", STORIES)
    tells_the_story(proxy, ask(proxy, "cut", auto, tools=[WEATHER]), "cut-spare")


@sizes
@both
def test_09_a_silence_after_twenty_words_is_bridged_within_one_idle_timeout(
    proxy: Kuro, stub: StubUpstream, auto: bool, size: str
) -> None:
    name = "mute" if size == SCALED else "mute-full"
    limit = next(entry["timeouts"]["idle"] for entry in PAIRS if entry["id"] == name)
    stub.script(name, headers_then_silence(21, ok(STORY)))
    stub.script(f"{name}-spare", STORIES)
    hits = since(stub, name, f"{name}-spare")
    heard = ask(proxy, name, auto)
    record = tells_the_story(proxy, heard, f"{name}-spare")
    assert hits() == (1, 1)
    assert heard.gap < limit + 1.0
    assert record["attempts"][0]["failure"] == "idle_timeout"
    booked_in_two_parts(heard, record, name)
    stub.last(name).disconnected.block()


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

REFUSALS = {
    "in usual words": refuse_prefill(),
    "in others": fail(400, "messages.2: final turn must come from the user"),
}


@both
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_14_a_prefill_refused_with_a_400_is_restarted_and_the_400_never_surfaces(
    proxy: Kuro, stub: StubUpstream, auto: bool, refusal: Behaviour
) -> None:
    stub.script("cut-refused", cut_after(41, ok(STORY)))
    stub.script("cut-refused-spare", refusal, STORIES)
    hits = since(stub, "cut-refused", "cut-refused-spare")
    heard = ask(proxy, "cut-refused", auto)
    record = tells_the_story(proxy, heard, "cut-refused-spare")
    assert hits() == (1, 2)
    prefilled, restarted = stub.requests["cut-refused-spare"][-2:]
    assert prefilled.json["messages"][-1]["role"] == "assistant"
    assert restarted.json["messages"] == MESSAGES
    assert [a["status"] for a in record["attempts"]] == [200, 400, 200]
    booked_in_two_parts(heard, record, "cut-refused")
    assert proxy.circuit("cut-refused-spare")["failures"] == 0


def test_14_a_fallback_that_is_down_is_not_restarted_as_if_it_had_refused_prefill(
    proxy: Kuro, stub: StubUpstream
) -> None:
    stub.script("cut-refused", cut_after(41, ok(STORY)))
    stub.script("cut-refused-spare", reset_before_headers())
    hits = since(stub, "cut-refused", "cut-refused-spare")
    heard = ask(proxy, "cut-refused", auto=False)
    assert hits()[1] <= 2, "a kept-alive connection may have been stale"
    assert (heard.done, len(heard.errors)) == (0, 1)
    asked = stub.requests["cut-refused-spare"][-1].json["messages"]
    assert asked[-1]["role"] == "assistant"


@both
@pytest.mark.parametrize(
    ("down", "apart", "calls"),
    [
        pytest.param(3.0, 0.2, 20, id=SCALED),
        pytest.param(60.0, 4.0, 20, id=FULL, marks=pytest.mark.slow),
    ],
)
def test_15_a_model_that_was_down_is_used_again_soon_after_it_recovers(
    stub: StubUpstream, tmp_path: Any, auto: bool, down: float, apart: float, calls: int
) -> None:
    """20 calls, evenly apart, while it is down for the first so many seconds. SCALED: all times by 1/20."""
    scale = apart / 4.0
    breaker = {
        "window": 60.0 * scale,
        "open_for": 5.0 * scale,
        "open_cap": 15.0 * scale,
        "forget_after": 60.0 * scale,
    }
    models = pair("recovering")
    stub.script("recovering", fail(503))
    stub.script("recovering-spare", STORIES)
    with Kuro(config(stub, tmp_path, models, breaker=breaker)) as kuro:
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
            heard = ask(kuro, "recovering", auto)
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
