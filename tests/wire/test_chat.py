"""Bodies that are served, bodies that are refused, and what is known of the ones in between."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import ApiError
from proxy.wire.chat import MAX_DEPTH, MAX_MODEL_LENGTH, ROLES, parse

USER = {"role": "user", "content": "hi"}
BODY = {"model": "auto", "messages": [USER]}


def body(**changes: object) -> bytes:
    return json.dumps({**BODY, **changes}).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in BODY.items() if key != name}).encode()


def message(**changes: object) -> bytes:
    return body(messages=[USER, {**USER, **changes}])


def raw(members: str) -> bytes:
    """A body whose members are added as they are written."""
    return b'{"model":"auto","messages":[{"role":"user","content":"hi"}],%b}' % members.encode()


REFUSED = {
    # --- not JSON, or not all of it
    "an empty body": (b"", None, "invalid_json"),
    "white space alone": (b"  \n", None, "invalid_json"),
    "text": (b"hello", None, "invalid_json"),
    "a form": (b"model=auto&messages=hi", None, "invalid_json"),
    "a body cut short": (body()[:-1], None, "invalid_json"),
    "something after the body": (body() + b"{}", None, "invalid_json"),
    "two bodies in lines": (body() + b"\n" + body(), None, "invalid_json"),
    "a trailing comma": (raw('"n":1,'), None, "invalid_json"),
    "a comment": (raw('/* c */ "n":1'), None, "invalid_json"),
    "single quotes": (b"{'model': 'auto'}", None, "invalid_json"),
    "a key without quotes": (b'{model: "auto"}', None, "invalid_json"),
    "a line break within a string": (raw('"user":"a\nb"'), None, "invalid_json"),
    "an unknown escape": (raw(r'"user":"\x41"'), None, "invalid_json"),
    "half a surrogate pair": (raw(r'"user":"\ud800 alone"'), None, "invalid_json"),
    "half a surrogate pair in a key": (raw(r'"\udc00":1'), None, "invalid_json"),
    "a byte order mark": (b"\xef\xbb\xbf" + body(), None, "invalid_json"),
    "UTF-16": (body().decode().encode("utf-16"), None, "invalid_json"),
    "NaN": (raw('"temperature":NaN'), None, "invalid_json"),
    "Infinity": (raw('"temperature":Infinity'), None, "invalid_json"),
    "minus Infinity": (raw('"temperature":-Infinity'), None, "invalid_json"),
    "a leading zero": (raw('"n":01'), None, "invalid_json"),
    "a leading plus": (raw('"n":+1'), None, "invalid_json"),
    "a hexadecimal number": (raw('"n":0x10'), None, "invalid_json"),
    "a NUL byte": (body() + b"\x00", None, "invalid_json"),
    # --- bytes that aren't UTF-8
    "bad UTF-8 in the model's name": (body().replace(b"auto", b"\xff\xfe"), None, "invalid_utf8"),
    "bad UTF-8 in a message": (body().replace(b"hi", b"h\xe4"), None, "invalid_utf8"),
    "bad UTF-8 in a field we never read": (raw('"x":"@"').replace(b"@", b"\xc3"), None, "invalid_utf8"),
    "bad UTF-8 deep within": (raw('"x":[[{"y":"@"}]]').replace(b"@", b"\xf8"), None, "invalid_utf8"),
    "bad UTF-8 in a key": (raw('"@":1').replace(b"@", b"\x80"), None, "invalid_utf8"),
    "a raw surrogate": (raw('"x":"@"').replace(b"@", b"\xed\xa0\x80"), None, "invalid_utf8"),
    "an overlong slash": (raw('"x":"@"').replace(b"@", b"\xc0\xaf"), None, "invalid_utf8"),
    # --- numbers
    "1e400": (raw('"temperature":1e400'), None, "invalid_number"),
    "minus 1e400": (raw('"temperature":-1e400'), None, "invalid_number"),
    "5,000 digits": (raw('"seed":' + "9" * 5000), None, "invalid_number"),
    "an endless exponent": (raw('"seed":1e' + "9" * 30), None, "invalid_number"),
    # --- depth
    "arrays past the interpreter's limit": (raw('"x":' + "[" * 5000 + "]" * 5000), None, "json_too_deep"),
    "objects past the interpreter's limit": (
        raw('"x":' + '{"a":' * 5000 + "1" + "}" * 5000),
        None,
        "json_too_deep",
    ),
    "arrays a level past our own": (
        raw('"x":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH),
        None,
        "json_too_deep",
    ),
    "depth in a message": (
        message(x=json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)),
        None,
        "json_too_deep",
    ),
    "brackets that never close": (b"[" * 100_000, None, "json_too_deep"),
    # --- not an object
    "an array": (b"[]", None, "invalid_type"),
    "a string": (b'"auto"', None, "invalid_type"),
    "a number": (b"1", None, "invalid_type"),
    "null": (b"null", None, "invalid_type"),
    "true": (b"true", None, "invalid_type"),
    # --- model
    "an empty object": (b"{}", "model", "missing_required_parameter"),
    "no model": (without("model"), "model", "missing_required_parameter"),
    "a null model": (body(model=None), "model", "missing_required_parameter"),
    "an empty model": (body(model=""), "model", "invalid_value"),
    "a number as model": (body(model=4), "model", "invalid_type"),
    "a list as model": (body(model=["auto"]), "model", "invalid_type"),
    "an object as model": (body(model={"id": "auto"}), "model", "invalid_type"),
    "a model's name that is too long": (body(model="m" * (MAX_MODEL_LENGTH + 1)), "model", "invalid_value"),
    # --- models
    "models as a string": (body(models="a"), "models", "invalid_type"),
    "models as an object": (body(models={"a": 1}), "models", "invalid_type"),
    "a number among models": (body(models=["a", 1]), "models[1]", "invalid_type"),
    "null among models": (body(models=[None]), "models[0]", "invalid_type"),
    "an empty name among models": (body(models=["a", ""]), "models[1]", "invalid_value"),
    "an endless name among models": (body(models=["a" * 999]), "models[0]", "invalid_value"),
    "neither a model nor models": (
        json.dumps({"models": [], "messages": [USER]}).encode(),
        "model",
        "missing_required_parameter",
    ),
    # --- messages
    "no messages": (without("messages"), "messages", "missing_required_parameter"),
    "null messages": (body(messages=None), "messages", "missing_required_parameter"),
    "empty messages": (body(messages=[]), "messages", "empty_array"),
    "messages as a string": (body(messages="hi"), "messages", "invalid_type"),
    "messages as an object": (body(messages=USER), "messages", "invalid_type"),
    "messages as a number": (body(messages=0), "messages", "invalid_type"),
    "messages as false": (body(messages=False), "messages", "invalid_type"),
    "a string among messages": (body(messages=[USER, "hi"]), "messages[1]", "invalid_type"),
    "null among messages": (body(messages=[None]), "messages[0]", "invalid_type"),
    "a list among messages": (body(messages=[[USER]]), "messages[0]", "invalid_type"),
    # --- roles
    "no role": (body(messages=[{"content": "hi"}]), "messages[0].role", "missing_required_parameter"),
    "a null role": (message(role=None), "messages[1].role", "invalid_type"),
    "an unknown role": (message(role="robot"), "messages[1].role", "invalid_value"),
    "a role in capitals": (message(role="User"), "messages[1].role", "invalid_value"),
    "an empty role": (message(role=""), "messages[1].role", "invalid_value"),
    "a list as role": (message(role=["user"]), "messages[1].role", "invalid_type"),
    "a number as role": (message(role=1), "messages[1].role", "invalid_type"),
    "Gemini's role": (message(role="model"), "messages[1].role", "invalid_value"),
    # --- content
    "a number as content": (message(content=1), "messages[1].content", "invalid_type"),
    "an object as content": (message(content={"type": "text"}), "messages[1].content", "invalid_type"),
    "true as content": (message(content=True), "messages[1].content", "invalid_type"),
    "a string among parts": (message(content=[{}, "hi"]), "messages[1].content[1]", "invalid_type"),
    "null among parts": (message(content=[None]), "messages[1].content[0]", "invalid_type"),
    "a list among parts": (message(content=[[]]), "messages[1].content[0]", "invalid_type"),
    # --- stream
    "stream as a string": (body(stream="true"), "stream", "invalid_type"),
    "stream as a number": (body(stream=1), "stream", "invalid_type"),
    "stream as a list": (body(stream=[]), "stream", "invalid_type"),
    "stream_options as true": (body(stream_options=True), "stream_options", "invalid_type"),
    "stream_options as a list": (body(stream_options=[]), "stream_options", "invalid_type"),
    "include_usage as a string": (
        body(stream_options={"include_usage": "yes"}),
        "stream_options.include_usage",
        "invalid_type",
    ),
    "include_usage as a number": (
        body(stream_options={"include_usage": 1}),
        "stream_options.include_usage",
        "invalid_type",
    ),
    # --- numbers that we read
    "n as a string": (body(n="2"), "n", "invalid_type"),
    "n as true": (body(n=True), "n", "invalid_type"),
    "n as a fraction": (body(n=1.5), "n", "invalid_type"),
    "no choices": (body(n=0), "n", "invalid_value"),
    "a thousand choices": (body(n=1000), "n", "invalid_value"),
    "max_tokens as a string": (body(max_tokens="100"), "max_tokens", "invalid_type"),
    "max_tokens as false": (body(max_tokens=False), "max_tokens", "invalid_type"),
    "max_tokens past all bounds": (body(max_tokens=10**300), "max_tokens", "invalid_value"),
    "max_tokens far below nought": (body(max_tokens=-5), "max_tokens", "invalid_value"),
    "max_completion_tokens as a list": (
        body(max_completion_tokens=[1]),
        "max_completion_tokens",
        "invalid_type",
    ),
    # --- tools
    "tools as an object": (body(tools={}), "tools", "invalid_type"),
    "tools as a string": (body(tools="search"), "tools", "invalid_type"),
    "a string among tools": (body(tools=["search"]), "tools[0]", "invalid_type"),
    "null among functions": (body(functions=[None]), "functions[0]", "invalid_type"),
    # --- duplicates
    "two models": (raw('"model":"other"'), "model", "duplicate_parameter"),
    "the same model twice": (raw('"model":"auto"'), "model", "duplicate_parameter"),
    "two messages": (raw('"messages":[{"role":"user","content":"x"}]'), "messages", "duplicate_parameter"),
    "two streams": (raw('"stream":false,"stream":true'), "stream", "duplicate_parameter"),
    "three streams": (raw('"stream":1,"stream":2,"stream":true'), "stream", "duplicate_parameter"),
    "a second model in escapes": (raw(r'"\u006dodel":"x"'), "model", "duplicate_parameter"),
    "a second model, its last letter escaped": (raw(r'"mode\u006C":"x"'), "model", "duplicate_parameter"),
    "a second stream in escapes": (
        raw(r'"stream":true,"s\u0074ream":false'),
        "stream",
        "duplicate_parameter",
    ),
    "both models in escapes": (
        rb'{"\u006dodel":"a","\u006dodel":"b","messages":[{"role":"user"}]}',
        "model",
        "duplicate_parameter",
    ),
    "two models beside a tool's own": (
        raw('"tools":[{"model":1}],"model":"x"'),
        "model",
        "duplicate_parameter",
    ),
    "a duplicate that hides a field in its value": (
        raw('"tools":[{"stream":1}],"tools":[],"model":"x"'),
        "model",
        "duplicate_parameter",
    ),
}


@pytest.mark.parametrize(("data", "param", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(data: bytes, param: str | None, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse(data)
    error = caught.value
    assert (error.status, error.type) == (400, "invalid_request_error")
    assert (error.param, error.code) == (param, code)
    assert 0 < len(error.message) < 300


SERVED = {
    "the least": body(),
    "any model's name": body(model="groq/llama-3.3-70b:free"),
    "every role": body(messages=[{"role": role, "content": "x"} for role in sorted(ROLES)]),
    "a turn without content": body(messages=[USER, {"role": "assistant", "tool_calls": []}]),
    "a turn with null content": message(role="assistant", content=None),
    "an empty turn": message(content=""),
    "parts of unknown types": message(content=[{"type": "text", "text": "a"}, {"type": "hologram"}, {}]),
    "no parts": message(content=[]),
    "null where null is allowed": body(stream=None, stream_options=None, models=None, n=None, tools=None),
    "no limit, as local servers say it": body(max_tokens=-1),
    "a thousand turns": body(messages=[USER] * 1000),
    "depth within bounds": raw('"x":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)),
    "white space around": b"\n\t " + body() + b" \r\n",
    "a large integer": raw('"seed":' + "9" * 30),
    "odd values of fields that we don't read": body(temperature="hot", top_p=[], metadata=1, user=False),
}


@pytest.mark.parametrize("data", SERVED.values(), ids=SERVED.keys())
def test_served(data: bytes) -> None:
    request = parse(data)
    assert request.body is data
    assert request.fields == json.loads(data)
    assert request.messages == request.fields["messages"]
    assert request.model == request.fields["model"]


def test_fields_are_read() -> None:
    request = parse(
        body(stream=True, stream_options={"include_usage": True}, models=["a/b", "c"], x={"y": 1})
    )
    assert request.stream is True
    assert request.include_usage is True
    assert request.models == ("a/b", "c")
    assert request.fields["x"] == {"y": 1}


def test_what_is_absent_is_off() -> None:
    request = parse(body())
    assert (request.stream, request.include_usage, request.models) == (False, False, ())


@pytest.mark.parametrize(
    "options", [None, {}, {"include_usage": None}, {"include_usage": False}, {"other": 1}]
)
def test_usage_is_shown_only_when_asked_for(options: object) -> None:
    assert parse(body(stream=True, stream_options=options)).include_usage is False


def test_models_alone_name_the_model() -> None:
    request = parse(json.dumps({"models": ["first", "second"], "messages": [USER]}).encode())
    assert request.model == "first"
    assert request.spliceable is False


SPLICEABLE = {
    "a plain body": (body(), True),
    "a streamed body": (body(stream=True), True),
    "text that mentions the model in quotes": (message(content='the "model" field and "stream"'), True),
    "other escapes": (message(content="caf\u00e9 \n \u4e2d"), True),
    "a role that is a message": (body(x="messages "), True),
    "a string that is the word": (body(x="model"), False),
    "a string that ends with the word in quotes": (message(content='say "model'), False),
    "a tool with such a parameter": (body(tools=[{"required": ["model"], "model": {}}]), False),
    "a nested field of that name": (body(metadata={"stream": 1}), False),
    "letters in escapes": (message(content="@").replace(b"@", rb"\u0061"), False),
    "capitals in the escape": (message(content="@").replace(b"@", rb"\u006D"), False),
    "the only model in escapes": (body().replace(b'"model"', rb'"\u006dodel"'), False),
    "an escaped model and a string that looks like it": (
        raw('"x":"model"').replace(b'"model":"auto"', rb'"mod\u0065l":"auto"'),
        False,
    ),
}


@pytest.mark.parametrize(("data", "spliceable"), SPLICEABLE.values(), ids=SPLICEABLE.keys())
def test_spliceable(data: bytes, spliceable: bool) -> None:
    assert parse(data).spliceable is spliceable


SMALL_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELD = st.sampled_from(
    ["model", "messages", "stream", "stream_options", "models", "n", "tools", "x", "max_tokens"]
)
MESSAGE = st.fixed_dictionaries({"role": SMALL_JSON | st.just("user"), "content": SMALL_JSON})


def outcome(data: bytes) -> ApiError | None:
    try:
        parse(data)
    except ApiError as error:
        return error
    return None


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_served_or_refused(data: bytes) -> None:
    outcome(data)


@given(st.dictionaries(FIELD, SMALL_JSON, max_size=5), st.lists(MESSAGE, max_size=3))
@settings(max_examples=300, deadline=None)
def test_any_json_is_served_or_refused(fields: dict[str, object], messages: list[object]) -> None:
    outcome(json.dumps({**fields, "messages": messages}).encode())


ESCAPES = st.sampled_from(
    ['"model"', r'"\u006dodel"', '"stream"', r'"strea\u006d"', '"messages"', '"x"', r'"\"model"']
)
VALUES = st.sampled_from(
    ['"model"', '[{"role":"user","content":"model"}]', "true", '{"stream":{"model":1}}', '"\\"stream"']
)


@given(st.lists(st.tuples(ESCAPES, VALUES), max_size=6))
@settings(max_examples=300, deadline=None)
def test_duplicates_are_found_however_they_are_written(members: list[tuple[str, str]]) -> None:
    data = ("{" + ",".join(f"{key}:{value}" for key, value in members) + "}").encode()
    error = outcome(data)
    names = [json.loads(key) for key, _ in members]
    twice = {name for name in ("model", "messages", "stream") if names.count(name) > 1}
    if error is None:
        assert not twice
    elif error.code == "duplicate_parameter":
        assert error.param in twice
