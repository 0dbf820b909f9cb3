"""What lasting evidence moves: soon when a model gets worse, back when it recovers, never by noise."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf
from typing import NamedTuple

import msgspec
import pytest
from msgspec.structs import replace

from proxy.routing.adapt import SURE, Adapt, Lesson, Seen, Shift, Signal, divergence
from proxy.routing.policy import AdaptPolicy
from proxy.routing.standing import Stand, swiftness

ON = AdaptPolicy(enabled=True)
Move = tuple[int, str, Signal, float]


class Model(NamedTuple):
    """How a simulated model behaves."""

    answers: float = 0.97
    """Share of its attempts."""
    typical: float = 2.0
    """Seconds to an answer; log-normal, as such times are."""
    pleases: float = 0.8
    """Share of the feedback that is good."""


class World:
    """Attempts at simulated models, and what is made of them."""

    def __init__(self, seed: int, policy: AdaptPolicy = ON, every: float = 1.0) -> None:
        self.now = 1000.0
        self.calls = 0
        self.moves: list[Move] = []
        self.random = random.Random(seed)
        self._every = every
        self.adapt = Adapt(policy, lambda: self.now, self._moved)

    def _moved(self, model: str, signal: Signal, before: float, shift: Shift) -> None:
        self.moves.append((self.calls, model, signal, shift.by))

    def call(self, name: str, model: Model = Model(), feedback: float = 0.25) -> None:  # noqa: B008
        self.calls += 1
        self.now += self._every
        ok = self.random.random() < model.answers
        ttft = model.typical * self.random.lognormvariate(0.0, 0.5)
        self.adapt.attempted(name, ok, ttft if ok else None, None)
        if ok and self.random.random() < feedback:
            good = self.random.random() < model.pleases
            self.adapt.observe(name, Signal.QUALITY, float(good))


def run(world: World, name: str, model: Model, calls: int) -> list[Move]:
    before = len(world.moves)
    for _ in range(calls):
        world.call(name, model)
    return world.moves[before:]


@pytest.mark.parametrize("every", [0.1, 1.0, 10.0], ids=lambda s: f"a call in {s:g} s")
@pytest.mark.parametrize(
    "model", [Model(), Model(0.9, 6.0, 0.5), Model(1.0, 0.3, 0.95)], ids=["usual", "poor", "excellent"]
)
def test_noise_moves_nothing(every: float, model: Model) -> None:
    for seed in range(4):
        assert run(World(seed, every=every), "m", model, 4000) == []


WORSE = [
    pytest.param(Model(answers=0.4), Signal.SUCCESS, id="more than half of its attempts fail"),
    pytest.param(Model(typical=8.0), Signal.LATENCY, id="it takes four times as long"),
]


@pytest.mark.parametrize(("worse", "signal"), WORSE)
def test_a_degraded_model_is_found_within_50_calls_and_trusted_again_soon(
    worse: Model, signal: Signal
) -> None:
    for seed in range(10):
        world = World(seed)
        run(world, "m", Model(), 1000)
        found = run(world, "m", worse, 50)
        assert [(name, what) for _, name, what, by in found[:1] if by <= -0.1] == [("m", signal)]
        run(world, "m", worse, 300)
        assert -ON.bound <= world.adapt.shift("m", signal) <= -0.1
        run(world, "m", Model(), 120)
        assert world.adapt.standing() == {}


def test_feedback_moves_quality_by_what_callers_say_of_all_models() -> None:
    for seed in range(10):
        world = World(seed)
        for _ in range(1000):
            world.call("liked", Model(pleases=0.8))
            world.call("other", Model(pleases=0.8))
        run(world, "other", Model(pleases=0.2), 400)
        assert world.adapt.shift("other", Signal.QUALITY) <= -0.1
        assert world.adapt.shift("liked", Signal.QUALITY) == 0.0


def traffic(world: World, models: dict[str, Model], calls: int, worth: dict[str, float]) -> list[str]:
    """Calls go to the best by worth and shifts; a share of them looks past the shifts."""
    asked = []
    for _ in range(calls):
        moved = world.adapt.standing()
        explores = moved and world.random.random() < ON.explore
        counted = {} if explores else moved
        totals = {name: value + sum(counted.get(name, ())) for name, value in worth.items()}
        asked.append(max(totals, key=totals.__getitem__))
        world.call(asked[-1], models[asked[-1]])
    return asked


@pytest.mark.parametrize(("worse", "_signal"), WORSE)
def test_calls_leave_a_degraded_model_and_come_back_after_its_recovery(worse: Model, _signal: Signal) -> None:
    worth, good = {"first": 1.0, "second": 0.92}, {"first": Model(), "second": Model()}
    for seed in range(5):
        world = World(seed, every=0.5)
        assert set(traffic(world, good, 1000, worth)) == {"first"}
        while_bad = traffic(world, {**good, "first": worse}, 1500, worth)
        assert while_bad[:50].count("second") > 0
        assert while_bad.count("first") < 100  # fifty to find it, the others to look whether it lasts
        after = traffic(world, good, 3000, worth)
        assert after[-100:].count("first") == 100


def test_a_shift_fades_where_nothing_is_seen_any_more() -> None:
    world = World(1)
    run(world, "m", Model(), 500)
    run(world, "m", Model(answers=0.2), 100)
    assert world.adapt.standing()["m"].success < -0.2
    world.now += 6 * ON.half_life
    assert world.adapt.standing() == {}


def test_frozen_nothing_moves_and_reset_forgets() -> None:
    world = World(1)
    run(world, "m", Model(), 500)
    world.adapt.retain(["m"], replace(ON, frozen=True))
    assert run(world, "m", Model(answers=0.2), 100) == []
    world.adapt.retain(["m"], ON)
    assert run(world, "m", Model(answers=0.2), 1) != []
    world.adapt.reset("another")
    assert world.adapt.standing() != {}
    world.adapt.reset("m")
    assert world.adapt.standing() == {}
    assert world.moves[-1][1:] == ("m", Signal.SUCCESS, 0.0)


@pytest.mark.parametrize(
    ("ids", "policy", "left"),
    [
        pytest.param(["m"], ON, True, id="a model that stays keeps its shift"),
        pytest.param(["other"], ON, False, id="one that goes is forgotten"),
        pytest.param(["m"], replace(ON, enabled=False), False, id="switched off, all are forgotten"),
    ],
)
def test_a_reload(ids: list[str], policy: AdaptPolicy, left: bool) -> None:
    world = World(1)
    run(world, "m", Model(), 500)
    run(world, "m", Model(answers=0.2), 100)
    world.adapt.retain(ids, policy)
    assert bool(world.adapt.standing()) is left


def test_switched_off_nothing_is_kept() -> None:
    world = World(1, AdaptPolicy())
    run(world, "m", Model(), 500)
    assert run(world, "m", Model(answers=0.0), 500) == [] and world.adapt.shifts() == {}


@pytest.mark.parametrize(
    ("field", "value", "least", "most"), [("bound", 0.15, -0.15, -0.15), ("gain", 0.2, -0.2, -0.1)]
)
def test_bound_and_gain_limit_it(field: str, value: float, least: float, most: float) -> None:
    world = World(1, replace(ON, **{field: value}))
    run(world, "m", Model(), 500)
    run(world, "m", Model(answers=0.1), 100)
    (moved,) = world.adapt.standing().values()
    assert least <= moved.success <= most and (moved.latency, moved.quality) == (0.0, 0.0)


def test_every_signal_is_a_term_and_has_a_test_of_its_own() -> None:
    assert set(SURE) == set(Signal) == set(Stand._fields) - {"first"}


@pytest.mark.parametrize(
    ("signal", "seen", "usual", "sure"),
    [
        pytest.param(Signal.SUCCESS, (0.0, 0.0, 5), (0.97, 0.1), True, id="five failures in a row"),
        pytest.param(Signal.SUCCESS, (0.8, 0.4, 10), (0.97, 0.1), False, id="two of ten failed"),
        pytest.param(Signal.SUCCESS, (1.0, 0.0, 10), (1.0, 0.0), False, id="as ever"),
        pytest.param(Signal.LATENCY, (0.5, 0.1, 4), (0.6, 0.1), False, id="a spread, four times"),
        pytest.param(Signal.LATENCY, (0.3, 0.1, 4), (0.6, 0.1), True, id="three spreads, four times"),
        pytest.param(Signal.LATENCY, (0.59, 0.0, 20), (0.6, 0.0), False, id="values without a spread"),
        pytest.param(Signal.QUALITY, (0.0, 0.0, 0), (0.6, 0.1), False, id="nothing seen"),
    ],
)
def test_what_is_sure(
    signal: Signal, seen: tuple[float, float, float], usual: tuple[float, float], sure: bool
) -> None:
    assert SURE[signal](Seen(*seen), Seen(*usual, 500.0), 13.8) is sure


@pytest.mark.parametrize(
    ("p", "q", "nats"), [(0.5, 0.5, 0.0), (0.0, 0.5, 0.693147), (1.0, 0.5, 0.693147), (0.2, 0.6, 0.334795)]
)
def test_divergence(p: float, q: float, nats: float) -> None:
    assert divergence(p, q) == pytest.approx(nats, abs=1e-6)


def test_swiftness_is_a_half_at_three_seconds() -> None:
    slow: Callable[[float], float] = lambda ttft: swiftness(ttft, None)  # noqa: E731
    assert (swiftness(3.0, None), swiftness(0.0, 100.0), slow(inf)) == (0.5, 0.5, 0.0)


# --- what a process that begins learns of another --------------------------------------------------


def taught(world: World) -> World:
    """Another process, on a clock of its own, which was told all that this one knows."""
    other = World(7)
    other.now = 5.0
    told = msgspec.msgpack.decode(msgspec.msgpack.encode(world.adapt.lessons()), type=list[Lesson])
    other.adapt.learn(told)
    return other


def test_who_begins_goes_on_from_there() -> None:
    one = World(3)
    run(one, "good", Model(), 400)
    run(one, "bad", Model(), 400)
    run(one, "bad", Model(0.4, 8.0, 0.2), 60)
    other = taught(one)
    assert {(model, signal) for _, model, signal, _ in other.moves} == {
        (model, signal) for model, shifts in one.adapt.shifts().items() for signal in shifts
    }
    assert other.adapt.shifts() == one.adapt.shifts() != {}
    for number in range(200):
        for world in (one, other):
            world.now += 1.0
            world.adapt.attempted("bad", number % 3 > 0, 2.0, None)
            world.adapt.observe("good", Signal.QUALITY, float(number % 2))
        ours, theirs = one.adapt.standing(), other.adapt.standing()
        assert ours.keys() == theirs.keys()
        for model, stand in ours.items():
            assert theirs[model] == pytest.approx(stand)


def test_what_was_seen_here_counts_more_than_what_is_told() -> None:
    one, other = World(3), World(4)
    run(one, "m", Model(0.1), 100)
    run(other, "m", Model(), 100)
    before = other.adapt.lessons()
    other.adapt.learn(one.adapt.lessons())
    assert other.adapt.lessons() == before


def test_nothing_is_learned_where_nothing_is_adapted() -> None:
    one, off = World(3), World(4, AdaptPolicy())
    run(one, "m", Model(0.1), 100)
    off.adapt.learn(one.adapt.lessons())
    assert off.adapt.lessons() == [] and off.adapt.standing() == {}
