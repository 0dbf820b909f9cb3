"""The exception tree.

KuroError
 +-- ConfigError        a configuration that can't be served; holds every problem at once
 +-- ApiError           what a caller gets instead of an answer, in OpenAI's shape
 +-- UpstreamError      one attempt failed; holds the Failure
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxy.types import Failure

MESSAGE_LIMIT = 4000
"""Characters of an error message that leave the house (CONTRACT, section 3)."""


class KuroError(Exception):
    """The root of every exception that this package raises on purpose."""


class ConfigError(KuroError):
    """A configuration that can't be served. Each problem names file, path and remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class UpstreamError(KuroError):
    """One attempt at one upstream failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.kind}: {failure.message}")
        self.failure = failure


class CallerLeftError(KuroError):
    """The caller went away before its request was read to its end."""


class ApiError(KuroError):
    """What a caller gets instead of an answer: a status and OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message[:MESSAGE_LIMIT]
        self.type = type
        self.code = code
        self.param = param
        self.headers = tuple(headers)

    def as_dict(self) -> dict[str, Any]:
        """The body: `{"error": {"message", "type", "param", "code"}}`."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


LONGEST_RETRY = 120.0
"""Seconds; SDKs wait no longer for a Retry-After, and come back at once instead where they are told to."""


def retry_headers(seconds: float) -> tuple[tuple[str, str], ...]:
    """Tells a client to come back: in whole seconds (RFC 9110) and, for SDKs, in milliseconds."""
    seconds = max(seconds, 0.0)
    return (
        ("retry-after", str(max(1, -int(-seconds // 1)))),
        ("retry-after-ms", str(max(1, round(seconds * 1000)))),
        ("x-should-retry", "true" if seconds <= LONGEST_RETRY else "false"),
    )
