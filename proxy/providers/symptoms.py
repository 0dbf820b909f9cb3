"""What providers' error codes, statuses and words mean: tables, read top down by `diagnose`."""

from __future__ import annotations

import re

from msgspec import Struct

from proxy.types import FailureKind

_K = FailureKind

BY_CODE: dict[str, FailureKind] = {
    # The request is too long.
    "context_length_exceeded": _K.CONTEXT_LENGTH,
    "context_window_exceeded": _K.CONTEXT_LENGTH,
    "model_context_window_exceeded": _K.CONTEXT_LENGTH,
    "exceed_context_size_error": _K.CONTEXT_LENGTH,  # llama.cpp
    "prompt_too_long": _K.CONTEXT_LENGTH,
    "tokens_limit_reached": _K.CONTEXT_LENGTH,  # GitHub Models, with a 413
    # The request is not wanted.
    "content_filter": _K.CONTENT_FILTER,
    "content_policy_violation": _K.CONTENT_FILTER,
    "moderation_blocked": _K.CONTENT_FILTER,
    "invalid_prompt": _K.CONTENT_FILTER,  # OpenAI's reasoning models
    "responsibleaipolicyviolation": _K.CONTENT_FILTER,  # Azure
    "data_inspection_failed": _K.CONTENT_FILTER,  # Alibaba
    # This model can't.
    "unsupported_parameter": _K.UNSUPPORTED,
    "unsupported_value": _K.UNSUPPORTED,
    "unknown_parameter": _K.UNSUPPORTED,
    "string_above_max_length": _K.UNSUPPORTED,
    "array_above_max_length": _K.UNSUPPORTED,  # OpenAI: 128 tools
    "operationnotsupported": _K.UNSUPPORTED,  # Azure
    "not_supported_error": _K.UNSUPPORTED,  # llama.cpp, with a 501
    # It tried, and what it wrote was no use to its own provider.
    "tool_use_failed": _K.MALFORMED,  # Groq, with a 400
    "json_validate_failed": _K.MALFORMED,
    "output_parse_failed": _K.MALFORMED,
    "function_call_filter": _K.MALFORMED,  # Gemini's finish_reason
    "malformed_function_call": _K.MALFORMED,
    # Our key.
    "invalid_api_key": _K.AUTH,
    "api_key_invalid": _K.AUTH,  # Gemini, with a 400
    "authentication_error": _K.AUTH,
    "unauthenticated": _K.AUTH,
    "account_deactivated": _K.AUTH,
    "organization_restricted": _K.AUTH,  # Groq, with a 400
    # Our purse.
    "insufficient_quota": _K.QUOTA,
    "insufficient_credits": _K.QUOTA,
    "insufficient_balance": _K.QUOTA,
    "billing_hard_limit_reached": _K.QUOTA,
    "billing_not_active": _K.QUOTA,
    "billing_error": _K.QUOTA,
    "blocked_api_access": _K.QUOTA,  # Groq's spend limit, with a 400
    "enforced_spend_limit_reached": _K.QUOTA,  # Anthropic
    "contract_spend_limit_reached": _K.QUOTA,
    "linked_organization_spend_limit_reached": _K.QUOTA,
    "linked_organization_billing_unavailable": _K.QUOTA,
    "exceeded_current_quota_error": _K.QUOTA,  # Moonshot
    "arrearage": _K.QUOTA,  # Alibaba, with a 400
    "accountoverdueerror": _K.QUOTA,  # Volcengine, with a 403
    # Nobody by that name.
    "model_not_found": _K.MODEL_NOT_FOUND,
    "model_not_available": _K.MODEL_NOT_FOUND,
    "model_decommissioned": _K.MODEL_NOT_FOUND,  # Groq, with a 400
    "invalid_model": _K.MODEL_NOT_FOUND,
    "model_terms_required": _K.MODEL_NOT_FOUND,  # Groq, with a 400
    "modelnotopen": _K.MODEL_NOT_FOUND,  # Volcengine
    "deploymentnotfound": _K.MODEL_NOT_FOUND,  # Azure
    "model_permission_blocked_org": _K.MODEL_NOT_FOUND,
    "model_permission_blocked_project": _K.MODEL_NOT_FOUND,
    # Not now.
    "rate_limit_exceeded": _K.RATE_LIMIT,
    "rate_limit_error": _K.RATE_LIMIT,
    "throttlingexception": _K.RATE_LIMIT,
    "ramp_limit_exceeded": _K.RATE_LIMIT,
    "overloaded_error": _K.OVERLOADED,
    "overloaded": _K.OVERLOADED,
    "engine_overloaded": _K.OVERLOADED,
    "capacity_exceeded": _K.OVERLOADED,
    # Reasons to finish that are none.
    "insufficient_system_resource": _K.OVERLOADED,  # DeepSeek
    "abort": _K.UNAVAILABLE,  # vLLM, SGLang: the engine is stopped, or makes room
}
"""Codes and types, in lower case, that say it all, whatever the status."""

