"""Bodies that are wrong: what is no JSON, and every field with what it can't be."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

from tests.e2e.wire import HELLO, Case, request

BODIES = {
    "an empty body": b"",
    "white space": b"  \r\n ",
    "half an object": b'{"model": "primary", "messages": [',
    "an object and more": b'{"model": "primary"} x',
    "two objects": json.dumps(HELLO).encode() * 2,
    "an array": b"[]",
    "null": b"null",
    "a number": b"1",
    "a string": b'"primary"',
    "true": b"true",
    "a word": b"hello",
    "single quotes": b"{'model': 'primary'}",
    "a comment": b'{"model": "primary" /* here */}',
    "a trailing comma": b'{"model": "primary",}',
    "a key that is a number": b"{1: 2}",
    "a key without quotes": b"{model: 1}",
    "no colon": b'{"model" "primary"}',
    "NaN": b'{"temperature": NaN}',
    "Infinity": b'{"temperature": Infinity}',
    "-Infinity": b'{"temperature": -Infinity}',
    "a number above all floats": b'{"temperature": 1e400}',
    "a number with a leading zero": b'{"n": 01}',
    "a number with a plus": b'{"n": +1}',
    "a number that ends with its point": b'{"n": 1.}',
    "a hexadecimal number": b'{"n": 0x10}',
    "bad UTF-8": b'{"model": "\xff\xfe"}',
    "overlong UTF-8": b'{"model": "\xc0\xaf"}',
    "cut UTF-8": b'{"model": "\xe2\x82"}',
    "a surrogate in UTF-8": b'{"model": "\xed\xa0\x80"}',
    "Latin-1": '{"model": "é"}'.encode("latin-1"),
    "UTF-16": json.dumps(HELLO).encode("utf-16"),
    "UTF-32": json.dumps(HELLO).encode("utf-32"),
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(HELLO).encode(),
    "a NUL in a string": b'{"model": "a\0b"}',
    "a line feed in a string": b'{"model": "a\nb"}',
    "a NUL after the body": json.dumps(HELLO).encode() + b"\0",
    "an unknown escape": b'{"model": "\\x41"}',
    "half an escape": b'{"model": "\\u12"}',
    "a lone high surrogate": b'{"model": "\\ud800"}',
    "a lone low surrogate": b'{"model": "\\udc00"}',
    "surrogates in the wrong order": b'{"model": "\\udc00\\ud800"}',
    "100,000 nested arrays": b'{"model": "primary", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 nested objects": b'{"messages":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 open brackets": b"[" * 100_000,
    "501 levels": b'{"a":' * 501 + b"1" + b"}" * 501,
    "a form": b"model=primary&messages=hello",
    "XML": b"<?xml version='1.0'?><model>primary</model>",
    "gzip that doesn't say so": gzip.compress(json.dumps(HELLO).encode()),
}

_OTHERS: dict[str, Any] = {
    "null": None,
    "true": True,
    "0": 0,
    "1.5": 1.5,
    "a string": "x",
    "an array": [1],
    "an object": {"a": 1},
}

TYPES: dict[str, tuple[str, ...]] = {
    "model": ("null", "true", "0", "1.5", "an array", "an object"),
    "messages": ("null", "true", "0", "1.5", "a string", "an object"),
    "stream": ("0", "1.5", "a string", "an array", "an object"),
    "stream_options": ("true", "0", "1.5", "a string", "an array"),
    "models": ("true", "0", "1.5", "a string", "an object"),
    "n": ("true", "0", "1.5", "a string", "an array", "an object"),
    "max_tokens": ("true", "1.5", "a string", "an array", "an object"),
    "max_completion_tokens": ("true", "1.5", "a string", "an array", "an object"),
    "tools": ("true", "0", "1.5", "a string", "an object"),
    "functions": ("true", "0", "1.5", "a string", "an object"),
}
"""Field -> what it can't be."""

