"""Every way to get model_registry.yml wrong, and what the operator is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.settings import REGISTRY
from tests.settings.broken import MINIMAL, Case, model, problems, provider

REGISTRY_CASES: list[Case] = [
    (
        "a model of an unknown provider",
        MINIMAL.replace("provider: stub, upstream_model: m}", "provider: stbu, upstream_model: m}"),
        ["models[0].provider: 'stbu' is not a provider (did you mean 'stub'?)"],
    ),
    (
        "a dialect that nobody speaks",
        provider("dialect: opnai, base_url: https://x/v1"),
        ["providers.other.dialect: 'opnai' is not a dialect (did you mean 'openai'?)"],
    ),
    (
        "a provider without a dialect",
        provider("base_url: https://x/v1"),
        ["providers.other.dialect: is missing"],
    ),
    ("a provider without an address", provider("dialect: openai"), ["providers.other.base_url: is missing"]),
    (
        "an address without a scheme",
        provider("dialect: openai, base_url: api.example.com/v1"),
        ["providers.other.base_url: needs a scheme and a host: write it as https://api.example.com/v1"],
    ),
    (
        "an address with a password",
        provider("dialect: openai, base_url: 'https://me:hunter2@x/v1'"),
        ["providers.other.base_url: must not hold credentials: use api_key or headers"],
    ),
    (
        "an address with a query",
        provider("dialect: openai, base_url: 'https://x/v1?key=hunter2'"),
        ["providers.other.base_url: must not have a query or fragment: end it with the path, such as /v1"],
    ),
    (
        "an address with an impossible port",
        provider("dialect: openai, base_url: 'https://x:99999/v1'"),
        ["providers.other.base_url: is not a URL: write it as https://api.example.com/v1"],
    ),
    (
        "a key with a line break",
        provider('dialect: openai, base_url: "https://x", api_key: "hunter2\\n"'),
        [
            (
                "providers.other.api_key: holds a blank, a line break or another character that no "
                "key has: remove it"
            )
        ],
    ),
    (
        "a header that smuggles another",
        provider('dialect: openai, base_url: "https://x", headers: {X-A: "hunter2\\r\\nX-B: c"}'),
        ["providers.other.headers.X-A: the value holds a line break or another control character: remove it"],
    ),
    (
        "a header name with a blank",
        provider('dialect: openai, base_url: "https://x", headers: {"X A": b}'),
        ["providers.other.headers: 'X A' is no HTTP header name: mend it"],
    ),
    (
        "a header that the transport sets",
        provider('dialect: openai, base_url: "https://x", headers: {Host: b}'),
        ["providers.other.headers.Host: Host is set by the proxy: remove it"],
    ),
    (
        "forwarding a caller's cookies",
        provider('dialect: openai, base_url: "https://x", forward_headers: [cookie]'),
        ["providers.other.forward_headers[0]: cookie never leaves the proxy: remove it"],
    ),
    (
        "another name for what is called the same everywhere",
        provider('dialect: openai, base_url: "https://x", rename: {stop: messages}'),
        ["providers.other.rename: messages is called so everywhere: remove it"],
    ),
    (
        "other names in a dialect with names of its own",
        provider('dialect: anthropic, base_url: "https://x", rename: {max_tokens: x}'),
        ["providers.other.rename: is for the dialect openai: anthropic has its own names"],
    ),
    (
        "an unknown transport",
        provider('dialect: openai, base_url: "https://x", transport: http2'),
        ["providers.other.transport: 'http2' is not known (did you mean 'httpx'?)"],
    ),
    (
        "no connections at all",
        provider('dialect: openai, base_url: "https://x", max_connections: 0'),
        ["providers.other.max_connections: 0 is out of range: must be 1 or more"],
    ),
    (
        "a misspelt key of a provider",
        provider('dialect: openai, base_url: "https://x", apikey: hunter2'),
        ["providers.other.apikey: unknown key (did you mean 'api_key'?)"],
    ),
    (
        "a number where a switch or path belongs",
        provider('dialect: openai, base_url: "https://x", verify: 1'),
        ["providers.other.verify: expected true or false or a string, not the number 1"],
    ),
    (
        "two bad timeouts of a provider",
        provider('dialect: openai, base_url: "https://x", timeouts: {connect: 0, first_token: 700}'),
        [
            "providers.other.timeouts.connect: 0 is out of range: must be above 0",
            "providers.other.timeouts.first_token: 700 s is more than the total of 600 s: lower it",
        ],
    ),
    (
        "a level of effort that nobody knows",
        model("reasoning_effort: [low, hihg]"),
        ["models[2].reasoning_effort[1]: 'hihg' is not known (did you mean 'high'?)"],
    ),
    (
        "an id that stands twice",
        model("aliases: []", id="a"),
        ["models[2].id: 'a' is already models[0].id: every id and alias stands once"],
    ),
    (
        "an alias that stands twice",
        model("aliases: [bee]"),
        ["models[2].aliases[0]: 'bee' is already models[1].aliases[0]: every id and alias stands once"],
    ),
    (
        "an alias that is another model's id",
        model("aliases: [a]"),
        ["models[2].aliases[0]: 'a' is already models[0].id: every id and alias stands once"],
    ),
    (
        "an alias that is the model's own id",
        model("aliases: [c]"),
        ["models[2].aliases[0]: 'c' is already models[2].id: every id and alias stands once"],
    ),
    (
        "names that a path of the admin API would read as something else",
        model("aliases: [x/circuit, x/]", id="x/disable"),
        [
            f"models[2].{at}: {name!r} ends in {end!r}, which means something else in paths below "
            "/admin/v1/models/: rename it"
            for at, name, end in (
                ("id", "x/disable", "/disable"),
                ("aliases[0]", "x/circuit", "/circuit"),
                ("aliases[1]", "x/", "/"),
            )
        ],
    ),
    (
        "an alias that callers ask the router with",
        model("aliases: [auto]"),
        ["models[2].aliases[0]: 'auto' is what callers ask the router for: choose another name"],
    ),
    (
        "an id that callers ask the router with",
        model("aliases: []", id='"auto:cheap"'),
        ["models[2].id: 'auto:cheap' is what callers ask the router for: choose another name"],
    ),
    (
        "an id with a blank",
        model("aliases: []", id='"a b"'),
        [
            (
                "models[2].id: 'a b' must be 1 to 128 of A-Z a-z 0-9 . _ : / @ + -, and begin with a "
                "letter or digit"
            )
        ],
    ),
    (
        "a model without its upstream name",
        MINIMAL + "  - {id: c, provider: stub}\n",
        ["models[2].upstream_model: is missing"],
    ),
    (
        "a misspelt key of a model",
        model("contex_window: 10"),
        ["models[2].contex_window: unknown key (did you mean 'context_window'?)"],
    ),
    (
        "a word where a number belongs",
        model("context_window: large"),
        ["models[2].context_window: expected an integer, not 'large'"],
    ),
    (
        "yes, which YAML 1.2 does not know",
        model("enabled: yes"),
        ["models[2].enabled: expected true or false, not 'yes'"],
    ),
    (
        "half a token",
        model("context_window: 1.5"),
        ["models[2].context_window: expected an integer, not the number 1.5"],
    ),
    (
        "a negative price",
        model("price: {input: -1, output: 2}"),
        ["models[2].price.input: -1 is out of range: must be 0 or more"],
    ),
    ("half a price", model("price: {input: 1}"), ["models[2].price.output: is missing"]),
    (
        "a weight above 1",
        model("weights: {quality: 1.4}"),
        ["models[2].weights.quality: 1.4 is out of range: must be between 0 and 1"],
    ),
    (
        "a fitness above 1",
        model("capabilities: {math: 1.2}"),
        ["models[2].capabilities.math: 1.2 is out of range: must be between 0 and 1"],
    ),
    (
        "a fitness for an unknown intent",
        model("capabilities: {maths: 1.0}"),
        ["models[2].capabilities.maths: 'maths' is not an intent (did you mean 'math'?)"],
    ),
    (
        "an unknown need",
        model("supports: [tool]"),
        ["models[2].supports[0]: 'tool' is not known (did you mean 'tools'?)"],
    ),
    (
        "more output than fits the window",
        model("context_window: 100, max_output_tokens: 200"),
        ["models[2].max_output_tokens: 200 is more than the context_window of 100: lower it"],
    ),
    (
        "an empty window",
        model("context_window: 0"),
        ["models[2].context_window: 0 is out of range: must be 1 or more"],
    ),
    (
        "a fallback to an unknown model",
        model("fallback: [aa]"),
        ["models[2].fallback[0]: 'aa' is not a model (did you mean 'a'?)"],
    ),
    (
        "a fallback to itself",
        model("fallback: [c]"),
        ["models[2].fallback: falls back in a circle, c -> c: take one of them out"],
    ),
    (
        "a circle of fallbacks, through an alias",
        MINIMAL.replace("upstream_model: m}", "upstream_model: m, fallback: [bee]}").replace(
            "aliases: [bee]}", "aliases: [bee], fallback: [a]}"
        ),
        ["models[0].fallback: falls back in a circle, a -> b -> a: take one of them out"],
    ),
    (
        "a total below the first token's timeout",
        model("timeouts: {total: 10}"),
        ["models[2].timeouts.first_token: 30 s is more than the total of 10 s: lower it"],
    ),
    (
        "no providers and no models",
        "providers: {}\nmodels: []",
        [
            "providers: is empty: add one, or start from what `kuro init DIR` writes",
            "models: is empty: add one, or start from what `kuro init DIR` writes",
        ],
    ),
    (
        "an empty registry",
        "",
        [
            "providers: is empty: add one, or start from what `kuro init DIR` writes",
            "models: is empty: add one, or start from what `kuro init DIR` writes",
        ],
    ),
    ("a registry that is a list", "- a\n", ["expected a mapping, not a list"]),
    (
        "a registry that isn't YAML",
        "models: [\n",
        ["line 2: not YAML: while parsing a flow node, did not find expected node content"],
    ),
    (
        "a key that stands twice",
        MINIMAL + "models: []\n",
        ["models: stands twice, again in line 7: remove one"],
    ),
    (
        "a tag of Python's",
        model("weights: !!python/object:os.system {}"),
        ["models[2].weights: the tag !!python/object:os.system is not allowed: write a plain value"],
    ),
    (
        "a variable that isn't set",
        model("context_window: ${WINDOW}"),
        [
            (
                "models[2].context_window: WINDOW is not set in the environment: set WINDOW, or write "
                "${WINDOW:-default}"
            )
        ],
    ),
    (
        "a variable that is no number",
        model("context_window: ${WORD}"),
        ["models[2].context_window: expected an integer, which the environment's value is not"],
    ),
    (
        "a number put together from parts",
        model('context_window: "1${NUMBER}"'),
        ["models[2].context_window: expected an integer: a reference must stand there alone"],
    ),
    (
        "a reference to no variable",
        model('aliases: ["${no-such}"]'),
        [
            (
                "models[2].aliases[0]: holds a ${ that is no reference: write ${NAME} or "
                "${NAME:-default}, or $${ for a plain ${"
            )
        ],
    ),
    (
        "a variable out of range",
        model("weights: {quality: ${NUMBER}}"),
        ["models[2].weights.quality: 5.0 is out of range: must be between 0 and 1"],
    ),
]


@pytest.mark.parametrize(
    ("text", "told"), [case[1:] for case in REGISTRY_CASES], ids=[case[0] for case in REGISTRY_CASES]
)
def test_a_broken_registry_is_told_with_path_and_remedy(tmp_path: Path, text: str, told: list[str]) -> None:
    assert problems(tmp_path, {REGISTRY: text}) == [f"{REGISTRY}: {line}" for line in told]
