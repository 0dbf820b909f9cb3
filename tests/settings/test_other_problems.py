"""Every way to get routing.yml, proxy.yml and intents.yml wrong, and what the operator is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.settings import INTENTS, PROXY, ROUTING
from tests.settings.broken import Case, problems

ROUTING_CASES: list[Case] = [
    (
        "an unknown step",
        "ladder: [rules, scorring]\n",
        ["ladder[1]: 'scorring' is not known (did you mean 'scoring'?)"],
    ),
    (
        "a step that stands twice",
        "ladder: [rules, rules, default]\n",
        ["ladder[1]: 'rules' stands twice: remove one"],
    ),
    (
        "a ladder that can end without an answer",
        "ladder: [cache, rules]\n",
        ["ladder: can end without an answer: add 'scoring' or 'default'"],
    ),
    (
        "an unknown default model",
        "default_model: zz\n",
        ["default_model: 'zz' is not a model (known: a, b, bee)"],
    ),
    (
        "a negative weight",
        "profiles: {balanced: {cost: -1}}\n",
        ["profiles.balanced.cost: -1 is out of range: must be between 0 and 10"],
    ),
    (
        "a profile of nothing but zeros",
        "profiles: {balanced: {quality: 0, success: 0, latency: 0, cost: 0}}\n",
        ["profiles.balanced: all weights are 0: give one of them some weight"],
    ),
    (
        "profiles without the one of plain auto",
        "profiles: {cheap: {cost: 2}}\n",
        ["profiles: 'balanced' is missing: it is what plain `auto` uses"],
    ),
    (
        "a rule for an unknown model",
        "rules: [{name: r, model: aa}]\n",
        ["rules[0].model: 'aa' is not a model (did you mean 'a'?)"],
    ),
    (
        "a rule for an unknown intent",
        "rules: [{name: r, model: a, when: {intent: [maths]}}]\n",
        ["rules[0].when.intent[0]: 'maths' is not an intent (did you mean 'math'?)"],
    ),
    (
        "a rule on what no rule is told",
        "rules: [{name: r, model: a, when: {headers: {X-Team: blue, Content-Length: '9'}}}]\n",
        [
            "rules[0].when.headers.Content-Length: rules aren't told a body's length: use min_prompt_tokens "
            "or max_prompt_tokens"
        ],
    ),
    (
        "a rule for an unknown profile",
        "rules: [{name: r, model: a, when: {profile: [chep]}}]\n",
        ["rules[0].when.profile[0]: 'chep' is not a profile (did you mean 'cheap'?)"],
    ),
    (
        "a rule for an unknown need",
        "rules: [{name: r, model: a, when: {needs: [tool]}}]\n",
        ["rules[0].when.needs[0]: 'tool' is not known (did you mean 'tools'?)"],
    ),
    (
        "two rules of one name",
        "rules: [{name: r, model: a}, {name: r, model: b}]\n",
        ["rules[1].name: 'r' is already the name of rules[0]: rename one"],
    ),
    (
        "a rule that can never hold",
        "rules: [{name: r, model: a, when: {min_prompt_tokens: 10, max_prompt_tokens: 5}}]\n",
        ["rules[0].when.min_prompt_tokens: 10 is above max_prompt_tokens, 5: it can never hold"],
    ),
    ("a rule without a model", "rules: [{name: r, model: []}]\n", ["rules[0].model: names no model"]),
    (
        "a rule whose name can't be a header",
        "rules: [{name: 'a b', model: a}]\n",
        [
            (
                "rules[0].name: 'a b' must be 1 to 128 of A-Z a-z 0-9 . _ : / @ + -, and begin with a "
                "letter or digit"
            )
        ],
    ),
    (
        "a word where a list belongs",
        "rules: [{name: r, model: a, when: {intent: math}}]\n",
        ["rules[0].when.intent: expected a list, not 'math'"],
    ),
    (
        "more is left to chance than a fifth",
        "explore: {share: 0.5, models: 1}\n",
        [
            "explore.share: 0.5 is out of range: must be between 0 and 0.2",
            "explore.models: 1 is out of range: must be 2 or more",
        ],
    ),
    (
        "levels of effort the wrong way round",
        "effort: {enabled: true, low: 0.7, high: 0.4}\n",
        ["effort.low: 0.7 is above high, 0.4: lower it"],
    ),
    (
        "difficulties that there are none of",
        "effort: {low: -1, high: 2, hihg: 0.5}\n",
        [
            "effort.hihg: unknown key (did you mean 'high'?)",
            "effort.low: -1 is out of range: must be between 0 and 1",
            "effort.high: 2 is out of range: must be between 0 and 1",
        ],
    ),
    (
        "a judge without a model",
        "judge: {enabled: true}\n",
        ["judge.model: is missing: name a small fast model, or set enabled: false"],
    ),
    (
        "an unknown judge without time",
        "judge: {enabled: true, model: zz, timeout: 0}\n",
        [
            "judge.timeout: 0 is out of range: must be above 0",
            "judge.model: 'zz' is not a model (known: a, b, bee)",
        ],
    ),
    (
        "an unknown recovery",
        "stream_recovery: splic\n",
        ["stream_recovery: 'splic' is not known (did you mean 'splice'?)"],
    ),
    (
        "a cache of no time and negative size",
        "cache: {ttl: 0, size: -1}\n",
        [
            "cache.ttl: 0 is out of range: must be above 0",
            "cache.size: -1 is out of range: must be 0 or more",
        ],
    ),
    (
        "a key that isn't a string",
        "profiles: {1: {}}\n",
        ["profiles: the key in line 1 is not a string: put it in quotes"],
    ),
]


@pytest.mark.parametrize(
    ("text", "told"), [case[1:] for case in ROUTING_CASES], ids=[case[0] for case in ROUTING_CASES]
)
def test_broken_routing_is_told_with_path_and_remedy(tmp_path: Path, text: str, told: list[str]) -> None:
    assert problems(tmp_path, {ROUTING: text}) == [f"{ROUTING}: {line}" for line in told]


PROXY_CASES: list[Case] = [
    (
        "a baseline that is no model",
        "telemetry: {baseline: zz}\n",
        ["telemetry.baseline: 'zz' is not a model (known: a, b, bee)"],
    ),
    (
        "a baseline without a price",
        "telemetry: {baseline: bee}\n",
        ["telemetry.baseline: 'bee' has no price: give it one in model_registry.yml"],
    ),
    (
        "a port above 65535",
        "listen: {port: 70000}\n",
        ["listen.port: 70000 is out of range: must be between 0 and 65535"],
    ),
    ("a port in quotes", "listen: {port: '8080'}\n", ["listen.port: expected an integer, not '8080'"]),
    (
        "a caller's key that isn't set",
        "keys: [{name: x, key: ${NOT_SET}}]\n",
        ["keys[0].key: NOT_SET is not set in the environment: set NOT_SET, or remove the entry"],
    ),
    (
        "an empty caller's key",
        "keys: [{name: x, key: ''}]\n",
        ["keys[0].key: is empty: write a key, or remove the entry"],
    ),
    (
        "the same name and key twice",
        "keys: [{name: x, key: hunter2}, {name: x, key: hunter2}]\n",
        [
            "keys[1].name: 'x' stands twice: rename one",
            "keys[1].key: is the same as an earlier one: give each name a key of its own",
        ],
    ),
    (
        "a caller's key with a blank",
        "keys: [{name: x, key: 'hunter2 b'}]\n",
        ["keys[0].key: holds a blank, a line break or another character that no key has: remove it"],
    ),
    (
        "a caller's key that is a list",
        "keys: [{name: x, key: [hunter2]}]\n",
        ["keys[0].key: expected a string, not a list"],
    ),
    ("callers' keys as a mapping", "keys: {hunter2: x}\n", ["keys: expected a list, not a mapping"]),
    (
        "a caller's key that is a number",
        "keys: [{name: x, key: 12345678}]\n",
        ["keys[0].key: expected a string, not this value"],
    ),
    (
        "an admin key with a blank",
        "admin_key: 'hunter2 x'\n",
        ["admin_key: holds a blank, a line break or another character that no key has: remove it"],
    ),
    (
        "an admin's key that is a list, and one without a name of its own",
        "admin_key: hunter2\nadmin_keys: [{name: eve, key: [hunter3]}, {name: admin, key: hunter4}]\n",
        [
            "admin_keys[0].key: expected a string, not a list",
            "admin_keys[1].name: 'admin' is the name of admin_key: take another",
        ],
    ),
    (
        "an origin without a scheme",
        "cors_origins: [chat.example]\n",
        ["cors_origins[0]: 'chat.example' is no origin: write https://chat.example, or '*'"],
    ),
    (
        "a first token later than the total",
        "timeouts: {first_token: 700}\n",
        ["timeouts.first_token: 700 s is more than the total of 600 s: lower it"],
    ),
    (
        "a circuit that opens at nothing, longer than its cap",
        "breaker: {open_for: 30, failure_ratio: 0}\n",
        [
            "breaker.failure_ratio: 0 is out of range: must be above 0 and at most 1",
            "breaker.open_for: 30 is more than open_cap, 15: lower it",
        ],
    ),
    (
        "no model at all and a first delay above the cap",
        "retries: {max_models: 0, base_delay: 3}\n",
        [
            "retries.max_models: 0 is out of range: must be 1 or more",
            "retries.base_delay: 3 is more than max_delay, 2: lower it",
        ],
    ),
    (
        "an unknown log level",
        "telemetry: {log: {level: loud}}\n",
        ["telemetry.log.level: 'loud' is not known (known: debug, info, warning, error, critical)"],
    ),
    (
        "a collector without a scheme, and a share above 1",
        "telemetry: {trace: {endpoint: 'collector:4317', ratio: 2}}\n",
        [
            "telemetry.trace.ratio: 2 is out of range: must be between 0 and 1",
            "telemetry.trace.endpoint: needs a scheme and a host: write it as https://api.example.com/v1",
        ],
    ),
    (
        "not a number",
        "limits: {body_timeout: .nan}\n",
        ["limits.body_timeout: expected a number, not '.nan'"],
    ),
    (
        "a number beyond counting",
        "limits: {body_timeout: 1e400}\n",
        ["limits.body_timeout: inf is out of range: must be smaller"],
    ),
    (
        "a queue that nobody may stand in",
        "limits: {max_queue: -1, queue_timeout: 0}\n",
        [
            "limits.max_queue: -1 is out of range: must be 0 or more",
            "limits.queue_timeout: 0 is out of range: must be above 0",
        ],
    ),
    ("a misspelt section", "listne: {}\n", ["listne: unknown key (did you mean 'listen'?)"]),
]


@pytest.mark.parametrize(
    ("text", "told"), [case[1:] for case in PROXY_CASES], ids=[case[0] for case in PROXY_CASES]
)
def test_a_broken_server_is_told_with_path_and_remedy(tmp_path: Path, text: str, told: list[str]) -> None:
    assert problems(tmp_path, {PROXY: text}) == [f"{PROXY}: {line}" for line in told]


INTENTS_CASES: list[Case] = [
    (
        "no intent by default",
        "intents: {math: {patterns: [x]}}\n",
        ["intents: exactly one needs `default: true`, not 0"],
    ),
    (
        "an example that is no text",
        "intents: {math: {default: true, examples: [7, {a: b}]}}\n",
        [
            "intents.math.examples[0]: expected a string, not the number 7",
            "intents.math.examples[1]: expected a string, not a mapping",
        ],
    ),
    (
        "examples that are no list",
        "intents: {math: {default: true, examples: how much is it}}\n",
        ["intents.math.examples: expected a list, not 'how much is it'"],
    ),
    (
        "examples that are empty or huge",
        f"intents: {{math: {{default: true, examples: ['', '  ', {'x' * 4001}]}}}}\n",
        [
            "intents.math.examples[0]: is empty: write an ask or remove it",
            "intents.math.examples[1]: is empty: write an ask or remove it",
            "intents.math.examples[2]: has 4,001 characters: keep what is typical, 4,000 at most",
        ],
    ),
    (
        "more examples than anybody reads",
        f"intents: {{math: {{default: true, examples: {['how much is it'] * 101}}}}}\n",
        ["intents.math.examples: 101 are too many: keep the 100 most typical at most"],
    ),
    (
        "patterns that RE2 refuses",
        "intents: {math: {default: true, patterns: ['(?<=a)b', {re: '('}]}}\n",
        [
            "intents.math.patterns[0].re: '(?<=a)b' is not RE2 syntax",
            "intents.math.patterns[1].re: '(' is not RE2 syntax",
        ],
    ),
    (
        "a misspelt key of a pattern",
        "intents: {math: {default: true, patterns: [{re: x, wieght: 1}]}}\n",
        ["intents.math.patterns[0].wieght: unknown key (did you mean 'weight'?)"],
    ),
    (
        "answers of no tokens",
        "intents: {math: {default: true, completion_tokens: 0}}\n",
        ["intents.math.completion_tokens: 0 is out of range: must be 1 or more"],
    ),
]


@pytest.mark.parametrize(
    ("text", "told"), [case[1:] for case in INTENTS_CASES], ids=[case[0] for case in INTENTS_CASES]
)
def test_broken_intents_are_told_with_path_and_remedy(tmp_path: Path, text: str, told: list[str]) -> None:
    assert problems(tmp_path, {INTENTS: text}) == [f"{INTENTS}: {line}" for line in told]
