"""The seam between two models: what the caller has seen is held back, the rest is passed on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dispatch.splice import Seam, may_splice, prefilled
from proxy.providers import CODECS
from proxy.types import ChatRequest, Chunk, FailureKind, Model, Need

SAID = "The quick brown fox jumps over the lazy dog."


def request(**fields: Any) -> ChatRequest:
    whole = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}], **fields}
    return ChatRequest(msgspec.json.encode(whole), whole, "m", whole["messages"], stream=True)


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "b", "choices": [choice]}
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def stream(*texts: str, finish: str | None = "stop") -> bytes:
    parts = [event({"role": "assistant", "content": ""}), *(event({"content": text}) for text in texts)]
    if finish:
        parts += [event({}, finish), b"data: [DONE]\n\n"]
    return b"".join(parts)


def run(expected: str, data: bytes, lenient: bool = False, size: int = 0) -> tuple[str, list[Chunk]]:
    """What the caller gets to read, and the chunks that said so."""
    seam = Seam(CODECS["openai"].decoder(request()), expected, lenient)
    pieces = [data[at : at + size] for at in range(0, len(data), size)] if size else [data]
    chunks = [seam.feed(piece) for piece in pieces]
    chunks.append(seam.close())
    reader = CODECS["openai"].decoder(request())
    return reader.feed(b"".join(chunk.data for chunk in chunks)).text, chunks


@given(
    st.integers(0, len(SAID) - 1), st.lists(st.integers(1, 9), min_size=30, max_size=30), st.integers(0, 40)
)
def test_wherever_it_was_cut_the_text_is_whole_and_once(cut: int, sizes: list[int], read: int) -> None:
    texts, at = [], 0
    for size in sizes:
        texts.append(SAID[at : at + size])
        at += size
    texts.append(SAID[at:])
    rest, chunks = run(SAID[:cut], stream(*(text for text in texts if text)), size=read)
    assert SAID[:cut] + rest == SAID
    assert "".join(chunk.text for chunk in chunks) == rest
    assert not any(chunk.failure for chunk in chunks)
    assert any(chunk.done for chunk in chunks)


DEPARTURES = {
    "another word": ("The quick ", stream("The slow ", "brown fox")),
    "other white space": ("The quick ", stream("The  quick ", "brown")),
    "an end before the seam": ("The quick ", stream("The ")),
    "a cut before the seam": ("The quick ", stream("The ", finish=None)),
    "a tool call": (
        "The quick ",
        event({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": ""}}]}),
    ),
}


@pytest.mark.parametrize(("expected", "data"), DEPARTURES.values(), ids=DEPARTURES.keys())
def test_a_departure_is_a_failure_and_no_text(expected: str, data: bytes) -> None:
    text, chunks = run(expected, data)
    assert text == ""
    failures = [chunk.failure for chunk in chunks if chunk.failure]
    assert failures[0].kind in (FailureKind.DEPARTED, FailureKind.BAD_RESPONSE)


def test_thoughts_before_the_first_new_text_are_held_back() -> None:
    thinks = event({"reasoning_content": "Hm."})
    data = thinks + stream("The quick ", "brown") + thinks
    for expected in ("", "The quick "):
        text, chunks = run(expected, data)
        assert expected + text == "The quick brown"
        assert b"Hm." not in b"".join(chunk.data for chunk in chunks)


def test_a_tool_call_may_follow_what_was_sent() -> None:
    call = event({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": ""}}]})
    _, chunks = run("The quick ", stream("The quick ", finish=None) + call)
    assert any(chunk.tool_call and b"tool_calls" in chunk.data for chunk in chunks)


ODD = {
    "a lone surrogate behind the seam": b'"The quick \\ud83c"',
    "content as parts": b'[{"type": "text", "text": "The quick "}, {"type": "text", "text": "fox"}]',
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD.keys())
def test_events_that_only_the_decoder_understands_do_not_break_the_seam(content: bytes) -> None:
    odd = b'data: {"choices": [5, {"index": 0, "delta": {"content": %b}}], "x": 1}\n\n' % content
    text, chunks = run("The quick ", odd + stream(" jumps"))
    assert text in ("? jumps", "fox jumps")
    assert not any(chunk.failure for chunk in chunks)


def test_oddly_typed_events_around_the_seam_pass_as_they_came() -> None:
    odd = [b'{"choices": 5}', b'{"choices": [{"delta": 7}]}', b'{"choices": [[]]}']
    events = b"".join(b"data: %b\n\n" % event for event in odd)
    text, chunks = run("The ", events + stream("The ", "fox") + events)
    assert text == "fox"
    assert not any(chunk.failure for chunk in chunks)


def test_the_white_space_after_a_prefill_is_not_doubled() -> None:
    assert run(" ", stream(" brown", " fox"), lenient=True)[0] == "brown fox"


def test_nor_missed_when_the_model_leaves_it_out() -> None:
    assert run(" ", stream("brown", " fox"), lenient=True)[0] == "brown fox"


def test_a_prefill_ends_without_white_space() -> None:
    model = Model("b", "p", "b", supports=frozenset({Need.PREFILL}))
    made = prefilled(request(), model, "The quick \n")
    assert made is not None
    asked, expected = made
    assert asked.messages[-1] == {"role": "assistant", "content": "The quick"}
    assert msgspec.json.decode(asked.body)["messages"] == asked.messages
    assert expected == " \n"
    assert not asked.spliceable


def test_no_prefill_for_models_that_do_not_support_it() -> None:
    assert prefilled(request(), Model("b", "p", "b"), "The quick") is None


@pytest.mark.parametrize(
    ("fields", "may"),
    [
        ({}, True),
        ({"n": 1}, True),
        ({"n": 2}, False),
        ({"tools": [{"type": "function"}]}, True),
        ({"logprobs": True}, False),
        ({"logprobs": False}, True),
        ({"response_format": {"type": "json_object"}}, False),
        ({"response_format": {"type": "text"}}, True),
        ({"audio": {"voice": "alloy"}}, False),
    ],
    ids=str,
)
def test_what_may_be_spliced(fields: dict[str, Any], may: bool) -> None:
    assert may_splice(request(**fields)) is may
