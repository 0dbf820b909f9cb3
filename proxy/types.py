"""The nouns: every value that passes from room to room, in the order in which a call meets them.

    ChatRequest -> Features -> Classification -> Choice -> RoutePlan -> UpstreamRequest -> Chunk

Values are frozen. What is kept of a call is in `proxy.record`.
Times are seconds unless the name says otherwise; prices are USD per million tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from proxy.effort import Effort
from proxy.lot import Lot


class Need(StrEnum):
    """What a request can require and a model can support: a model lacking one is never asked."""

    TOOLS = "tools"
    VISION = "vision"
    AUDIO = "audio"
    JSON_SCHEMA = "json_schema"
    LOGPROBS = "logprobs"
    PREFILL = "prefill"
    FILES = "files"


# --- the registry --------------------------------------------------------------------------------


SIMULATED = "simulated"
"""The dialect of the built-in models whose answers are made up."""


class Timeouts(Struct, frozen=True):
    """Limits of one attempt: until connected, until the commit point, between reads, and in all."""

    connect: float = 5.0
    first_token: float = 30.0
    idle: float = 30.0
    total: float = 600.0


class Price(Struct, frozen=True):
    """USD per million tokens. `cached_input` is what a prompt-cache hit costs, when it differs."""

    input: float
    output: float
    cached_input: float | None = None


class Priors(Struct, frozen=True):
    """What is believed of a model, 0..1 each, until observations replace it."""

    quality: float = 0.5
    latency: float = 0.5


class Provider(Struct, frozen=True):
    """Who is called and how it is spoken to. `api_key` is a secret: never logged, never repr'd."""

    name: str
    dialect: str
    base_url: str
    api_key: str | None = None
    headers: dict[str, str] = {}
    transport: str = "http1"
    """`http1`: our own pool; `httpx`: stock httpx, for HTTP(S) proxies and HTTP/2."""
    max_connections: int = 512
    verify: bool | str = True
    """TLS verification: on, off, or the path of a CA bundle."""
    forward_headers: tuple[str, ...] = ()
    """Caller headers, lower case, that this provider may see."""
    rename: dict[str, str | None] = {}
    """Body field -> what this provider calls it; None: it doesn't take it, and isn't sent it."""

    def __repr__(self) -> str:
        return f"Provider({self.name!r}, {self.dialect!r}, {self.base_url!r})"


class Model(Struct, frozen=True):
    """A registry entry: one provider's name for one model, the unit that is scored and called."""

    id: str
    provider: str
    upstream_model: str
    capabilities: dict[str, float] = {}
    """Intent -> fitness, 0..1."""
    aliases: tuple[str, ...] = ()
    supports: frozenset[Need] = frozenset()
    context_window: int = 8192
    """Tokens, prompt and completion together."""
    max_output_tokens: int | None = None
    weights: Priors = Priors()
    price: Price | None = None
    """None is unknown, never free."""
    fallback: tuple[str, ...] = ()
    timeouts: Timeouts = Timeouts()
    reasoning_effort: tuple[Effort, ...] = ()
    """The levels that it can be told, least first; none: it can't be told any."""


# --- a request and what is known of it -----------------------------------------------------------


class AutoRouter(Struct, frozen=True):
    """What a caller wants of `auto`: OpenRouter's plugin `auto-router`."""

    allowed: tuple[str, ...] | None = None
    """Ids and aliases, `*` for any characters: nobody else may answer. None: anybody may ..."""
    excluded: tuple[str, ...] = ()
    """... but these."""
    tradeoff: int | None = None
    """0, quality at any price, .. 10, the lowest price; 5 is the profile as it is, and so is None."""
    at: str = "plugins[0]"
    """Where it stands in the body."""


class ChatRequest(Struct, frozen=True):
    """A validated body of POST /v1/chat/completions. `fields` is the whole body, unknown fields too."""

    body: bytes
    fields: dict[str, Any]
    model: str
    messages: list[dict[str, Any]]
    stream: bool = False
    include_usage: bool = False
    """The caller asked for the usage chunk of a stream."""
    models: tuple[str, ...] = ()
    """OpenRouter's `models`: an explicit plan."""
    auto_router: AutoRouter | None = None
    spliceable: bool = False
    """`body` names `model`, `messages` and `stream` once at most: its bytes may be changed in place."""


