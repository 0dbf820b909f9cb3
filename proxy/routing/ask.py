"""Finds what the user really asks for among what chat UIs and coding agents send around it.

content -> its text parts -> without injected blocks -> the wrapped query, if there is one -> bounded
                                                      \\-> or the background chore that it is
"""

from __future__ import annotations

import re
from typing import Any

import re2

ASK_LIMIT = 4_096
"""Characters of an ask that are kept: its head, its tail and a piece between."""

_VIEW = 24_576
"""Characters of each end of a message that are looked at."""

_INJECTED = (
    "system-reminder|system_reminder|environment_details|environment_context|env|additional_data"
    "|attached_files|attachments?|open_and_recently_viewed_files|editorContext|reminderInstructions"
    "|workspace_info|repoMap|context|documents?|sources?|file_content|files|file|user_instructions"
    "|INSTRUCTIONS|local-command-stdout|local-command-caveat|command-name|command-message|command-args"
    "|bash-stdout|bash-stderr|tool_result|tool_results|function_results|user_info|project_layout|rules"
    "|git_status|cursor_rules|notice|ide_opened_file|ide_selection|selected_text|chat_history"
)
"""Elements whose whole content was put there by a program. Names as they appear in the wild."""

_WRAPPERS = ("user_query", "userRequest", "user_message", "user_request", "feedback", "task", "query")
"""Elements whose content is the user's own words."""

_REQUEST_MARKS = ("## my request for codex:", "### user request:", "## user's question:")
"""Headings after which the user's own words begin."""

_OPENING = re.compile(rf"<({_INJECTED})(?:\s[^<>]{{0,200}})?>")

_RESUMED = "This session is being continued from a previous conversation"
"""How a coding agent begins anew after a compaction; the summary follows on the next lines."""

_CHORES = (
    (
        "title",
        ("generate a concise, 3-5 word title", "word title with an emoji", "you are a title generator"),
    ),
    ("title", ("title summarizing the chat history", "5-word-or-less title", "write a 5-10 word title")),
    ("title", ("extract a 2-3 word title", "indicates a new conversation topic", "crafting pithy titles")),
    ("title", ("crafting ultra-compact titles", "summarize this coding conversation in under")),
    ("title", ("four to five word title", "四到五个字直接返回", "字以内的标题", "字内标题")),
    ("tags", ("broad tags categorizing", "tags categorizing the")),
    ("follow_up", ("relevant follow-up questions or prompts", "suggest 3-5 relevant follow-up")),
    ("follow_up", ("suggest what the user might", "[suggestion mode")),
    ("autocompletion", ("you are an autocompletion system",)),
    ("search_query", ("necessity of generating search queries", "determine whether a search is necessary")),
    ("search_query", ("rephrase the follow up question",)),
    ("emoji", ("likely facial expression through a fitting emoji",)),
    ("image_prompt", ("detailed prompt for an image generation task", "prompt for am image generation")),
    ("compaction", ("detailed summary of the conversation so far", "context checkpoint compaction")),
    ("compaction", ("tasked with summarizing conversations", "detailed summary of the entire conversation")),
    ("compaction", ("summarize this partial conversation", "summarizes internal chat history")),
    (
        "compaction",
        ("as a prompt for future context", "用作后续的上下文提示", "the lines of conversation provided"),
    ),
    ("compaction", ("extracting key takeaways from conversations", "create a handoff document")),
    ("compaction", ("create a handoff summary",)),
    ("commit_message", ("one-line git commit messages", "come with the best git commit message")),
    ("branch_name", ("crafting pithy branch names",)),
    ("command_check", ("process bash commands that an ai", "file paths that this command reads or modifies")),
    ("progress", ("encouraging progress messages", "background task tracker for managing todo lists")),
    ("sorting", ("expert classifier for ai coding assistant prompts",)),
)
"""Requests that a program makes on its own behalf, by phrases of the first lines that give them away."""

_SAID_BY_PEOPLE = (
    ("title", ("title for the conversation", "title for this conversation", "generate a short title")),
    ("title", ("name this conversation",)),
    ("tags", ("tags for this conversation",)),
    ("follow_up", ("follow-up questions that", "follow-up questions the user")),
    ("compaction", ("summarize this coding conversation", "summarize the conversation so far")),
    ("compaction", ("compact the conversation", "condense the conversation")),
    ("compaction", ("summarize what was done in this conversation", "summarize the conversation history")),
    ("compaction", ("detailed summary of this conversation",)),
)
"""Phrases that a person may use as well, who wants an answer from the conversation's own model. Programs use
more words."""
_FEW_WORDS = 120
"""Characters up to which a turn with such a phrase is a person's."""

_CHORE_HEAD = 600
_CHORE_TAIL = 240
"""Characters of a turn's ends that are looked at: some programs quote the conversation first."""

