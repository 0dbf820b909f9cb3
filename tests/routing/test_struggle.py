"""Signs of struggle in messages: repeated asks, rounds of tool calls that brought nothing but errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.struggle import MOST, failed_rounds, repeats

ASK = "Please make the tests of the parser pass again"


@pytest.mark.parametrize(
    ("ask", "before", "expected"),
    [
        pytest.param(ASK, ASK, True, id="the same words"),
        pytest.param(ASK.upper() + "!", ASK, True, id="shouted"),
        pytest.param(f"{ASK} now", ASK, True, id="with one word more"),
        pytest.param(ASK.replace("parser", "printer"), ASK, False, id="of something else"),
        pytest.param(
            f"{ASK}, and then write the documentation of all its options", ASK, False, id="and more"
        ),
        pytest.param("continue", "continue", False, id="a short one says nothing"),
        pytest.param(
            "用Python写一个快速排序函数",
            "用Python写一个快速排序函数",
            True,
            id="without blanks between words",
        ),
        pytest.param(
            "用Python写一个快速排序函数", "用Python写一个归并排序函数", False, id="nearly, without blanks"
        ),
        pytest.param(ASK, "", False, id="nothing came before"),
    ],
)
def test_repeats(ask: str, before: str, expected: bool) -> None:
    assert repeats(ask, before) is expected


def results(*rounds: tuple[str, ...]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
    for texts in rounds:
        messages.append({"role": "assistant", "content": None, "tool_calls": [{}] * len(texts)})
        messages += [{"role": "tool", "content": text} for text in texts]
    return messages


BAD, GOOD = "Error: no such file", "def f(): ..."


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param(results((BAD,), (BAD,)), 2, id="two in a row"),
        pytest.param(
            results(
                (BAD, BAD),
            ),
            1,
            id="two in one round are one",
        ),
        pytest.param(results((BAD,), (GOOD,)), 0, id="the last one went well"),
        pytest.param(results((BAD,), (GOOD,), (BAD,)), 1, id="only those after a good one"),
        pytest.param(
            results(
                (BAD, GOOD),
            ),
            0,
            id="one good result redeems its round",
        ),
        pytest.param(results(*[(BAD,)] * 40), MOST, id="no more than are worth counting"),
        pytest.param([*results((BAD,)), {"role": "user", "content": "?"}], 0, id="a user turn ends the row"),
        pytest.param([], 0, id="no messages"),
        pytest.param([{"role": "tool", "content": BAD}], 0, id="a result that nobody called for"),
    ],
)
def test_failed_rounds(messages: list[dict[str, Any]], expected: int) -> None:
    assert failed_rounds(messages) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Error: ENOENT", True),
        ("Traceback (most recent call last):\n  File", True),
        ("<tool_use_error>String not found</tool_use_error>", True),
        ("The command failed: timeout", True),
        ("ValueError: bad digit", True),
        ("$ make test\n" + "." * 900 + "\nmake: *** [test] Error 1\nexit code: 2", True),
        ("bash: foo: command not found", True),
        ("fatal: not a git repository", True),
        ('{"isError": true, "content": []}', True),
        ("Permission denied", True),
        ("exit code: 0\n7 passed", False),
        ("class ParserError(Exception): ...", False),
        ("12 matches of error handling", False),
        ("errors.py\nmain.py", False),
        ('{"error": null, "rows": 3}', False),
        ("", False),
    ],
)
def test_a_result_is_an_error(text: str, expected: bool) -> None:
    assert (failed_rounds(results((text,))) == 1) is expected


VALUES = st.none() | st.text() | st.integers() | st.lists(st.text() | st.none())
PARTS = st.fixed_dictionaries({"type": st.just("tool_result"), "content": VALUES, "is_error": st.booleans()})
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system"]), "content": VALUES | st.lists(PARTS)}
)


@given(st.lists(MESSAGES, max_size=8), st.text(), st.text())
def test_nothing_makes_it_raise(messages: list[dict[str, Any]], ask: str, before: str) -> None:
    assert 0 <= failed_rounds(messages) <= MOST
    assert repeats(ask, before) in (True, False)