FIELDS: list[tuple[str, dict[str, Any], str]] = [
    ("no messages at all", {"messages": []}, "messages"),
    ("a message that is null", {"messages": [None]}, "messages[0]"),
    ("a message that is a string", {"messages": ["hi"]}, "messages[0]"),
    ("a message that is a list", {"messages": [[]]}, "messages[0]"),
    ("a message without a role", {"messages": [{"content": "hi"}]}, "messages[0].role"),
    (
        "a second message without a role",
        {"messages": [{"role": "user", "content": "a"}, {}]},
        "messages[1].role",
    ),
    ("an unknown role", {"messages": [{"role": "root", "content": "hi"}]}, "messages[0].role"),
    ("a role in upper case", {"messages": [{"role": "USER", "content": "hi"}]}, "messages[0].role"),
    ("a role with a line feed", {"messages": [{"role": "user\r\nX: y", "content": "a"}]}, "messages[0].role"),
    ("an empty role", {"messages": [{"role": "", "content": "hi"}]}, "messages[0].role"),
    ("a role that is null", {"messages": [{"role": None, "content": "hi"}]}, "messages[0].role"),
    ("a role that is a number", {"messages": [{"role": 1, "content": "hi"}]}, "messages[0].role"),
    ("a role that is a list", {"messages": [{"role": ["user"], "content": "hi"}]}, "messages[0].role"),
    ("a role that is an object", {"messages": [{"role": {"user": 1}, "content": "a"}]}, "messages[0].role"),
    ("content that is a number", {"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
    ("content that is true", {"messages": [{"role": "user", "content": True}]}, "messages[0].content"),
    ("content that is an object", {"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
    ("a part that is a string", {"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content[0]"),
    (
        "a part that is null",
        {"messages": [{"role": "user", "content": [{}, None]}]},
        "messages[0].content[1]",
    ),
    ("an empty model", {"model": ""}, "model"),
    ("a model of 300 characters", {"model": "m" * 300}, "model"),
    ("an unknown model", {"model": "nobody"}, "model"),
    ("a model with CR and LF", {"model": "primary\r\nX-Evil: 1"}, "model"),
    ("a model with a NUL", {"model": "primary\0"}, "model"),
    ("a model that is a URL", {"model": "http://169.254.169.254/latest"}, "model"),
    ("an unknown profile", {"model": "auto:dearest"}, "model"),
    ("a list of models with a number", {"models": ["primary", 1]}, "models[1]"),
    ("a list of models with an empty one", {"models": [""]}, "models[0]"),
    ("a list with an unknown model", {"models": ["nobody"]}, "models"),
    ("n below 1", {"n": -1}, "n"),
    ("n above 128", {"n": 129}, "n"),
    ("n of thirty digits", {"n": 10**30}, "n"),
    ("max_tokens below -1", {"max_tokens": -2}, "max_tokens"),
    ("max_tokens of thirty digits", {"max_tokens": 10**30}, "max_tokens"),
    ("max_completion_tokens of thirty digits", {"max_completion_tokens": 10**30}, "max_completion_tokens"),
    ("a tool that is a string", {"tools": ["a"]}, "tools[0]"),
    ("a tool that is null", {"tools": [None]}, "tools[0]"),
    ("a function that is a list", {"functions": [[]]}, "functions[0]"),
    (
        "include_usage that is a string",
        {"stream_options": {"include_usage": "yes"}},
        "stream_options.include_usage",
    ),
]

NOT_FOUND = {
    "an unknown model",
    "a model with CR and LF",
    "a model with a NUL",
    "a model that is a URL",
    "an unknown profile",
    "a list with an unknown model",
}

DUPLICATES = {
    "model twice": (
        b'{"model": "primary", "model": "second", "messages": [{"role": "user", "content": "a"}]}',
        "model",
    ),
    "the same model twice": (
        b'{"model": "primary", "model": "primary", "messages": [{"role": "user", "content": "a"}]}',
        "model",
    ),
    "model twice, once by escape": (
        b'{"model": "primary", "\\u006dodel": "second", "messages": [{"role": "user", "content": "a"}]}',
        "model",
    ),
    "messages twice": (
        b'{"model": "primary", "messages": [], "messages": [{"role": "user", "content": "a"}]}',
        "messages",
    ),
    "stream twice": (
        b'{"model": "primary", "stream": true, "messages": [{"role": "user"}], "stream": false}',
        "stream",
    ),
}


def bodies() -> Iterator[Case]:
    """Each with the field that must be named."""
    for name, body in BODIES.items():
        yield Case(f"body: {name}", request(body))
    for field, kinds in TYPES.items():
        for kind in kinds:
            yield Case(f"{field} that is {kind}", request(HELLO | {field: _OTHERS[kind]}), 400, field)
    for name, change, param in FIELDS:
        status = 404 if name in NOT_FOUND else 400
        yield Case(name, request(HELLO | change), status, param)
    for name, (body, param) in DUPLICATES.items():
        yield Case(name, request(body), 400, param)
    for field in ("model", "messages"):
        rest = {name: value for name, value in HELLO.items() if name != field}
        yield Case(f"no {field}", request(rest), 400, field)
