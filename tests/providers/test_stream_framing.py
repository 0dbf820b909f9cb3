"""One stream in many legal framings: whatever its line ends, fields and pieces, it says the same."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.types import Chunk
from tests.providers.decoding import CODECS, decode
from tests.providers.recorded_anthropic import ANTHROPIC
from tests.providers.recorded_openai import OPENAI
from tests.wire.whatwg import parse

BOM = b"\xef\xbb\xbf"
RECORDINGS = {"openai": OPENAI, "anthropic": ANTHROPIC}
STREAMS = {
    f"{dialect}: {recording.name}": (dialect, recording.stream)
    for dialect in CODECS
    for recording in RECORDINGS[dialect]
    # Broken off within an event, with a mark of its own, not UTF-8: these have no framing to exchange.
    if not parse(recording.stream).unfinished
    and not recording.stream.startswith(BOM)
    and "\ufffd" not in recording.stream.decode("utf-8", "replace")
}


def split(data: str) -> list[str]:
    """The payload over as many data lines as it has, and JSON over a line per member."""
    try:
        return json.dumps(json.loads(data), indent=1).split("\n")
    except ValueError:
        return data.split("\n")


ENDS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}


class Framing:
    """Writes events anew, in ways that a hypothesis draw decides."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def stream(self, events: list[tuple[str, str]]) -> bytes:
        written = "".join(self._event(type_, data) for type_, data in events)
        return self._one_of(b"", BOM) + written.encode()

    def _event(self, type_: str, data: str) -> str:
        lines = [f"data{self._one_of(': ', ':')}{line}" for line in self._one_of([data], split(data))]
        if type_ != "message":
            # The first name doesn't count, the last one does.
            lines.insert(0, self._one_of(f"event: {type_}", f"event:{type_}", f"event: x\nevent: {type_}"))
        for extra in self._draw(st.lists(st.sampled_from(EXTRAS), max_size=2)):
            lines.insert(self._draw(st.integers(0, len(lines))), extra)
        text = "".join(line + self._one_of(*ENDS.values()).decode() for line in lines)
        # LF after CR would make one line end of two.
        return text + self._one_of("\r\n", "\r", "\r" if text.endswith("\r") else "\n")

    def _one_of(self, *options: Any) -> Any:
        return self._draw(st.sampled_from(options))


EXTRAS = [
    "id: 17",
    "id",
    "id:a\0b",
    "retry: 1000",
    "retry: soon",
    ": note",
    ":",
    "x-unknown: 1",
    "data-x: {}",
]


@st.composite
def framed(draw: Any) -> tuple[str, str, bytes]:
    name = draw(st.sampled_from(list(STREAMS)))
    dialect, stream = STREAMS[name]
    return name, dialect, Framing(draw).stream([(m.type, m.data) for m in parse(stream).messages])


def without_bytes(chunk: Chunk) -> dict[str, Any]:
    return {name: getattr(chunk, name) for name in chunk.__struct_fields__ if name != "data"}


def payloads(data: bytes) -> list[Any]:
    """What a reader of the relayed bytes gets."""
    return [json.loads(message.data) for message in parse(data).messages]


@settings(max_examples=100)
@given(framed(), st.booleans(), st.data())
def test_a_stream_says_the_same_in_every_framing_and_in_any_pieces(
    case: tuple[str, str, bytes], asks_usage: bool, data: st.DataObject
) -> None:
    name, dialect, stream = case
    plain = decode(dialect, [STREAMS[name][1]], asks_usage)
    whole = decode(dialect, [stream], asks_usage)
    assert without_bytes(whole) == without_bytes(plain)
    assert payloads(whole.data) == payloads(plain.data)
    assert not any(message.last_event_id for message in parse(whole.data).messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    assert decode(dialect, [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])], asks_usage) == whole
    assert decode(dialect, [bytes([byte]) for byte in stream], asks_usage) == whole


LETTERS = {"two bytes": "é", "three bytes": "漢", "four bytes": "🌍"}
LAST = {"openai": "data: [DONE]\n\n", "anthropic": 'data: {"type": "message_stop"}\n\n'}


def telling(dialect: str, letter: str) -> str:
    """A short finished stream whose text is the letter twice."""
    if dialect == "openai":
        events: list[Any] = [
            {"choices": [{"index": 0, "delta": {"content": letter}}]},
            {"choices": [{"index": 0, "delta": {"content": letter}, "finish_reason": "stop"}]},
        ]
    else:
        delta = {"type": "text_delta", "text": letter}
        events = [{"type": "content_block_delta", "index": 0, "delta": delta}] * 2
        events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    return "".join(f"data: {json.dumps(e, ensure_ascii=False)}\n\n" for e in events) + LAST[dialect]


@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS.keys())
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("dialect", CODECS)
def test_every_split_point_of_a_letter_of_several_bytes(dialect: str, end: bytes, letter: str) -> None:
    stream = telling(dialect, letter).encode().replace(b"\n", end)
    whole = decode(dialect, [stream])
    assert (whole.text, whole.finish_reason, whole.done, whole.failure) == (letter * 2, "stop", True, None)
    for at in range(len(stream) + 1):
        assert decode(dialect, [stream[:at], stream[at:]]) == whole


OVER = {
    "another answer": telling("openai", "x").encode(),
    "an error": b'data: {"error": {"message": "too late"}}\n\n',
    "garbage": b"\0\xff\r\r{{{{",
    "half an event": b"data: {",
}


