"""What is taken out of prompts before they are kept."""

from __future__ import annotations

import time

import pytest

from proxy.telemetry.policy import REDACT
from proxy.telemetry.redaction import REDACTED, redaction

usual = redaction(REDACT)


@pytest.mark.parametrize(
    "secret",
    [
        "jane.doe+kuro@mail.example.co.uk",
        "sk-proj-abcdefghijklmnopqrstuvwx",
        "gsk_0123456789abcdefghijABCDEFGHIJ",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOi",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "DE89 3704 0044 0532 0130 00",
        "+49 (30) 1234 5678",
        "(555) 123-4567",
        "555-123-4567",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIB\nAAKC\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_secrets_go_and_the_rest_stays(secret: str) -> None:
    assert usual(f"Please check {secret} for me") == f"Please check {REDACTED} for me"


@pytest.mark.parametrize(
    "text",
    [
        "Write a function that merges two sorted lists.",
        "In 2026 there were 1,234,567 of them, at 3.14159265358979",
        "What does task-force mean? And risk-averse?",
        "SELECT id FROM users WHERE created > '2026-11-26 08:30:00'",
        "翻译成英文：我喜欢猫。",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert usual(text) == text


def test_own_patterns_replace_the_usual_ones() -> None:
    own = redaction([r"(?i)project \w+"])
    assert own("Project Kuro, jane@mail.example") == f"{REDACTED}, jane@mail.example"


def test_a_pattern_that_re2_refuses_is_named() -> None:
    with pytest.raises(ValueError, match="look"):
        redaction(["fine", "(?=look)"])


def test_no_text_takes_long() -> None:
    began = time.process_time()
    usual("a" * 50_000 + "@" + "1 " * 50_000)
    assert time.process_time() - began < 2
