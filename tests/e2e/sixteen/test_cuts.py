"""Faults 8, 9 and 14: streams that break after the caller has begun to read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.heard import Heard, listen
from tests.e2e.kuro import Kuro
from tests.e2e.sixteen.faults import (
    MESSAGES,
    PAIRS,
    SCALED,
    STORIES,
    ask,
    booked_in_two_parts,
    both,
    since,
    sizes,
    tells_the_story,
)
from tests.stub import (
    STORY,
    Behaviour,
    End,
    Gate,
    StubUpstream,
    Tool,
    cut_after,
    error_in_200,
    fail,
    gated,
    headers_then_silence,
    ok,
    prefill,
    refuse_prefill,
    reset_before_headers,
)

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


@both
def test_08_thoughts_are_not_shown_twice(proxy: Kuro, stub: StubUpstream, auto: bool) -> None:
    thinking = "First the lighthouse then the cat."
    stub.script("cut", cut_after(4, ok(STORY, reasoning=thinking)))
    stub.script("cut-spare", ok(STORY, reasoning=thinking))
    heard = ask(proxy, "cut", auto)
    assert (heard.text, heard.done) == (STORY, 1)
    thoughts = [choice["delta"].get("reasoning_content") for c in heard.chunks for choice in c["choices"]]
    assert "".join(filter(None, thoughts)) == "First the lighthouse"


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


def test_08_a_continuation_that_departs_late_is_booked_as_wasted(proxy: Kuro, stub: StubUpstream) -> None:
    gate = Gate()
    stub.script("departing", cut_after(41, ok(STORY)))
    stub.script("departing-spare", gated(gate, ok(DEPARTURES["another word"]), at=3))
    heard: list[Heard] = []
    asking = threading.Thread(target=lambda: heard.append(ask(proxy, "departing", False)))
    asking.start()
    gate.block(1)
    while not proxy.circuit("departing-spare")["window_results"]:
        time.sleep(0.01)  # until it has committed, on words that were held back
    gate.release()
    asking.join()
    assert (heard[0].done, len(heard[0].errors)) == (0, 1)
    record = proxy.record(heard[0].request_id)
    first, second = record["attempts"]
    assert (first["outcome"], second["outcome"], second["failure"]) == ("cut", "failed", "departed")
    assert record["cost_usd"] == pytest.approx(first["cost_usd"])
    assert record["wasted_usd"] == pytest.approx(second["cost_usd"])
    assert second["cost_usd"] > 0.0
    assert proxy.circuit("departing-spare")["window_failures"] == 0


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


def test_08_several_choices_are_finished_when_all_of_them_are(proxy: Kuro, stub: StubUpstream) -> None:
    short = ok("one two")
    stub.script("whole", cut_after(7, short))  # two roles, two words twice, one finish_reason of two
    assert one_cut_choice(proxy).done == 0
    stub.script("whole", cut_after(8, short))
    assert one_cut_choice(proxy).done == 1


def one_cut_choice(proxy: Kuro) -> Heard:
    return listen(proxy, {"model": "whole", "messages": MESSAGES, "n": 2})


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
