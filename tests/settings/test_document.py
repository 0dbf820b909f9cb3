"""YAML as plain values: what is taken for what, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.document import DEPTH_LIMIT, parse

ANOTHER = "expected a single document in the stream, but found another document"


def parsed(text: str) -> tuple[Any, list[tuple[str, str]]]:
    problems: dict[str, str] = {}
    return parse(text, problems.setdefault), list(problems.items())


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("FALSE", False),
        ("12:30", "12:30"),
        ("2026-11-24", "2026-11-24"),
        ("012", 12),
        ("0x1f", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", ".inf"),
        ("1.2.3", "1.2.3"),
        ("~", None),
        ("null", None),
        ('""', ""),
        ("", None),
        ("'1'", "1"),
        ("<<", "<<"),
        ("${NAME}", "${NAME}"),
        ("${NAME:-a b}", "${NAME:-a b}"),
        ("$${NAME", "$${NAME"),
    ],
)
def test_a_scalar_is_what_yaml_1_2_takes_it_for(scalar: str, value: object) -> None:
    assert parsed(f"a: {scalar}") == ({"a": value}, [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{a: ${X}}", {"a": "${X}"}),
        ("{a: ${X}, b: [${Y:-z}, pre-${X}-post]}", {"a": "${X}", "b": ["${Y:-z}", "pre-${X}-post"]}),
        ("{a: '${X}', b: \"${Y}\"}", {"a": "${X}", "b": "${Y}"}),
        ("{${X}: 1}", {"${X}": 1}),
        ("# ${X}\na: |\n  ${X} {}\n", {"a": "${X} {}\n"}),
    ],
    ids=["in a flow mapping", "in a flow list", "in quotes", "as a key", "in a block"],
)
def test_a_reference_needs_no_quotes_anywhere(text: str, value: object) -> None:
    assert parsed(text) == (value, [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: {c: 1, c: 2}", ("b.c", "stands twice, again in line 2: remove one")),
        ("a: [{b: 1}, {1: 2}]", ("a[1]", "the key in line 1 is not a string: put it in quotes")),
        ("a: &x [*x]", ("a[0]", "refers to itself: write the value out instead of the alias")),
        ("a: !!int x", ("a", "is not what its tag !!int says")),
        ("a: !mine x", ("a", "the tag !mine is not allowed: write a plain value")),
        ("a: !!set {}", ("a", "the tag !!set is not allowed: write a plain value")),
        ("a: 1\n  b: 2", ("line 2", "not YAML: mapping values are not allowed in this context")),
        ("a\n---\nb", ("line 2", f"not YAML: {ANOTHER}")),
        ("a: \x00", ("", "not YAML: it holds a character that YAML doesn't allow")),
        ("[" * 100_000, ("", f"is nested more than {DEPTH_LIMIT} levels deep: write it flatter")),
    ],
)  # fmt: skip
def test_a_surprise_is_a_problem(text: str, problem: tuple[str, str]) -> None:
    assert parsed(text)[1] == [problem]


def test_aliases_stand_for_what_they_name_but_do_not_unfold_without_end() -> None:
    assert parsed("a: &x {b: 1}\nc: *x") == ({"a": {"b": 1}, "c": {"b": 1}}, [])
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    assert parsed(bomb)[1] == [("", "holds more than 100,000 values: write it without aliases")]


def test_a_chain_of_aliases_is_no_way_around_the_depth() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 2000))
    assert parsed(chain)[1] == [("", f"is nested more than {DEPTH_LIMIT} levels deep: write it flatter")]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(VALUES)
def test_whatever_json_writes_is_read_back(value: object) -> None:
    import json

    assert parsed(json.dumps(value)) == (value, [])


@given(st.text())
def test_no_text_raises(text: str) -> None:
    parsed(text)


def test_the_fast_parser_is_in_use() -> None:
    assert yaml.__with_libyaml__
