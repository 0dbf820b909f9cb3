"""A directory that is right: what is ready, what is left out, and what the values come to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import fields

from proxy.effort import Effort
from proxy.routing.policy import RoutingPolicy, Rule, Step
from proxy.server.policy import AccessKey
from proxy.settings import FILES, INTENTS, PROXY, REGISTRY, ROUTING, Settings, default_directory, load
from proxy.settings.document import parse
from proxy.settings.service import ProxyFile
from proxy.types import Need, Price, Priors, Timeouts
from tests.settings.broken import MINIMAL, model

CLOUD = """
providers:
  cloud: {dialect: openai, base_url: https://cloud.example/v1/, api_key: ${CLOUD_KEY}, headers: {X-A: b}}
  other: {dialect: anthropic, base_url: "${OTHER_URL:-https://other.example/v1}", api_key: "${OTHER_KEY:-}"}
  local: {dialect: openai, base_url: ${LOCAL_URL}}
  team: {dialect: openai, base_url: https://team.example/v1, headers: {X-Team: ${TEAM}}}
  off: {dialect: openai, base_url: https://off.example/v1, enabled: false}
  bare: {dialect: openai, base_url: https://bare.example/v1, api_key: ""}
  made-up: {dialect: simulated}
models:
  - {id: c, provider: cloud, upstream_model: m, fallback: [l, other-one]}
  - {id: o, provider: other, upstream_model: m, aliases: [other-one]}
  - {id: l, provider: local, upstream_model: m}
  - {id: t, provider: team, upstream_model: m}
  - {id: f, provider: off, upstream_model: m}
  - {id: b, provider: bare, upstream_model: m}
  - {id: s, provider: made-up, upstream_model: m}
  - {id: x, provider: cloud, upstream_model: m, enabled: false}
"""


def loaded(directory: Path, files: dict[str, str], environ: dict[str, str] | None = None) -> Settings:
    for name, text in ({REGISTRY: MINIMAL} | files).items():
        (directory / name).write_text(text, encoding="utf-8")
    return load(directory, environ or {})


def ready(settings: Settings) -> list[str]:
    return [model.id for model in settings.models]


# --- what is ready -------------------------------------------------------------------------------


def test_without_keys_only_the_simulated_models_are_ready_and_each_other_says_why(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {REGISTRY: CLOUD})
    assert ready(settings) == ["s"] and settings.simulated
    assert list(settings.providers) == ["made-up"]
    assert dict(settings.left_out) == {
        "c": "set CLOUD_KEY",
        "o": "set OTHER_KEY",
        "l": "set LOCAL_URL",
        "t": "set TEAM",
        "f": "its provider is switched off (enabled: false)",
        "b": "its provider's api_key is empty",
        "x": "switched off (enabled: false)",
    }


def test_a_key_makes_its_models_ready_and_the_simulated_ones_step_back(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {REGISTRY: CLOUD}, {"CLOUD_KEY": "abc", "CLOUD_KEY_2": "x"})
    assert ready(settings) == ["c"] and not settings.simulated
    assert dict(settings.left_out)["s"] == "real models are ready"
    provider = settings.providers["cloud"]
    assert (provider.base_url, provider.api_key) == ("https://cloud.example/v1", "abc")
    assert provider.headers == {"X-A": "b"}


def test_a_local_server_is_switched_on_by_its_address(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {REGISTRY: CLOUD}, {"LOCAL_URL": "http://127.0.0.1:11434/v1"})
    assert ready(settings) == ["l"]
    assert settings.providers["local"].api_key is None


def test_an_address_from_the_environment_is_checked_as_one_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"providers\.local\.base_url: must not hold credentials"):
        loaded(tmp_path, {REGISTRY: CLOUD}, {"LOCAL_URL": "http://u:p@127.0.0.1/v1"})


def test_fallbacks_are_ids_of_ready_models_in_their_order(tmp_path: Path) -> None:
    every = {"CLOUD_KEY": "a", "OTHER_KEY": "b", "LOCAL_URL": "http://h/v1"}
    assert loaded(tmp_path, {REGISTRY: CLOUD}, every).models[0].fallback == ("l", "o")
    del every["LOCAL_URL"]
    assert loaded(tmp_path, {REGISTRY: CLOUD}, every).models[0].fallback == ("o",)


def test_nothing_ready_is_a_warning(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {REGISTRY: CLOUD.replace("made-up, ", "off, ")})
    assert settings.models == ()
    assert settings.warnings == ("no model is ready: every call is refused",)


# --- models --------------------------------------------------------------------------------------


def test_a_model_is_all_that_its_entry_says(tmp_path: Path) -> None:
    entry = """capabilities: {math: 0.5}, supports: [tools, vision], aliases: [sea],
      context_window: 1000, max_output_tokens: 500,
      weights: {quality: 0.9, latency: 0.1}, price: {input: 1, output: 2, cached_input: 0.5},
      reasoning_effort: [high, low, none]"""
    made = loaded(tmp_path, {REGISTRY: model(entry)}).models[-1]
    assert made.capabilities == {"math": 0.5}
    assert made.supports == {Need.TOOLS, Need.VISION}
    assert (made.context_window, made.max_output_tokens) == (1000, 500)
    assert made.weights == Priors(0.9, 0.1)
    assert made.price == Price(1.0, 2.0, 0.5)
    assert made.aliases == ("sea",)
    assert made.reasoning_effort == (Effort.NONE, Effort.LOW, Effort.HIGH)


def test_a_plain_list_of_capabilities_means_one_each_and_no_price_is_unknown(tmp_path: Path) -> None:
    made = loaded(tmp_path, {REGISTRY: model("capabilities: [math, writing]")}).models[-1]
    assert made.capabilities == {"math": 1.0, "writing": 1.0}
    assert made.price is None


def test_timeouts_come_from_the_model_then_its_provider_then_the_server(tmp_path: Path) -> None:
    registry = model("timeouts: {idle: 3}").replace("/v1}", "/v1, timeouts: {first_token: 2, idle: 2}}")
    settings = loaded(
        tmp_path, {REGISTRY: registry, PROXY: "timeouts: {connect: 1, first_token: 1, idle: 1}"}
    )
    assert settings.models[0].timeouts == Timeouts(1.0, 2.0, 2.0, 600.0)
    assert settings.models[-1].timeouts == Timeouts(1.0, 2.0, 3.0, 600.0)
    assert settings.timeouts == Timeouts(1.0, 1.0, 1.0, 600.0)


# --- routing -------------------------------------------------------------------------------------


def test_a_rule_of_several_models_becomes_a_rule_for_each_and_aliases_become_ids(tmp_path: Path) -> None:
    text = "rules: [{name: r, model: [bee, a], when: {headers: {X-Team: x}}}]\ndefault_model: bee\n"
    routing = loaded(tmp_path, {ROUTING: text}).routing
    assert [(rule.name, rule.model) for rule in routing.rules] == [("r", "b"), ("r", "a")]
    assert routing.rules[0].when.headers == {"x-team": "x"}
    assert routing.default_model == "b"


@pytest.mark.parametrize(("levels", "told"), [("", 1), ("reasoning_effort: [low]", 0)])
def test_levels_that_no_ready_model_takes_are_warned_of(tmp_path: Path, levels: str, told: int) -> None:
    settings = loaded(tmp_path, {REGISTRY: model(levels), ROUTING: "effort: {enabled: true}"})
    said = "effort.enabled: no ready model has levels of reasoning_effort, so nobody is told any"
    assert settings.warnings.count(said) == told


def test_a_share_to_be_drawn_without_a_rung_for_it_is_warned_of(tmp_path: Path) -> None:
    policy = "explore: {share: 0.1}\n"
    assert not loaded(tmp_path, {ROUTING: policy}).warnings
    (said,) = loaded(tmp_path, {ROUTING: policy + "ladder: [rules, scoring]\n"}).warnings
    assert said.startswith("explore.share: nobody is drawn, for `ladder` lacks 'explore'")
    (said,) = loaded(tmp_path, {ROUTING: "adapt: {enabled: true, trials: 24}\n"}).warnings
    assert said.startswith("adapt.trials: nothing can be learned while explore.share is 0")


def test_what_names_a_model_that_is_left_out_is_warned_of_and_does_without(tmp_path: Path) -> None:
    text = """rules: [{name: r, model: c}, {name: q, model: [c, s]}]
default_model: c
judge: {enabled: true, model: c}"""
    settings = loaded(tmp_path, {REGISTRY: CLOUD, ROUTING: text})
    assert settings.warnings == (
        "rule 'r' never holds: none of its models is ready",
        "default_model 'c' is left out: the first ready model stands in",
        "judge.model 'c' is left out: nobody is asked",
    )
    assert settings.routing.default_model is None
    assert not settings.routing.judge.enabled


def test_a_judge_may_be_named_by_its_alias(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {ROUTING: "judge: {enabled: true, model: bee}"})
    assert settings.routing.judge.enabled and settings.routing.judge.model == "b"


def test_without_routing_yml_every_profile_is_there(tmp_path: Path) -> None:
    routing = loaded(tmp_path, {}).routing
    assert list(routing.profiles) == ["balanced", "cheap", "fast", "best"]
    assert routing.ladder == tuple(Step)


# --- access --------------------------------------------------------------------------------------


def test_a_key_that_may_stay_unset_is_left_out_and_serves_when_set(tmp_path: Path) -> None:
    text = 'keys: [{name: a, key: "${A_KEY:-}"}, {name: b, key: "fixed"}]\nadmin_key: ${ADMIN:-}\n'
    assert loaded(tmp_path, {PROXY: text}).access.keys == (AccessKey("b", "fixed"),)
    access = loaded(tmp_path, {PROXY: text}, {"A_KEY": "x", "ADMIN": "y"}).access
    assert access.keys == (AccessKey("a", "x"), AccessKey("b", "fixed"))
    assert access.admin_key == "y"


# --- secrets -------------------------------------------------------------------------------------


def test_no_secret_is_shown_by_any_repr(tmp_path: Path) -> None:
    secrets = {name: f"secret-{name}" for name in ("CLOUD_KEY", "TEAM", "A_KEY", "ADMIN", "OTEL")}
    proxy = """keys: [{name: a, key: "${A_KEY}"}]
admin_key: ${ADMIN}
telemetry: {trace: {endpoint: http://c/v1, headers: {authorization: "${OTEL}"}}}"""
    settings = loaded(tmp_path, {REGISTRY: CLOUD, PROXY: proxy}, secrets)
    assert settings.trace.headers == {"authorization": "secret-OTEL"}
    parts = [getattr(settings, name) for name in settings.__struct_fields__]
    assert "secret" not in "".join(map(repr, [settings, *parts]))


# --- the epoch -----------------------------------------------------------------------------------


def test_the_epoch_changes_with_what_decides_and_with_nothing_else(tmp_path: Path) -> None:
    base = loaded(tmp_path, {REGISTRY: CLOUD}, {"CLOUD_KEY": "a"}).epoch
    again = loaded(tmp_path, {REGISTRY: CLOUD, PROXY: "listen: {port: 1}"}, {"CLOUD_KEY": "another"}).epoch
    assert again == base and len(base) == 12
    others = {
        loaded(tmp_path, {REGISTRY: CLOUD}, {"CLOUD_KEY": "a", "OTHER_KEY": "b"}).epoch,
        loaded(tmp_path, {REGISTRY: CLOUD.replace("id: c,", "id: cc,")}, {"CLOUD_KEY": "a"}).epoch,
        loaded(tmp_path, {REGISTRY: CLOUD, ROUTING: "ladder: [scoring]"}, {"CLOUD_KEY": "a"}).epoch,
    }
    assert len(others | {base}) == 4


# --- the configuration that comes along ------------------------------------------------------------

KEYS = ("GROQ_API_KEY", "OPENROUTER_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY")
EVERYTHING = {
    **{name: f"secret-{name}" for name in KEYS},
    "OLLAMA_URL": "http://127.0.0.1:11434/v1",
    "VLLM_URL": "http://127.0.0.1:8000/v1",
}
TEN = ["casual_chat", "code_generation", "complex_reasoning", "extraction", "factual_qa"]
TEN += ["long_context_summary", "math", "roleplay", "translation", "writing"]


def test_the_default_configuration_is_right_without_any_environment() -> None:
    settings = load(None, {})
    assert ready(settings) == ["simulated/fast", "simulated/code", "simulated/reasoning"]
    assert settings.simulated and settings.warnings == ()
    assert sorted(settings.intents.intents) == TEN


def test_the_default_configuration_is_right_with_every_key() -> None:
    settings = load(None, EVERYTHING)
    assert settings.warnings == () and not settings.simulated
    assert 14 <= len(settings.models) <= 20
    assert {"groq/llama-3.3-70b", "openrouter/claude-sonnet", "openrouter/gpt-4o"} <= set(ready(settings))
    assert {reason for _, reason in settings.left_out} == {"real models are ready"}


@pytest.mark.parametrize("key", [*KEYS, "OLLAMA_URL", "VLLM_URL"])
def test_any_one_provider_is_enough_and_serves_the_chores(key: str) -> None:
    settings = load(None, {key: EVERYTHING[key]})
    assert settings.models and not settings.simulated
    assert settings.warnings == ()


@pytest.mark.parametrize("made", load(None, EVERYTHING).models, ids=lambda made: made.id)
def test_a_model_of_the_default_registry_has_what_scoring_reads(made) -> None:  # type: ignore[no-untyped-def]
    assert sorted(made.capabilities) == TEN
    assert made.price is not None
    assert made.weights != Priors()


def test_the_default_files_say_the_defaults(tmp_path: Path) -> None:
    """A reader learns the product from them, so a value there is the value that holds without it."""
    said = load(None, {})
    unsaid = loaded(tmp_path, {REGISTRY: (default_directory() / REGISTRY).read_text("utf-8")})
    for name in set(Settings.__struct_fields__) - {"routing", "epoch", "providers", "models", "left_out"}:
        assert getattr(said, name) == getattr(unsaid, name), name
    for name in set(said.routing.__struct_fields__) - {"rules"}:
        assert getattr(said.routing, name) == getattr(unsaid.routing, name), name
    assert {rule.name for rule in said.routing.rules} == {"chores"}
    assert isinstance(said.routing.rules[0], Rule)


@pytest.mark.parametrize(("file", "shape"), [(ROUTING, RoutingPolicy), (PROXY, ProxyFile)])
def test_the_default_files_leave_no_setting_out(file: str, shape: type[Struct]) -> None:
    text = (default_directory() / file).read_text("utf-8")
    assert unsaid(parse(text, lambda at, message: pytest.fail(f"{at} {message}")), shape) == []


def unsaid(document: Any, shape: type[Struct]) -> list[str]:
    """Fields that the document doesn't have, in sections too."""
    missing = [name for name in shape.__struct_fields__ if name not in document]
    for field in fields(shape):
        if isinstance(field.type, type) and issubclass(field.type, Struct) and field.name in document:
            missing += [f"{field.name}.{name}" for name in unsaid(document[field.name], field.type)]
    return missing


def test_a_wheel_carries_its_configuration_and_a_checkout_has_it_beside(tmp_path: Path) -> None:
    package = tmp_path / "proxy"
    package.mkdir()
    assert default_directory(package) == tmp_path / "config"
    (package / "_config").mkdir()
    assert default_directory(package) == package / "_config"
    assert all((default_directory() / name).is_file() for name in FILES)


def test_intents_of_one_s_own_replace_the_default_ones(tmp_path: Path) -> None:
    text = "intents: {anything: {default: true, patterns: [x]}}"
    assert list(loaded(tmp_path, {INTENTS: text}).intents.intents) == ["anything"]
    (tmp_path / INTENTS).unlink()
    assert len(loaded(tmp_path, {}).intents.intents) == 10


def test_a_baseline_is_known_by_its_price_whether_it_is_ready_or_not(tmp_path: Path) -> None:
    keyed = MINIMAL.replace(
        "models:", "  cloud: {dialect: openai, api_key: ${KEY}, base_url: http://c}\nmodels:"
    )
    dear = "  - {id: dear, provider: cloud, upstream_model: m, aliases: [d], price: {input: 5, output: 20}}\n"
    settings = loaded(tmp_path, {REGISTRY: keyed + dear, PROXY: "telemetry: {baseline: d}\n"})
    assert "dear" in dict(settings.left_out)
    assert settings.baseline == Price(5, 20)
    assert loaded(tmp_path, {PROXY: "telemetry: {baseline: }\n"}).baseline is None
