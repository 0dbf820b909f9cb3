"""Who differs, and how: one codec per dialect, and why upstreams fail."""

from __future__ import annotations

import time

from proxy.providers.anthropic import AnthropicCodec
from proxy.providers.base import Codec
from proxy.providers.openai import OpenAICodec

CODECS: dict[str, Codec] = {
    "openai": OpenAICodec(),
    "anthropic": AnthropicCodec(now=time.time),
}
"""Dialect -> codec. A new dialect is a module and a line here; the conformance tests run over this table."""