_OF_A_CONVERSATION = re2.compile(
    r"(?i)\btitles?\b(?:\s\S+){0,14}\s(?:conversations?|chats?)\b"
    r"|\b(?:conversations?|chats?)\b(?:\s\S+){0,10}\stitles?\b"
)
_ASKS_FOR_IT = re2.compile(
    r"(?i)(?:^|[.:!\n]\s*(?:[-*] )?|\b(?:please|to|that|will|and) )(?:(?:generate|create|write|provide"
    r"|produce|find|return|output|give|craft|suggest|summari[sz]e)s?|(?:reply|respond|come up) with)\b"
)
_IN_FEW_WORDS = re2.compile(r"(?i)\b(?:words?|characters|short|concise|brief)\b")
_BUILDS_IT = re2.compile(
    r"(?i)\b(?:function|component|class|method|endpoint|api|app|application|database|button|bug|code|column|table"
    r"|script|css|react|prompts?|tests?|podcast|feature|implement\w*)\b"
)
"""What all chat programs say in their own words when they want a title: its noun beside a conversation's,
that it be made, and be short. Who builds such a program says the same, and what it is built of."""

_RAG_TEMPLATE = "### Task:\nRespond to the user query"
"""How Open WebUI introduces retrieved documents; the query follows them."""


def text_of(content: Any) -> str:
    """The text of a message's `content`: a string, or the text parts of a list; else nothing."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(text for part in content if (text := _text_of_part(part)))


def clean(text: str, limit: int = ASK_LIMIT) -> str:
    """The user's own words in `text`, at most `limit` characters; empty when there are none."""
    text = bounded(text, 2 * _VIEW)
    if text.startswith(_RAG_TEMPLATE) and (query := text.rpartition("</context>")[2].strip()):
        text = query
    if text.startswith(_RESUMED):
        text = text.partition("\n")[2]
    if "<" in text:
        text = _unwrapped(text) or _without_blocks(text)
    if "#" in text:
        text = _after_mark(text)
    return bounded(text.strip(), limit)


def bounded(text: str, limit: int) -> str:
    """`text`, or of a long one its head, a piece of its middle and its tail."""
    if len(text) <= limit:
        return text
    head, middle, tail = limit // 2, limit // 8, limit - limit // 2 - limit // 8 - 2
    start = (len(text) - middle) // 2
    return f"{text[:head]}\n{text[start : start + middle]}\n{text[-tail:]}"


def chore(user: str, system: str) -> str | None:
    """The background chore that the last user turn or the system prompt asks for, if it is one."""
    head, instructed = user[:_CHORE_HEAD], system[:_CHORE_HEAD]
    if len(user) > _CHORE_HEAD:
        head = f"{head}\n{user[_CHORE_HEAD:][-_CHORE_TAIL:]}"
    found = _chores(f"{head}\n{instructed}")
    if found and min(found) >= _FIRST_SAID and len(user) <= _FEW_WORDS:
        found = _chores(instructed)
    if found:
        return _CHORE_OF[min(found)]
    return "title" if _titles(instructed) or (len(user) > _FEW_WORDS and _titles(head)) else None


def _titles(text: str) -> bool:
    """It asks for the title of a conversation."""
    if "title" not in text and "Title" not in text:
        return False
    wanted = (_OF_A_CONVERSATION, _ASKS_FOR_IT, _IN_FEW_WORDS)
    return all(one.search(text) for one in wanted) and not _BUILDS_IT.search(text)


def _chores(text: str) -> list[int] | None:
    matched: list[int] | None = _CHORE_SET.Match(text.encode("utf-8", "replace"))
    return matched


def _text_of_part(part: Any) -> str:
    if not isinstance(part, dict) or part.get("type", "text") not in ("text", "input_text"):
        return ""
    text = part.get("text")
    return text if isinstance(text, str) else ""


def _unwrapped(text: str) -> str:
    """What stands in the last wrapper element, if the text has one."""
    for name in _WRAPPERS:
        end = text.rfind(f"</{name}>")
        if end >= 0 and (start := text.rfind(f"<{name}>", 0, end)) >= 0:
            return _without_blocks(text[start + len(name) + 2 : end])
    return ""


def _without_blocks(text: str) -> str:
    """The text between injected elements. An element that never closes is the user's own `<word>`."""
    kept, position = [], 0
    while (opening := _OPENING.search(text, position)) is not None:
        closing = f"</{opening[1]}>"
        end = text.find(closing, opening.end())
        if end < 0:
            break
        kept.append(text[position : opening.start()])
        position = end + len(closing)
    kept.append(text[position:])
    return "".join(kept)


def _after_mark(text: str) -> str:
    lowered = text.lower()
    for mark in _REQUEST_MARKS:
        if (at := lowered.rfind(mark)) >= 0:
            return text[at + len(mark) :]
    return text


def _chore_set() -> tuple[re2.Set, tuple[str, ...]]:
    options = re2.Options()
    options.case_sensitive = False
    phrases = re2.Set.SearchSet(options)
    owners = []
    for name, members in (*_CHORES, *_SAID_BY_PEOPLE):
        for phrase in members:
            phrases.Add(re2.escape(phrase))
            owners.append(name)
    phrases.Compile()
    return phrases, tuple(owners)


_CHORE_SET, _CHORE_OF = _chore_set()
_FIRST_SAID = sum(len(members) for _, members in _CHORES)
"""Where the phrases of people begin in the set."""
