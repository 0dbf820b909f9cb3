"""The project's scriptable stub upstream, over real sockets, for tests of failure.

with StubUpstream() as stub:
    stub.script("primary", fail(500))
    ...
    assert stub.hits("primary") == 2
"""

from tests.stub.behaviours import (
    STORY,
    bad_gzip,
    bad_json_event,
    byte_by_byte,
    close_before_headers,
    comments_only,
    cut_after,
    empty_stream,
    error_in_200,
    fail,
    garbage,
    gated,
    gzipped,
    hang,
    headers_then_silence,
    html,
    interim,
    no_done,
    no_finish,
    ok,
    prefill,
    raw,
    redirect,
    refuse_prefill,
    reset_before_headers,
    role_only_then_silence,
    slow_body,
    unstreamed,
    wrong_type,
)
from tests.stub.dialects import Content, Kind, Piece, Tokens, Tool
from tests.stub.reply import Behaviour, End, Reply
from tests.stub.server import StubUpstream
from tests.stub.signals import PATIENCE, Flag, Gate, Received, Tally

__all__ = [
    "PATIENCE",
    "STORY",
    "Behaviour",
    "Content",
    "End",
    "Flag",
    "Gate",
    "Kind",
    "Piece",
    "Received",
    "Reply",
    "StubUpstream",
    "Tally",
    "Tokens",
    "Tool",
    "bad_gzip",
    "bad_json_event",
    "byte_by_byte",
    "close_before_headers",
    "comments_only",
    "cut_after",
    "empty_stream",
    "error_in_200",
    "fail",
    "garbage",
    "gated",
    "gzipped",
    "hang",
    "headers_then_silence",
    "html",
    "interim",
    "no_done",
    "no_finish",
    "ok",
    "prefill",
    "raw",
    "redirect",
    "refuse_prefill",
    "reset_before_headers",
    "role_only_then_silence",
    "slow_body",
    "unstreamed",
    "wrong_type",
]
