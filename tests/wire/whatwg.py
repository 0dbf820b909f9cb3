"""A reader of event streams that is nothing but the standard: WHATWG HTML, 9.2.6, sentence by sentence.

Slow and whole: it is fed a complete stream and is obviously right. `proxy.wire.sse` is compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Message:
    """A dispatched event."""

    type: str
    data: str
    last_event_id: str = ""


@dataclass
class EventStream:
    """What a stream said."""

    messages: list[Message] = field(default_factory=list)
    retries: list[int] = field(default_factory=list)
    """Reconnection times in milliseconds, in the order in which they were set."""
    unfinished: bool = False
    """Data was left at the end, which the standard throws away."""


def parse(stream: bytes) -> EventStream:
    """Decodes as UTF-8, with U+FFFD for what isn't; drops one byte order mark; reads line after line."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines, rest = _lines(text)
    told = EventStream()
    data = type_ = last_id = ""
    for line in lines:
        if line == "":
            if data:  # an empty buffer dispatches nothing; one that holds a line feed does
                told.messages.append(Message(type_ or "message", data.removesuffix("\n"), last_id))
            data = type_ = ""
        elif line.startswith(":"):
            pass
        else:
            name, colon, value = line.partition(":")
            if colon and value.startswith(" "):
                value = value[1:]
            if name == "event":
                type_ = value
            elif name == "data":
                data += value + "\n"
            elif name == "id" and "\0" not in value:
                last_id = value
            elif name == "retry" and value and all(digit in "0123456789" for digit in value):
                told.retries.append(int(value))
    told.unfinished = bool(data or rest)
    return told


def _lines(text: str) -> tuple[list[str], str]:
    """The lines that are ended, by CR LF, LF or CR, and what comes after the last of these ends."""
    lines, line, at = [], "", 0
    while at < len(text):
        if text[at] == "\r" and text[at + 1 : at + 2] == "\n":
            at += 1
        if text[at] in "\r\n":
            lines.append(line)
            line = ""
        else:
            line += text[at]
        at += 1
    return lines, line