class Features(Struct, frozen=True):
    """Facts about a request, read off it without judging it: `proxy.routing.features`."""

    ask: str
    """The last user turn, without boilerplate, cut to a bounded length."""
    context: tuple[str, ...] = ()
    """The user turns before it that still matter, latest first, cut likewise."""
    prompt_tokens: int = 0
    """Estimated."""
    completion_tokens: int = 0
    """What the caller's max_tokens reserves, or 0."""
    needs: frozenset[Need] = frozenset()
    turns: int = 1
    """User turns in the conversation."""
    tool_loop: bool = False
    """The last message is a tool's result: the model is at work and mustn't be exchanged."""
    background: str | None = None
    """The chore of a chat UI or agent that this is (`title`, `tags`, `follow_up`, ...), else None."""
    repeats: bool = False
    """The ask says what the turn before it said."""
    failed_tools: int = 0
    """In a tool loop: how many of its latest rounds brought nothing but errors."""
    instructions: str = ""
    """How the system prompt begins."""


class Classification(Struct, frozen=True, gc=False):
    """Intents by confidence, best first, and how hard the ask is."""

    intents: tuple[tuple[str, float], ...]
    difficulty: float = 0.5
    """0..1: how likely a small model fails where a strong one succeeds."""
    evidence: tuple[str, ...] = ()
    """What spoke, for the trace: `intent:pattern-name`."""
    struggle: float = 0.0
    """Log-odds that the ask is a complaint about the answer before it. It says nothing of a first turn."""
    leans: bool = False
    """The ask says little by itself: it goes on with what the turns before it were about."""

    @property
    def top(self) -> str:
        """The leading intent."""
        return self.intents[0][0]


# --- a decision ----------------------------------------------------------------------------------


class Scored(Struct, frozen=True):
    """A candidate with its total and the named terms (0..1 each) that made it."""

    model: str
    total: float
    terms: dict[str, float] = {}


class Rung(Struct, frozen=True):
    """One step of the ladder as it was climbed: what it answered and how long it took."""

    step: str
    answer: str
    """The model it chose, or why it passed."""
    took_us: float = 0.0


class Incumbent(Struct, frozen=True, omit_defaults=True):
    """The model that a conversation is with, and what its last turn left behind."""

    model: str
    floor: str
    """The model that the task was last meant for: while it can serve, no lesser one does."""
    task: str
    """The intent that led at the last turn."""
    cached: int = 0
    """Tokens of the prompt that the model's provider may still have in its cache."""
    again: bool = False
    """The same messages came before: the answer that they got was not wanted."""
    effort: Effort | None = None
    turns: int = 0
    """How hard its last turn was to be thought about, and how many were answered."""


class Judged(Struct, frozen=True):
    """What a decision was before the judge's verdict, and the verdict."""

    judge: str
    """Registry id."""
    intent: str
    confidence: float
    difficulty: float
    """As the judge says."""
    before: Classification
    model_before: str | None
    """The healthy one with the best total, by the classification before."""


class Choice(Struct, frozen=True):
    """What a step of the ladder answered."""

    step: str
    model: str
    """Registry id."""
    route: str
    """The value of `x-kuro-route`: the step, or `rule:NAME`."""


class RoutePlan(Struct, frozen=True):
    """The decision: which models, in which order, and why."""

    models: tuple[str, ...]
    """Registry ids, the first to be asked first. Never empty."""
    route: str
    features: Features
    """Empty where the caller named the models and nothing had to be known of the request."""
    classification: Classification | None = None
    """None for a model asked for by name, which is not classified."""
    explicit: bool = False
    """The caller named the model or the list: circuits refuse instead of passing on."""
    profile: str = "balanced"
    ranking: dict[str, float] = {}
    """Model -> total, best first; empty when nothing was scored."""
    judged: Judged | None = None
    """What a judge's verdict changed; None: there was none, or it is in a remembered decision."""
    asked: int = 0
    """Knows the same messages again, within the conversation; 0: it doesn't."""
    incumbent: Incumbent | None = None
    """The model that the conversation was with."""
    shut: frozenset[str] = frozenset()
    """Models whose circuit would not have admitted a call."""
    standing: Mapping[str, tuple[float, ...]] = {}
    """Model -> its latency, success, quality and the first token's part, as they were known, 0..1 each."""
    headers: Mapping[str, str] = {}
    """Those of the caller's headers that some rule reads, with their values."""
    language: str | None = None
    """The ask's, where a rule looked at it."""
    allowed: frozenset[str] | None = None
    """Those to whom the caller's lists leave the request; None: everybody."""
    tradeoff: int | None = None
    """The caller's dial between quality (0) and cost (10)."""
    exploring: bool = False
    """It was ranked as if lasting evidence had moved nothing, to see whether that still holds."""
    lot: Lot | None = None
    """What of it was left to chance. None: nothing."""
    effort: Effort | None = None
    """How hard to think: each model is told the nearest level that it can be. None: nobody is told."""
    effort_why: str = ""
    """What that comes from; nothing where levels aren't chosen."""
    scores: tuple[Scored, ...] = ()
    """The ranking with every term by name; only in a traced plan, like all that follows."""
    weights: Mapping[str, float] = {}
    """How much each term counted."""
    expected: float = 0.0
    """Tokens that the answer was expected to have, for cost and latency."""
    filtered: tuple[tuple[str, str], ...] = ()
    """(model, reason) of every model that could not be a candidate."""
    origins: tuple[str, ...] = ()
    """Where each place among `models` comes from."""
    efforts: Mapping[str, Effort] = {}
    """What each of `models` would be told of `effort`."""
    rungs: tuple[Rung, ...] = ()


