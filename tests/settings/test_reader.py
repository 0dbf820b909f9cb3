"""Plain values into structs: types, ranges, the environment, and one problem per path."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from msgspec import Struct

from proxy.settings.reader import Range, Reader, Reference, did_you_mean, shown


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Inner(Struct, frozen=True):
    count: int = 1


class Outer(Struct, frozen=True):
    name: str = "none"
    port: int = 80
    share: float = 0.5
    on: bool = False
    limit: int | None = None
    colour: Colour = Colour.RED
    tags: tuple[str, ...] = ()
    colours: frozenset[Colour] = frozenset()
    by_name: dict[str, float] = {}
    inner: Inner = Inner()
    inners: tuple[Inner | str, ...] = ()
    switch_or_path: bool | str = True
    key: str = ""
    later: Reference = Reference()


RANGES = {(Outer, "share"): Range(0, 1), (Outer, "by_name"): Range(0, 1), (Inner, "count"): Range(1)}
ENVIRON = {"PORT": "8443", "HALF": "0.5", "YES": "yes", "WORD": "hunter2", "LIST": "a, b,,c", "NAN": "nan"}


def read(value: Any) -> tuple[Outer, list[str]]:
    problems: list[str] = []
    return Reader("f.yml", ENVIRON, problems, RANGES).struct(value, Outer), problems


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Outer()),
        (None, Outer()),
        ({"name": None, "inner": None, "tags": None}, Outer()),
        ({"limit": None}, Outer()),
        ({"share": 1}, Outer(share=1.0)),
        ({"colour": "green"}, Outer(colour=Colour.GREEN)),
        ({"colours": ["red", "red"]}, Outer(colours=frozenset([Colour.RED]))),
        ({"inners": ["x", {"count": 3}]}, Outer(inners=("x", Inner(3)))),
        ({"by_name": {"a": 1}}, Outer(by_name={"a": 1.0})),
        ({"switch_or_path": "ca.pem"}, Outer(switch_or_path="ca.pem")),
        ({"port": "${PORT}", "share": "${HALF}", "on": "${YES}"}, Outer(port=8443, share=0.5, on=True)),
        ({"port": "${NO:-1}", "limit": "${NO:-}", "name": "${NO:-}"}, Outer(port=1, name="")),
        ({"name": "a-${WORD}", "key": "${WORD}"}, Outer(name="a-hunter2", key="hunter2")),
        ({"name": "${PORT}"}, Outer(name="8443")),
        ({"tags": "${LIST}"}, Outer(tags=("a", "b", "c"))),
        ({"tags": ["${WORD}", "x"]}, Outer(tags=("hunter2", "x"))),
        ({"switch_or_path": "${YES}"}, Outer(switch_or_path=True)),
        ({"switch_or_path": "${WORD}"}, Outer(switch_or_path="hunter2")),
        ({"later": "${NO}"}, Outer(later=Reference("", ("NO",), ("NO",)))),
        ({"later": "x"}, Outer(later=Reference("x"))),
    ],
)  # fmt: skip
def test_what_is_right_is_read(given: Any, expected: Outer) -> None:
    assert read(given) == (expected, [])


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "expected a mapping, not a list"),
        ("x", "expected a mapping, not 'x'"),
        ({"nam": 1}, "nam: unknown key (did you mean 'name'?)"),
        ({"zzz": 1}, "zzz: unknown key"),
        ({"sk-abcdefgh": 1}, "?: unknown key"),
        ({"name": 1}, "name: expected a string, not the number 1"),
        ({"name": True}, "name: expected a string, not the boolean true"),
        ({"port": True}, "port: expected an integer, not the boolean true"),
        ({"port": 1.0}, "port: expected an integer, not the number 1.0"),
        ({"port": -1}, "port: -1 is out of range: must be 0 or more"),
        ({"port": 10**400}, f"port: 1{'0' * 39} is out of range: must be smaller"),
        ({"share": 2}, "share: 2 is out of range: must be between 0 and 1"),
        ({"on": 1}, "on: expected true or false, not the number 1"),
        ({"limit": "x"}, "limit: expected an integer, not 'x'"),
        ({"colour": "gren"}, "colour: 'gren' is not known (did you mean 'green'?)"),
        ({"colours": ["blue"]}, "colours[0]: 'blue' is not known (known: red, green)"),
        ({"tags": {"a": 1}}, "tags: expected a list, not a mapping"),
        ({"tags": ["a", 1]}, "tags[1]: expected a string, not the number 1"),
        ({"by_name": {"a": 1.5}}, "by_name.a: 1.5 is out of range: must be between 0 and 1"),
        ({"inner": {"count": 0}}, "inner.count: 0 is out of range: must be 1 or more"),
        ({"inners": [1]}, "inners[0]: expected a mapping or a string, not the number 1"),
        ({"key": 12345}, "key: expected a string, not this value"),
        ({"port": "gsk_0123"}, "port: expected an integer, not this value"),
        ({"name": "${NO}"}, "name: NO is not set in the environment: set NO, or write ${NO:-default}"),
        ({"port": "${WORD}"}, "port: expected an integer, which the environment's value is not"),
        ({"share": "${NAN}"}, "share: nan is out of range: must be smaller"),
        ({"port": "80${PORT}"}, "port: expected an integer: a reference must stand there alone"),
        ({"colour": "${WORD}"}, "colour: this value is not known (known: red, green)"),
        ({"inner": "${WORD}"}, "inner: expected a mapping, which the environment's value is not"),
    ],
)
def test_what_is_wrong_is_told_and_has_its_default(given: Any, problem: str) -> None:
    outer, problems = read(given)
    assert problems == [f"f.yml: {problem}"]
    assert ENVIRON["WORD"] not in str(outer)


def test_all_problems_are_told_and_the_rest_is_read() -> None:
    outer, problems = read({"port": "x", "share": 7, "name": "kept", "inner": {"cuont": 2}})
    assert outer == Outer(name="kept")
    assert len(problems) == 3


def test_a_path_has_one_problem_at_most() -> None:
    problems: list[str] = []
    reader = Reader("f.yml", {}, problems, {})
    reader.problem("a.b", "first")
    reader.problem("a.b", "second")
    assert problems == ["f.yml: a.b: first"]
    assert not reader.sound() and not reader.sound("a") and reader.sound("a.bc")


def test_the_nearest_name_is_suggested_or_the_few_that_there_are() -> None:
    assert did_you_mean("opnai", ["openai", "anthropic"]) == " (did you mean 'openai'?)"
    assert did_you_mean("x", ["openai", "anthropic"]) == " (known: openai, anthropic)"
    assert did_you_mean("x", [f"name-{i}" for i in range(13)]) == ""
    assert did_you_mean("x", []) == ""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("short", "'short'"),
        ("long " * 20, "'long long long long long long long long…'"),
        ("sk-proj-abc", "this value"),
        ("Bearer abc", "this value"),
        ("0123456789abcdef0123456789abcdef", "this value"),
        (False, "the boolean false"),
        ({"a": 1}, "a mapping"),
    ],
)
def test_a_value_is_shown_short_and_never_if_it_looks_like_a_key(value: object, said: str) -> None:
    assert shown(value) == said
