"""What is read off a request: the ask, its surroundings, needs, sizes; and that nothing makes it raise."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.routing.ask import ASK_LIMIT, bounded, clean
from proxy.routing.features import CONTEXT_LIMIT, IMAGE_TOKENS, code_share, extract
from proxy.routing.language import language
from proxy.types import ChatRequest, Features, Need


def features(*messages: Any, **fields: Any) -> Features:
    listed = list(messages)
    whole = {"messages": listed, **fields}
    return extract(ChatRequest(body=b"", fields=whole, model="auto", messages=listed))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


SYSTEM = {"role": "system", "content": "You are a coding agent. Follow the rules below."}
ANSWER = {"role": "assistant", "content": "Done."}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"type": "function", "function": {"name": "read_file", "parameters": {"type": "object"}}}


# --- the ask


@pytest.mark.parametrize(
    ("content", "ask"),
    [
        pytest.param("fix it", "fix it", id="a string is the ask"),
        pytest.param(
            [{"type": "text", "text": "what"}, IMAGE, {"type": "text", "text": "is it"}],
            "what\nis it",
            id="text parts are joined",
        ),
        pytest.param(
            "<system-reminder>be kind</system-reminder>\nfix it", "fix it", id="a reminder is taken out"
        ),
        pytest.param(
            "fix it\n<environment_details>\nfiles: a b\n</environment_details>",
            "fix it",
            id="environment details are taken out",
        ),
        pytest.param(
            "<system-reminder>a</system-reminder>fix<system-reminder>b</system-reminder> it",
            "fix it",
            id="every reminder is taken out",
        ),
        pytest.param(
            "<context><file path='a.py'>x = 1</file></context>\nexplain",
            "explain",
            id="dumped context is taken out",
        ),
        pytest.param(
            '<attached_files kind="code">x</attached_files>\nrename it',
            "rename it",
            id="an element may have attributes",
        ),
        pytest.param(
            "<user_info>linux</user_info><user_query>\nadd a test\n</user_query>",
            "add a test",
            id="a wrapped query is unwrapped",
        ),
        pytest.param(
            "<task>build a game</task><environment_details>x</environment_details>",
            "build a game",
            id="a task element is unwrapped",
        ),
        pytest.param(
            "# Context from my IDE setup:\n## Open tabs:\n- a.py\n## My request for Codex:\nadd a flag",
            "add a flag",
            id="what follows the request heading counts",
        ),
        pytest.param(
            "### Task:\nRespond to the user query using the provided context.\n<context>\ns"
            "\n</context>\n\nWho pays?",
            "Who pays?",
            id="a retrieval template gives way to its query",
        ),
        pytest.param(
            "what does the <context> tag do?",
            "what does the <context> tag do?",
            id="an element that never closes is the user's own word",
        ),
        pytest.param("  spaced \n", "spaced", id="blanks around are dropped"),
        pytest.param(None, "", id="no content is no ask"),
        pytest.param(17, "", id="a number is no ask"),
        pytest.param(
            [{"type": "text", "text": 3}, "x", None, {"type": "hologram"}], "", id="odd parts are no ask"
        ),
    ],
)
def test_ask(content: Any, ask: str) -> None:
    assert features(SYSTEM, user(content)).ask == ask


def test_a_turn_of_boilerplate_alone_gives_way_to_the_turn_before() -> None:
    found = features(user("port it to Go"), ANSWER, user("<system-reminder>todo list</system-reminder>"))
    assert found.ask == "port it to Go"


def test_when_every_turn_is_boilerplate_the_last_one_stands() -> None:
    assert features(user("<context>only this</context>")).ask == "<context>only this</context>"


def test_context_is_the_turns_before_and_the_first_latest_first_and_bounded() -> None:
    found = features(*(user(f"turn {n} " + "x" * 900) for n in range(6)), user("now"))
    assert found.ask == "now"
    assert [turn[:6] for turn in found.context] == ["turn 5", "turn 4", "turn 3", "turn 0"]
    assert all(len(turn) <= CONTEXT_LIMIT for turn in found.context)


def test_brief_turns_are_passed_over_for_those_that_say_something() -> None:
    turns = ["write a parser in Go, with tests", "yes", "continue", "ok", "go on"]
    messages = [message for text in turns for message in (user(text), ANSWER)]
    assert features(*messages, user("and now?")).context == ("write a parser in Go, with tests",)
    assert features(user("hi"), ANSWER, user("yes")).context == ("hi",)


def test_how_an_agent_resumes_is_not_the_ask() -> None:
    resumed = "This session is being continued from a previous conversation that ended.\nPort it to Go."
    assert features(user(resumed)).ask == "Port it to Go."


def test_a_repeated_ask_and_failing_tools_are_seen() -> None:
    again = features(
        user("make the tests of the parser pass"), ANSWER, user("Make the tests of the parser pass!")
    )
    assert (again.repeats, again.failed_tools) == (True, 0)
    failing = [user("go"), ANSWER, {"role": "tool", "content": "Error: no"}] * 2
    assert features(*failing[:3], ANSWER, failing[2]).failed_tools == 2


def test_tool_results_are_neither_ask_nor_context() -> None:
    result = {"type": "tool_result", "tool_use_id": "1", "content": "def f(): pass"}
    found = features(
        user("read it"), ANSWER, user([result]), ANSWER, {"role": "tool", "content": "class A: ..."}
    )
    assert (found.ask, found.context, found.turns, found.tool_loop) == ("read it", (), 1, True)


def test_a_user_turn_after_tool_results_ends_the_tool_loop() -> None:
    found = features(user("read it"), {"role": "tool", "content": "text"}, ANSWER, user("thanks"))
    assert (found.ask, found.tool_loop, found.turns) == ("thanks", False, 2)


def test_a_long_ask_keeps_head_middle_and_tail() -> None:
    ask = features(user("HEAD " + "a" * 30_000 + " MIDDLE " + "b" * 30_000 + " TAIL")).ask
    assert len(ask) <= ASK_LIMIT
    assert ask.startswith("HEAD")
    assert ask.endswith("TAIL")


@given(st.text(), st.integers(min_value=16, max_value=400))
def test_bounded_keeps_to_its_limit(text: str, limit: int) -> None:
    assert len(bounded(text, limit)) <= max(limit, 0)


# --- background chores


TITLES = {
    "by its words": "Write a title of at most 5 words for this conversation. Nothing else.",
    "by its characters": "You make up titles that fit a chat. Return one of at most 40 characters.",
    "by turning one into the other": "Summarize what the chat is about into a short title, in its language.",
    "by rules, a line each": "- you will generate a short title of the conversation\n- never use a colon",
    "in Chinese": "请把上面的会话总结为10个字以内的标题",
}
"""What chat programs say when they want a title, each in its own words."""
QUOTED = "user: my basil dies\nassistant: Give it light, and let the pot dry between two waterings.\n" * 9

NO_TITLES = {
    "a title and no conversation": "Give me a short title for my talk at the botanical garden. " * 3,
    "a conversation and no title": "Who is right in this conversation? Answer in a few short words. " * 3,
    "a bug in chat software": "When I rename a chat, the short title of the conversation stays. " * 2
    + "Find the bug in the component: <h1>{chat.title}</h1>",
    "chat software to be written": "Write a function that makes a short title of a conversation in our chat, "
    "at most 40 characters, from its first message, without Markdown.",
}


@pytest.mark.parametrize(
    ("messages", "chore"),
    [
        pytest.param(
            [user("### Task:\nGenerate a concise, 3-5 word title with an emoji.")],
            "title",
            id="a chat UI's title",
        ),
        pytest.param(
            [user("### Task:\nGenerate 1-3 broad tags categorizing the main themes")],
            "tags",
            id="a chat UI's tags",
        ),
        pytest.param(
            [user("### Task:\nSuggest 3-5 relevant follow-up questions or prompts")],
            "follow_up",
            id="a chat UI's follow-ups",
        ),
        pytest.param(
            [user("### Task:\nYou are an autocompletion system. Continue the text")],
            "autocompletion",
            id="a chat UI's autocompletion",
        ),
        pytest.param(
            [user("### Task:\nDetermine the necessity of generating search queries")],
            "search_query",
            id="a chat UI's search queries",
        ),
        pytest.param(
            [user("Write a 5-word-or-less title for this chat")], "title", id="another chat UI's title"
        ),
        pytest.param(
            [{"role": "system", "content": "You are a title generator."}, user("fix my tests")],
            "title",
            id="a coding agent's title, told by its system prompt",
        ),
        pytest.param(
            [
                {"role": "system", "content": "Analyze if this message indicates a new conversation topic."},
                user("hello"),
            ],
            "title",
            id="a coding agent's topic check",
        ),
        pytest.param(
            [
                user("hi"),
                ANSWER,
                user("Your task is to create a detailed summary of the conversation so far"),
            ],
            "compaction",
            id="a coding agent's compaction",
        ),
        pytest.param(
            [user("### Task:\nRespond to the user query using the context")],
            None,
            id="a retrieval template is no chore",
        ),
        pytest.param(
            [user("Suggest a title for my novel about bees")], None, id="a user's own title is no chore"
        ),
        *[
            pytest.param([{"role": "system", "content": text}, user("my basil dies")], "title", id=told)
            for told, text in TITLES.items()
        ],
        *[
            pytest.param([user(f"{QUOTED}\n\n{text}")], "title", id=f"{told}, behind what it quotes")
            for told, text in TITLES.items()
        ],
        *[pytest.param([user(text)], None, id=told) for told, text in NO_TITLES.items()],
        pytest.param(
            [user("hi"), ANSWER, user("Summarize it in 200 words, to use as a prompt for future context.")],
            "compaction",
            id="another chat program's compaction",
        ),
        pytest.param(
            [
                user("hi"),
                ANSWER,
                user("Think of three short follow-up questions that I could ask now. " + "Only JSON. " * 9),
            ],
            "follow_up",
            id="another one's follow-ups",
        ),
        pytest.param([user("Summarize this article")], None, id="a user's own summary is no chore"),
        pytest.param(
            [user("hi"), ANSWER, user("Summarize the conversation so far")],
            None,
            id="nor one of the conversation, in a few words",
        ),
        pytest.param(
            [
                user("hi"),
                ANSWER,
                user("Summarize the conversation so far. Keep names of files and functions, " * 3),
            ],
            "compaction",
            id="in many words it is a program's",
        ),
        pytest.param(
            [{"role": "system", "content": "Generate a short title"}, user("hello")],
            "title",
            id="in the system prompt a few words are a program's, too",
        ),
        pytest.param(
            [
                {"role": "system", "content": "You generate concise, one-line Git commit messages."},
                user("-a +b"),
            ],
            "commit_message",
            id="an editor's commit message",
        ),
    ],
)
def test_background(messages: list[dict[str, Any]], chore: str | None) -> None:
    assert features(*messages).background == chore


# --- needs and sizes


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        pytest.param({"tools": [TOOL]}, {Need.TOOLS}, id="tools"),
        pytest.param(
            {"tools": [TOOL], "tool_choice": "none"}, {Need.TOOLS}, id="tools that may not be used are sent"
        ),
        pytest.param({"tools": []}, set(), id="an empty list of tools"),
        pytest.param({"functions": [{"name": "f"}]}, {Need.TOOLS}, id="functions, the older field"),
        pytest.param(
            {"functions": [{"name": "f"}], "function_call": "none"},
            {Need.TOOLS},
            id="functions switched off, too",
        ),
        pytest.param(
            {"response_format": {"type": "json_schema", "json_schema": {}}},
            {Need.JSON_SCHEMA},
            id="a response schema",
        ),
        pytest.param({"response_format": {"type": "json_object"}}, set(), id="plain JSON needs nothing"),
        pytest.param({"modalities": ["text", "audio"]}, {Need.AUDIO}, id="spoken answers"),
        pytest.param({"logprobs": True}, {Need.LOGPROBS}, id="logprobs"),
        pytest.param(
            {"logprobs": False, "modalities": None, "response_format": "text"}, set(), id="odd values"
        ),
    ],
)
def test_needs_of_fields(fields: dict[str, Any], needs: set[Need]) -> None:
    assert features(user("hi"), **fields).needs == needs


def test_an_image_anywhere_in_the_conversation_needs_vision() -> None:
    assert features(user([IMAGE]), ANSWER, user("and now?")).needs == {Need.VISION}


CALL = {"id": "1", "type": "function", "function": {"name": "get", "arguments": "{"}}


@pytest.mark.parametrize(
    ("messages", "needs"),
    [
        pytest.param(
            [{"role": "assistant", "content": None, "tool_calls": [CALL]}], {Need.TOOLS}, id="a call in them"
        ),
        pytest.param([{"role": "tool", "tool_call_id": "1", "content": "9"}], {Need.TOOLS}, id="a result"),
        pytest.param(
            [{"role": "assistant", "content": None, "function_call": CALL["function"]}],
            {Need.TOOLS},
            id="a call in the older form",
        ),
        pytest.param([{"role": "function", "name": "get", "content": "9"}], {Need.TOOLS}, id="its result"),
        pytest.param(
            [user([{"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk="}}])],
            {Need.FILES},
            id="a document",
        ),
        pytest.param([{"role": "assistant", "content": "{"}], {Need.PREFILL}, id="an answer that has begun"),
        pytest.param([{"role": "assistant", "content": "{"}, user("go on")], set(), id="and has ended"),
    ],
)
def test_needs_of_messages(messages: list[dict[str, Any]], needs: set[Need]) -> None:
    assert features(user("hi"), *messages).needs == needs


def test_spoken_input_needs_audio() -> None:
    clip = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    assert features(user([clip])).needs == {Need.AUDIO}


@pytest.mark.parametrize(
    ("fields", "reserve"),
    [
        pytest.param({}, 0, id="nothing said"),
        pytest.param({"max_tokens": 50}, 50, id="max_tokens"),
        pytest.param({"max_completion_tokens": 70, "max_tokens": 50}, 70, id="the newer field first"),
        pytest.param({"max_tokens": None}, 0, id="null"),
        pytest.param({"max_tokens": True}, 0, id="a boolean is no number"),
        pytest.param({"max_tokens": "many"}, 0, id="a string is no number"),
    ],
)
def test_completion_reserve(fields: dict[str, Any], reserve: int) -> None:
    assert features(user("hi"), **fields).completion_tokens == reserve


def test_prompt_tokens_count_messages_tools_images_and_calls() -> None:
    base = features(user("hi")).prompt_tokens
    assert 3 <= base <= 8
    assert features(user("word " * 1000)).prompt_tokens == pytest.approx(1000, rel=0.15)
    assert features(user([{"type": "text", "text": "hi"}, IMAGE])).prompt_tokens == base + IMAGE_TOKENS
    assert features(user("hi"), tools=[TOOL] * 10).prompt_tokens > base + 100
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "x " * 500}}]}
    assert features(user("hi"), call).prompt_tokens > base + 200
    assert features({"role": "system", "content": "rule " * 500}, user("hi")).prompt_tokens > base + 400


# --- code and language


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        pytest.param("", 0.0, 0.0, id="nothing"),
        pytest.param(
            "Please tell me about the history of Rome; it was founded (they say) in 753.",
            0.0,
            0.02,
            id="prose with punctuation",
        ),
        pytest.param("Solve f(x) = (x + 1)^2 - 4 for x >= 0.", 0.0, 0.1, id="a formula"),
        pytest.param(
            "What is wrong?\n```python\n" + "x = f(1)\n" * 20 + "```", 0.8, 1.0, id="a fenced block"
        ),
        pytest.param("```", 0.0, 1.0, id="a fence alone"),
        pytest.param("def f(n):\n    return n + 1\n\nprint(f(2))\n", 0.3, 1.0, id="unfenced Python"),
        pytest.param("for (int i = 0; i < n; i++) { sum += a[i]; }", 0.3, 1.0, id="one line of C"),
        pytest.param(
            "Dear Anna,\n\nthank you for coming (it was fun).\nSee you soon,\nBen", 0.0, 0.02, id="a letter"
        ),
    ],
)
def test_code_share(text: str, least: float, most: float) -> None:
    assert least <= code_share(text) <= most


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "What is the best way to get from here to the station?"),
        ("de", "Wie komme ich am besten zum Bahnhof und was kostet das?"),
        ("fr", "Quelle est la meilleure façon d'aller à la gare ?"),
        ("es", "¿Cuál es la mejor forma de llegar a la estación?"),
        ("pt", "Qual é a melhor maneira de chegar à estação? Não sei."),
        ("it", "Qual è il modo migliore per arrivare alla stazione?"),
        ("nl", "Wat is de beste manier om naar het station te gaan?"),
        ("tr", "İstasyona gitmenin en iyi yolu nedir ve ne kadar sürer?"),
        ("pl", "Jaki jest najlepszy sposób, żeby dostać się na dworzec?"),
        ("ru", "Как лучше всего добраться до вокзала?"),
        ("uk", "Як найкраще дістатися до вокзалу і скільки це коштує?"),
        ("el", "Ποιος είναι ο καλύτερος τρόπος για τον σταθμό;"),
        ("zh", "去火车站最好的方法是什么？"),
        ("zh", "用Python写一个快速排序函数 quicksort"),
        ("ja", "駅への一番いい行き方は何ですか？"),
        ("ko", "역까지 가는 가장 좋은 방법은 무엇인가요?"),
        ("ar", "ما هي أفضل طريقة للوصول إلى المحطة؟"),
        ("fa", "بهترین راه رسیدن به ایستگاه چیست؟"),
        ("he", "מה הדרך הטובה ביותר להגיע לתחנה?"),
        ("hi", "स्टेशन जाने का सबसे अच्छा तरीका क्या है?"),
        ("th", "วิธีที่ดีที่สุดในการไปสถานีคืออะไร"),
        ("und", "x = 3"),
        ("und", ""),
        ("und", "🎉🎉🎉"),
    ],
)
def test_language(code: str, text: str) -> None:
    assert language(text) == code


# --- nothing raises, everything is bounded

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_part = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["text", "image_url", "tool_result", "input_audio"]) | _json,
        "text": _json,
        "image_url": _json,
    },
)
_message = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "system", "assistant", "tool", "developer"]) | _json,
        "content": _json | st.lists(_part | _json, max_size=4),
        "tool_calls": _json,
    },
)
_fields = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("tools", "tool_choice", "functions", "response_format", "modalities", "max_tokens", "logprobs"),
        _json,
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_message, max_size=5), _fields)
def test_nothing_that_json_can_hold_raises(messages: list[dict[str, Any]], fields: dict[str, Any]) -> None:
    found = features(*messages, **fields)
    assert 0.0 <= code_share(found.ask) <= 1.0
    assert found.turns >= 1
    assert found.prompt_tokens >= 0


@pytest.mark.parametrize(
    "text", ["\ud800 lone surrogate", "\x00\x01", "٣ + ٤"], ids=["surrogate", "controls", "digits"]
)
def test_odd_letters_do_not_raise(text: str) -> None:
    assert features(user(text), tools=[{"name": text}]).ask


MEGABYTE = 1_000_000
HOSTILE = {
    "one letter": "a" * MEGABYTE,
    "line ends": "\n" * MEGABYTE,
    "blanks": " " * MEGABYTE,
    "emoji": "😀" * (MEGABYTE // 4),
    "openings that never close": "<system-reminder>" * (MEGABYTE // 17),
    "elements": "<context>x</context>" * (MEGABYTE // 20),
    "angle brackets": "<" * MEGABYTE,
    "fences": "```\n" * (MEGABYTE // 4),
    "nested quantifiers": "((a+)+)+$" * (MEGABYTE // 9),
    "code": "def f(x): return {x};\n" * (MEGABYTE // 22),
    "Han": "写一个函数并翻译成英文。" * (MEGABYTE // 36),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_megabyte_costs_a_bounded_time(name: str) -> None:
    message = user(HOSTILE[name])
    best = min(_took(message) for _ in range(3))
    assert best < 0.05, f"{best * 1000:.1f} ms"


def _took(message: dict[str, Any]) -> float:
    started = time.perf_counter()
    features(message)
    return time.perf_counter() - started


def test_clean_is_bounded_on_many_elements() -> None:
    assert len(clean("<file>a</file>b" * 50_000)) <= ASK_LIMIT


def test_a_language_does_not_depend_on_how_strings_are_hashed() -> None:
    ask = "import sys; from proxy.routing.language import language; print(language('this was a nice chat'))"
    told = {
        subprocess.run(
            [sys.executable, "-c", ask],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(told) == 1