# --- upstream ------------------------------------------------------------------------------------


class FailureKind(StrEnum):
    """Why an attempt failed. What follows from each is in `providers.failure.VERDICTS`."""

    BAD_REQUEST = "bad_request"
    CONTEXT_LENGTH = "context_length"
    TOO_LARGE = "too_large"
    """More at once than our account may send this model in a whole minute: waiting never helps."""
    CONTENT_FILTER = "content_filter"
    UNSUPPORTED = "unsupported"
    """This model can't do what was asked (`n`, images, a parameter); another may."""
    MALFORMED = "malformed"
    """The model wrote a tool call or JSON that its own provider couldn't read; it may do better again."""
    AUTH = "auth"
    QUOTA = "quota"
    MODEL_NOT_FOUND = "model_not_found"
    RATE_LIMIT = "rate_limit"
    SERVER_ERROR = "server_error"
    UNAVAILABLE = "unavailable"
    """502, 503, 504; 529 is OVERLOADED, as is what says so, and the other 5xx are SERVER_ERROR."""
    OVERLOADED = "overloaded"
    CONNECT = "connect"  # DNS, refused, unreachable, TLS
    CONNECT_TIMEOUT = "connect_timeout"
    DISCONNECTED = "disconnected"
    """The connection closed before any byte of the answer."""
    STALE_CONNECTION = "stale_connection"
    """The same on a kept-alive connection: most likely it was closed while idle."""
    BAD_RESPONSE = "bad_response"
    """Not HTTP, not the right type, not JSON, empty, or ended before it was finished."""
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    DEPARTED = "departed"  # it was to continue another model's broken stream, and said something else
    LOCAL_LIMIT = "local_limit"  # our own pool, file descriptors or memory
    CALLER_LEFT = "caller_left"
    CUT_SHORT = "cut_short"  # given up on, so that another could still answer within the caller's deadline
    DEADLINE = "deadline"  # the caller's own, for all


class Failure(Struct, frozen=True):
    """One failed attempt, as data. `message` is the upstream's own, scrubbed and bounded."""

    kind: FailureKind
    message: str = ""
    status: int | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    retry_after: float | None = None
    """Seconds that the upstream asked to wait, clamped."""


class UpstreamRequest(Struct, frozen=True):
    """An encoded request, all but the host: `path` is appended to the provider's base_url."""

    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    """Lower-case names; without host, content-length and connection, which the transport adds."""
    body: bytes


class Usage(Struct, frozen=True):
    """Tokens of one attempt, as the upstream counted them or, `estimated`, as we did."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    """The part of `prompt` that was read from the provider's cache."""
    reasoning: int = 0
    """The part of `completion` that was reasoning."""
    estimated: bool = False


class Chunk(Struct):
    """What one read of the upstream brought, in the canonical (OpenAI) form: fifty events, a whole reply."""

    data: bytes = b""
    """Bytes for the caller: SSE events as they came, or the JSON body."""
    events: int = 0
    meaningful: bool = False
    """Holds content, reasoning, a tool call or a refusal: the commit point."""
    text: str = ""
    """Content of choice 0, joined."""
    tool_call: bool = False
    finish_reason: str | None = None
    """The last choice's: all of them are finished."""
    model: str | None = None
    """What the upstream says that it served."""
    usage: Usage | None = None
    dropped: int = 0
    """Events that weren't valid JSON and were left out of `data`."""
    done: bool = False
    """The stream's own end: `[DONE]`, message_stop."""
    failure: Failure | None = None
    """An error that came inside a 200."""