@pytest.mark.parametrize("rest", OVER.values(), ids=OVER.keys())
@pytest.mark.parametrize("dialect", CODECS)
def test_what_comes_behind_the_end_is_not_read(dialect: str, rest: bytes) -> None:
    stream = telling(dialect, "é").encode()
    whole = decode(dialect, [stream])
    for at in range(len(stream), len(stream + rest) + 1):
        pieces = [stream + rest[: at - len(stream)], rest[at - len(stream) :]]
        assert decode(dialect, pieces) == whole


BAD = {
    "NaN": b'{"choices": [{"delta": {"content": "x"}, "logprobs": NaN}]}',
    "NaN where a number is looked at": b'{"usage": {"prompt_tokens": NaN}, "choices": []}',
    "Infinity": b'{"x": -Infinity}',
    "bad UTF-8": b'{"choices": [{"delta": {"content": "\xff\xfe"}}]}',
    "bad UTF-8 where nobody looks": b'{"x": "\xc3", "choices": [{"delta": {"content": "x"}}]}',
    "half a letter": "é".encode()[:1],
    "a surrogate as UTF-8": b'{"x": "\xed\xa0\x80"}',
    "no JSON": b"hello",
    "a list": b"[1]",
    "a number": b"1",
    "cut off": b'{"choices": [',
    "two values": b"{}{}",
    "100,000 levels": b"[" * 100_000,
    "100,000 levels, closed": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 objects": b'{"choices": ' * 100_000 + b"1" + b"}" * 100_000,
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("dialect", CODECS)
def test_an_event_that_is_no_json_object_is_dropped_and_counted(dialect: str, bad: bytes) -> None:
    first, rest = telling(dialect, "é").split("\n\n", 1)
    good = decode(dialect, [telling(dialect, "é").encode()])
    stream = f"{first}\n\n".encode() + b"data: " + bad + b"\n\n" + rest.encode()
    whole = decode(dialect, [stream])
    assert whole.dropped == 1
    assert without_bytes(whole) | {"dropped": 0} == without_bytes(good)
    assert whole.data == good.data
    if len(stream) < 1000:
        assert decode(dialect, [bytes([byte]) for byte in stream]) == whole


def test_lone_surrogates_are_relayed_as_they_came_and_never_break_what_is_counted() -> None:
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "a\\ud83c"}}]}\n\n'
    chunk = decode("openai", [event + b"data: [DONE]\n\n"])
    assert chunk.data == event
    assert chunk.text == "a?"
    assert chunk.dropped == 0


# --- what is too much ----------------------------------------------------------------------------

CROWDS = {
    "choices": b'{"choices": [%b{}]}' % (b"{}," * 600_000),
    "tool calls": b'{"choices": [{"delta": {"tool_calls": [%b{}]}}]}' % (b"{}," * 600_000),
    "oddly typed": b'{"model": 5, "choices": [%b{}]}' % (b"{}," * 600_000),
    "lists": b'{"choices": 5, "x": [%b1]}' % (b"[[[]]]," * 600_000),
    "texts": b'{"choices": 5, "x": [%b1]}' % (b'"ab",' * 1_100_000),
}


@pytest.mark.parametrize("crowd", CROWDS.values(), ids=CROWDS.keys())
@pytest.mark.parametrize("dialect", CODECS)
def test_a_crowd_of_values_is_not_decoded(dialect: str, crowd: bytes) -> None:
    tracemalloc.start()
    try:
        CODECS[dialect].decode(crowd)
        decode(dialect, [b"data: " + crowd + b"\n\n"])
        assert tracemalloc.get_traced_memory()[1] < 8 * len(crowd)
    finally:
        tracemalloc.stop()


def test_a_long_answer_with_all_its_log_probabilities_is_no_crowd() -> None:
    top = [{"token": "a", "logprob": -1.5, "bytes": [97]}] * 20
    content = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": top}] * 16_000
    choice = {"message": {"content": "a" * 16_000}, "logprobs": {"content": content}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice]}).encode()
    assert CODECS["openai"].decode(body).failure is None


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_tokens": 10**400, "completion_tokens": -5}, (10**9, 0, 0)),
        ({"prompt_tokens": 1e300, "completion_tokens": "7"}, (10**9, 7, 0)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 10**6}}, (5, 0, 5)),
        ({"prompt_tokens": -5, "prompt_tokens_details": {"cached_tokens": -1}}, (0, 0, 0)),
    ],
    ids=["400 digits, and less than nothing", "floats and texts", "more cached than asked", "all negative"],
)
def test_absurd_counts_are_cut_to_what_can_be_billed(counts: Any, usage: tuple[int, int, int]) -> None:
    choice = {"message": {"content": "x"}, "delta": {"content": "x"}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice], "usage": counts}).encode()
    for chunk in (CODECS["openai"].decode(body), decode("openai", [b"data: " + body + b"\n\n"])):
        assert chunk.usage is not None
        assert (chunk.usage.prompt, chunk.usage.completion, chunk.usage.cached) == usage


def test_anthropic_tool_calls_are_told_apart_by_their_order_whatever_their_index() -> None:
    opened = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    piece = {"type": "input_json_delta", "partial_json": "{}"}
    events = [
        {"type": "content_block_start", "content_block": opened},
        {"type": "content_block_delta", "delta": piece},
        {"type": "content_block_stop"},
    ]
    stream = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events * 3)
    chunks = payloads(decode("anthropic", [stream]).data)
    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert [call["index"] for call in calls] == [0, 0, 1, 1, 2, 2]


def test_tool_calls_that_never_stop_are_a_failure() -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    events = [{"type": "content_block_start", "index": at, "content_block": block} for at in range(20)]
    failure = decode("anthropic", [b"data: %b\n\n" % json.dumps(e).encode() for e in events]).failure
    assert failure is not None
    assert failure.kind == "bad_response"
