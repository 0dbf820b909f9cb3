"""Why an upstream refused: status, headers and body, in anybody's shape -> Failure.

    body --complaint--> message, code, type, param     whatever JSON, text or HTML it was
         --kind-------> words that say more than a code, its code, its words, its status: the first that knows
         --patience---> seconds to wait
         --scrub------> a message that may leave the house

The knowledge is in `symptoms`; this is the engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from proxy.providers.complaint import Complaint, read_complaint
from proxy.providers.patience import asked_wait
from proxy.providers.scrub import scrub
from proxy.providers.symptoms import (
    ABOVE_CODES,
    BY_CLASS,
    BY_CODE,
    BY_STATUS,
    BY_WORDS,
    HINTED,
    HTML_SPEAKS,
    STATUS_OF,
    Symptom,
)
from proxy.types import Failure, FailureKind

_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,200}<(?:!doctype|html|head|body|\?xml)\b", re.IGNORECASE)
_URL = re.compile(r"https?://\S+")
_WORDLESS = "The upstream sent an error."
_WORDS_READ = 8000
"""Characters of a complaint in which words are looked for."""


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """Why an upstream answered with `status`: any status, any body; header names in lower case."""
    if status < 400:
        return bad_response(f"The upstream answered with status {status}.", status)
    if _HTML.match(body):
        return _html_refusal(status, headers)
    complaint = read_complaint(body)
    kind = _kind(status, complaint)
    words = complaint.words if kind in HINTED else ""
    return _failure(kind, complaint, status, asked_wait({**complaint.headers, **headers}, words))


def in_band(error: Any) -> Failure:
    """Why an upstream sent this error inside a 200: decoded JSON or text."""
    complaint = read_complaint(error)
    kind = _kind(complaint.status or _family(complaint), complaint)
    wait = asked_wait({}, complaint.words) if kind in HINTED else None
    return _failure(kind, complaint, complaint.status, wait)


def bad_response(message: str, status: int | None = None) -> Failure:
    """What came is no answer."""
    return Failure(FailureKind.BAD_RESPONSE, message, status)


def _html_refusal(status: int, headers: Mapping[str, str]) -> Failure:
    message = f"The upstream answered with status {status} and a web page."
    if status not in HTML_SPEAKS and status < 500:
        return bad_response(message, status)
    return Failure(_by_status(status), message, status, retry_after=asked_wait(headers))


def _kind(status: int, complaint: Complaint) -> FailureKind:
    words = _URL.sub("", complaint.words[:_WORDS_READ])
    return (
        _by_words(ABOVE_CODES, status, words)
        or next((BY_CODE[code] for code in complaint.codes if code in BY_CODE), None)
        or _by_words(BY_WORDS, status, words)
        or _by_status(status)
    )


def _by_words(symptoms: Iterable[Symptom], status: int, words: str) -> FailureKind | None:
    found = (each.kind for each in symptoms if status in each.statuses and each.pattern.search(words))
    return next(found, None)


def _by_status(status: int) -> FailureKind:
    return BY_STATUS.get(status) or BY_CLASS.get(status // 100, FailureKind.BAD_RESPONSE)


def _family(complaint: Complaint) -> int:
    return next((STATUS_OF[code] for code in complaint.codes if code in STATUS_OF), 500)


def _failure(kind: FailureKind, complaint: Complaint, status: int | None, wait: float | None) -> Failure:
    return Failure(
        kind=kind,
        message=scrub(complaint.message) or _silent(status, complaint),
        status=status,
        code=_bounded(complaint.code),
        type=_bounded(complaint.type),
        param=_bounded(complaint.param),
        retry_after=wait,
    )


def _silent(status: int | None, complaint: Complaint) -> str:
    """What is told of an error that says nothing."""
    if status is not None:
        return f"The upstream answered with status {status}."
    return f"The upstream sent an error: {scrub(complaint.codes[0])}." if complaint.codes else _WORDLESS


def _bounded(name: str | None) -> str | None:
    return None if name is None else scrub(name)[:200]