BROKEN_OFF = frozenset(
    {"error", "abort", "insufficient_system_resource", "function_call_filter", "malformed_function_call"}
)
"""What `finish_reason` says, up to a colon, of an answer that isn't whole: an error that came as an end."""

STATUS_OF: dict[str, int] = {
    "invalid_request_error": 400,
    "badrequesterror": 400,  # vLLM
    "invalid_argument": 400,
    "failed_precondition": 400,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "notfounderror": 404,
    "not_found": 404,
    "request_too_large": 413,
    "resource_exhausted": 429,
    "too_many_requests": 429,
    "unavailable": 503,
    "service_unavailable": 503,
    "timeout_error": 504,
    "deadline_exceeded": 504,
}
"""The status that goes with a family of errors, for one that came without a status; else 500."""


class Symptom(Struct, frozen=True):
    """Words that, with one of these statuses, mean this."""

    kind: FailureKind
    statuses: frozenset[int]
    pattern: re.Pattern[str]


def _symptom(kind: FailureKind, statuses: str, *phrases: str) -> Symptom:
    numbers = frozenset(int(status) for status in statuses.split())
    return Symptom(kind, numbers, re.compile("|".join(phrases), re.IGNORECASE))


ABOVE_CODES: tuple[Symptom, ...] = (
    # Groq and OpenAI, who call it a rate limit: the request alone is more than the whole limit. One that is
    # merely used up says so (`Limit 6000, Used 5120, Requested 1214`), and when to come back.
    _symptom(_K.TOO_LARGE, "400 413 429", r"request too large for\b.{0,200}\blimit:? \d+, requested:? \d+"),
)
"""Words that say more than the code beside them."""

