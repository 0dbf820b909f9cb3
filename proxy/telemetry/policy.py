"""What an operator sets in `config/proxy.yml` about logs, metrics and traces: frozen values, no logic."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class LogLevel(StrEnum):
    """The least severe message that is written. Call records are written at any level but `critical`."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class LogPolicy(Struct, frozen=True):
    """Where JSON lines go."""

    level: LogLevel = LogLevel.INFO
    file: str | None = None
    """A path, or `stderr`; None is stdout. A file that was renamed or removed is opened anew."""
    calls: bool = True
    """One line per call."""


class RecordPolicy(Struct, frozen=True):
    """How call records travel from the hot path to the sinks."""

    interval: float = 0.1
    """Seconds between two flushes."""
    batch: int = 32
    """So many waiting records are flushed without waiting for the interval: what is handed over while it is
    still in the processor's cache costs less, and so does what is allocated after it."""
    limit: int = 50_000
    """Records waiting at most; newer ones are dropped and counted."""


REDACT = (
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",  # e-mail
    r"\b(?:sk|pk|rk|gsk|xox[abprs]|gh[opsu]|glpat|AKIA|AIza|hf)[-_]?[A-Za-z0-9_-]{16,}",  # API keys
    r"\beyJ[\w-]{8,}(?:\.[\w-]*){1,2}",  # JSON web tokens
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b",  # IBAN
    r"\b(?:[3-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{4}|3[47]\d{2}[ -]?\d{6}[ -]?\d{5})\b",  # card numbers
    r"\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}\b",  # telephone numbers
    r"(?:\(\d{3}\) ?|\b\d{3}[-.])\d{3}[-.]\d{4}\b",  # ... as they are written in North America
)
"""What is taken out of prompts where the configuration names nothing else; RE2."""


PROMPT_MARGIN = 1000
"""Characters of a prompt beyond those that are kept: a secret at the end is seen as a whole."""


class CallsPolicy(Struct, frozen=True):
    """Which calls are kept, where and for how long."""

    enabled: bool = True
    """Into a database. The latest are kept in memory all the same."""
    file: str | None = None
    """The database's path; None: the state folder's `calls.db`."""
    max_age: float = 30 * 86400.0
    """Seconds after which a call is forgotten."""
    max_bytes: int = 1 << 30
    """Of the database; above it the oldest are forgotten."""
    recent: int = 100
    """Calls in memory, for when there is no database."""
    prompts: bool = False
    """Keep the text that was asked, too: in the call log alone."""
    prompt_chars: int = 4000
    """Characters kept of it. PROMPT_MARGIN more are looked through for what is to be redacted."""
    redact: tuple[str, ...] = REDACT
    """What of it becomes `[redacted]`."""


class OtlpProtocol(StrEnum):
    """How spans and metrics travel to the collector (OTLP)."""

    GRPC = "grpc"
    HTTP = "http"


class TracePolicy(Struct, frozen=True):
    """Where spans go. Without an endpoint there are none, and nothing of OpenTelemetry is imported."""

    endpoint: str | None = None
    """`http://collector:4317` for grpc; for http the whole URL, `http://collector:4318/v1/traces`."""
    protocol: OtlpProtocol = OtlpProtocol.HTTP
    ratio: float = 0.01
    """The share (0..1) of good calls that is traced; calls that failed always are."""
    headers: dict[str, str] = {}
    """Sent with every export. May hold secrets: never repr'd."""
    service_name: str = "kuro-proxy"

    def __repr__(self) -> str:
        return f"TracePolicy(endpoint={self.endpoint!r}, protocol={self.protocol!r}, ratio={self.ratio!r})"


class MetricPolicy(Struct, frozen=True):
    """Where metrics go besides /metrics. Without an endpoint nowhere, and nothing is imported."""

    endpoint: str | None = None
    """As of traces; for http it ends in `/v1/metrics`."""
    protocol: OtlpProtocol = OtlpProtocol.HTTP
    interval: float = 30.0
    """Seconds between two exports."""
    headers: dict[str, str] = {}
    """Sent with every export. May hold secrets: never repr'd."""

    def __repr__(self) -> str:
        return f"MetricPolicy({self.endpoint!r}, {self.protocol!r}, interval={self.interval!r})"
