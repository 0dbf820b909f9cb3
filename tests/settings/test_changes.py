"""What a reload says that it changes: paths, never values."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.settings import PROXY, REGISTRY, ROUTING, Settings, load
from proxy.settings.changes import Changes, changes, differences, in_place
from proxy.settings.footprint import Footprint
from proxy.settings.public import SET, registry
from tests.settings.broken import MINIMAL


def written(place: Path, **files: str) -> Settings:
    place.mkdir(exist_ok=True)
    (place / REGISTRY).write_text(files.get("registry", MINIMAL), "utf-8")
    (place / PROXY).write_text(files.get("proxy", ""), "utf-8")
    (place / ROUTING).write_text(files.get("routing", ""), "utf-8")
    return load(place, {})


@pytest.fixture
def old(tmp_path: Path) -> Settings:
    return written(tmp_path / "config")


def found(tmp_path: Path, old: Settings, **files: str) -> Changes:
    return changes(old, written(tmp_path / "config", **files))


def test_nothing_is_changed_by_nothing(tmp_path: Path, old: Settings) -> None:
    assert not found(tmp_path, old)


def test_models_that_come_go_and_change_are_named(tmp_path: Path, old: Settings) -> None:
    first, *rest = old.models
    text = MINIMAL.replace(f"id: {first.id},", "id: new,")
    assert text != MINIMAL
    seen = found(tmp_path, old, registry=text)
    assert (seen.added, seen.removed) == (("new",), (first.id,))
    last = rest[-1].id
    text = MINIMAL.replace(f"id: {last},", f"id: {last}, context_window: 999,")
    assert found(tmp_path, old, registry=text).changed == {last: ("context_window",)}


def test_secrets_are_told_by_their_paths_alone(tmp_path: Path, old: Settings) -> None:
    seen = found(tmp_path, old, proxy="keys: [{name: alice, key: sk-very-secret}]\n")
    assert seen.other == ("proxy.yml: keys.alice",)
    assert "sk-very-secret" not in repr(seen)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("listen: {port: 9999}\n", "proxy.yml: listen.port"),
        ("telemetry: {log: {file: /tmp/other.log}}\n", "proxy.yml: telemetry.log.file"),
        (
            "telemetry: {trace: {endpoint: http://collector/v1/traces}}\n",
            "proxy.yml: telemetry.trace.endpoint",
        ),
    ],
)
def test_what_needs_a_restart_is_said_and_stays_as_it_was(
    tmp_path: Path, old: Settings, text: str, path: str
) -> None:
    new = written(tmp_path / "config", proxy=text)
    assert changes(old, new).needs_restart == (path,)
    assert not changes(old, in_place(old, new))


@pytest.mark.parametrize(
    ("file", "text", "path"),
    [
        ("proxy", "limits: {max_queue: 3}\n", "proxy.yml: limits.max_queue"),
        ("proxy", "hedging: {enabled: true}\n", "proxy.yml: hedging.enabled"),
        ("proxy", "breaker: {open_for: 2}\n", "proxy.yml: breaker.open_for"),
        ("routing", "sticky: {size: 7}\n", "routing.yml: sticky"),
    ],
)
def test_the_rest_is_taken_in_place(tmp_path: Path, old: Settings, file: str, text: str, path: str) -> None:
    new = written(tmp_path / "config", **{file: text})
    seen = changes(old, new)
    assert (seen.other, seen.needs_restart) == ((path,), ())
    assert changes(old, in_place(old, new)) == seen


def test_a_footprint_changes_with_the_content_and_only_with_it(tmp_path: Path, old: Settings) -> None:
    place = tmp_path / "config"
    footprint = Footprint(place)
    before = footprint()
    (place / PROXY).write_text("", "utf-8")  # the same again, at another time
    assert footprint() == before
    (place / PROXY).write_text("limits: {max_queue: 3}\n", "utf-8")
    changed = footprint()
    assert changed != before
    (place / PROXY).unlink()
    gone = footprint()
    assert gone not in (before, changed)
    os.mkfifo(place / PROXY)  # nobody waits for who never writes
    assert footprint() == gone


SECRETIVE = """
providers:
  stub:
    {dialect: openai, base_url: "http://127.0.0.1:9/v1", api_key: sk-upstream, headers: {X-Title: hush}}
models: [{id: one, provider: stub, upstream_model: one, price: {input: 1, output: 2}}]
"""


def test_differences_show_both_values_and_no_secret(tmp_path: Path) -> None:
    headers = "telemetry: {trace: {headers: {authorization: hush}}}\nadmin_key: sk-old\n"
    old = written(tmp_path / "old", registry=SECRETIVE, proxy=headers)
    changed = (
        SECRETIVE.replace("sk-upstream", "sk-other").replace("hush", "hist").replace("input: 1", "input: 3")
    )
    new = written(
        tmp_path / "new",
        registry=changed.replace("}}]", "}}, {id: two, provider: stub, upstream_model: two}]"),
        proxy=headers.replace("hush", "hist").replace("sk-old", "sk-new") + "retries: {max_models: 5}\n",
        routing="cache: {ttl: 5}\n",
    )
    seen = {each.path: (each.old, each.new) for each in differences(old, new)}
    assert seen["model_registry.yml: models.one.price"] == (
        {"input": 1.0, "output": 2.0, "cached_input": None},
        {"input": 3.0, "output": 2.0, "cached_input": None},
    )
    assert seen["model_registry.yml: models.two"][0] is None
    assert seen["model_registry.yml: models.two"][1]["upstream_model"] == "two"
    assert seen["model_registry.yml: providers.stub.api_key"] == (SET, SET)
    assert seen["model_registry.yml: providers.stub.headers"] == ({"X-Title": SET}, {"X-Title": SET})
    assert seen["proxy.yml: admin_key"] == (SET, SET)
    assert seen["proxy.yml: retries.max_models"] == (3, 5)
    assert seen["proxy.yml: telemetry.trace.headers"] == ({"authorization": SET}, {"authorization": SET})
    assert seen["routing.yml: cache"][1]["ttl"] == 5.0
    assert not any(secret in str(seen) for secret in ("sk-", "hush", "hist"))


def test_a_provider_that_comes_is_shown_without_its_key(tmp_path: Path, old: Settings) -> None:
    new = written(tmp_path / "new", registry=SECRETIVE.replace("stub", "other"))
    seen = {each.path: each.new for each in differences(old, new)}
    provider = seen["model_registry.yml: providers.other"]
    assert (provider["api_key"], provider["headers"]) == (SET, {"X-Title": SET})
    assert registry(new)["providers"]["other"] == provider
    assert "sk-" not in str(seen) and "sk-" not in str(registry(new))


def test_the_registry_names_who_is_left_out_and_why(tmp_path: Path) -> None:
    text = SECRETIVE.replace("sk-upstream", "${NO_SUCH_KEY}")
    shown = registry(written(tmp_path / "config", registry=text))
    assert shown["left_out"] == [{"id": "one", "reason": "set NO_SUCH_KEY"}]
    assert shown["models"] == []