BY_WORDS: tuple[Symptom, ...] = (
    # Who says when to come back has a rate limit, even if the sentence before speaks of quotas and plans.
    _symptom(_K.RATE_LIMIT, "429", r"(?:again|retry) in \d", r"per[ -](?:minute|hour|day)\b"),
    _symptom(
        _K.UNSUPPORTED,
        "400 404 422 500 501",
        r"max_(?:completion_)?tokens`? (?:is too large|must be less than or equal)",
        r"maximum allowed number of output tokens",
        r"(?:deprecated|(?:not|un)[ -]?supported) (?:for|with|by|on|in) th(?:is|e) model",
        # OpenAI, of tools beside any reasoning_effort but `none`, be it the model's own.
        r"not supported (?:for|with) \S{1,100} in /v1/chat/completions",
        r"(?:does|do) not support (?:the )?(?:tool|function|image|vision|audio|video|multi|json|response)",
        r"(?:does|do) not support (?:the )?(?:system|assistant|pre(?:fill|fix)|stream|reasoning|thinking)",
        r"(?:does|do) not support (?:the )?(?:parameter|logprobs|structured)",
        r"no endpoints found that (?:support|can handle)",
        r"not a multi-?modal model",
        r"image input is not (?:supported|enabled)",
        r"image exceeds \d|image dimensions exceed",
        r"requires (?:the )?--jinja",  # llama.cpp, about tools
        # A field that this provider doesn't know, another may.
        r"extra inputs are not permitted",
        r"(?:unrecognized|unknown) (?:request )?(?:argument|parameter|field|name)\b",
        r"property '[^']{1,80}' is unsupported",
        # Content in parts, which is as good a message as a string.
        r"content'? : value must be a string|invalid type: sequence, expected a string",
    ),
    _symptom(
        _K.CONTEXT_LENGTH,
        "400 413 422 500",
        r"context[ _-]?(?:length|window|size|limit)",
        r"(?:prompt|input|inputs|message|request|conversation) (?:is|are) too (?:long|many tokens)",
        r"input (?:token count|tokens?|length)\b.{0,60}exceed",
        r"(?:prompt|input)\b.{0,60}exceeds? (?:the )?(?:model'?s? )?(?:maximum|max|limit|context)",
        r"exceeded (?:the )?model token limit",
        r"range of input length",
        r"max size: \d+ tokens",
        r"too many (?:input |prompt )?tokens",
        r"reduce (?:the length|the size|your prompt|your input|the number of (?:input )?tokens)",
        r"max(?:imum)? (?:allowed )?(?:input|prompt|sequence|model) (?:token )?len(?:gth)?",
        r"tokens \+ `?max_new_tokens`? must be",
        r"max_model_len",
    ),
    _symptom(
        _K.CONTENT_FILTER,
        "400 403 422 451 500",
        r"content[ _-](?:management |filter|policy|exists risk|moderation)",
        r"\bmoderation\b",
        r"\bflagged\b",
        r"blocked (?:by|due to|because of) .{0,40}(?:safety|content|polic|filter)",
        r"safety (?:system|polic|filter|setting)",
        r"violat\w+ .{0,40}(?:polic|guideline)",
        r"inappropriate content",
        r"sensitive (?:content|words|information)",
    ),
    _symptom(
        _K.QUOTA,
        "400 402 403 412 429 500",
        r"credit balance",
        r"(?:insufficient|not enough|more|out of|no|any) (?:credits?|balance|funds|quota)\b",
        r"all available credits",
        r"exceeded (?:your )?(?:current )?quota",
        r"(?:spend|spending|billing|budget|monthly|key) (?:hard )?(?:limit|cap)\b",
        r"usage limits?\b.{0,40}(?:reached|exceeded|regain)",
        r"reached your .{0,40}usage limit",
        r"(?:payment|billing) (?:is )?(?:required|not active|overdue)",
        r"overdue balance",
        r"quota (?:has been )?(?:exhausted|used up)",
    ),
    _symptom(
        _K.AUTH,
        "400",
        r"(?:incorrect|invalid|wrong|missing|malformed|expired|no) (?:x-)?api[ _-]?key",
        r"api[ _-]?key (?:is )?(?:not valid|not found|invalid|expired|missing|required)",
        r"authentication fail",
        r"organi[sz]ation has been (?:disabled|restricted)",
        r"location is not supported",  # Gemini: where we are, not what was asked
    ),
    # LM Studio, with a 400.
    _symptom(
        _K.UNAVAILABLE, "400 404", r"model (?:has |was |is )?(?:crashed|unloaded)", r"failed to load model"
    ),
    _symptom(
        _K.MODEL_NOT_FOUND,
        "400 403 404 422",
        r"model\b.{0,120}(?:(?:does|do) not exist|not exist|not found|decommissioned|no longer)",
        r"(?:not a valid|invalid|unknown|no such) model\b",
        r"(?:(?:have|no) access to|unable to access|requested) (?:the )?model\b",
        r"no (?:allowed )?(?:endpoints|providers)\b.{0,20} (?:found|available)",
    ),
    _symptom(_K.OVERLOADED, "429 500 502 503 504", r"\boverloaded\b"),
    _symptom(
        _K.OVERLOADED,
        "500 502 503 504",
        r"(?:over|at|no|insufficient|out of)[ _]capacity",
        r"high (?:demand|load)",
    ),
    _symptom(
        _K.RATE_LIMIT,
        "400 403 500 502 503",
        r"rate[ _-]?limit(?:ed)?\b.{0,20}(?:exceeded|reached|hit)",
        r"too many requests",
        r"\bthrottl(?:ed|ing)",
        r"\bslow down\b",
    ),
)
"""The first that fits holds."""

BY_STATUS: dict[int, FailureKind] = {
    401: _K.AUTH,
    402: _K.QUOTA,
    403: _K.AUTH,
    404: _K.MODEL_NOT_FOUND,
    405: _K.BAD_RESPONSE,
    407: _K.AUTH,
    408: _K.UNAVAILABLE,
    409: _K.UNAVAILABLE,
    410: _K.MODEL_NOT_FOUND,
    412: _K.AUTH,  # Fireworks: the account is suspended
    421: _K.BAD_RESPONSE,
    424: _K.UNAVAILABLE,
    425: _K.UNAVAILABLE,
    426: _K.BAD_RESPONSE,
    429: _K.RATE_LIMIT,
    451: _K.CONTENT_FILTER,
    498: _K.OVERLOADED,  # Groq: flex tier over capacity
    499: _K.UNAVAILABLE,
    502: _K.UNAVAILABLE,
    503: _K.UNAVAILABLE,
    504: _K.UNAVAILABLE,
    **dict.fromkeys(range(520, 528), _K.UNAVAILABLE),  # Cloudflare, about the origin
    529: _K.OVERLOADED,
    530: _K.UNAVAILABLE,
}
"""What a status means by itself."""

BY_CLASS: dict[int, FailureKind] = {4: _K.BAD_REQUEST, 5: _K.SERVER_ERROR}
"""What its first digit means; every other is no answer."""

HTML_SPEAKS = frozenset({401, 402, 407, 408, 413, 429})
"""Statuses below 500 that are believed even of a gateway's HTML page."""

HINTED = frozenset({_K.RATE_LIMIT, _K.UNAVAILABLE, _K.OVERLOADED})
"""Kinds whose words may say when to come back."""
