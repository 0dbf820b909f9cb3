"""Circuits, case by case: what opens one, what closes it, and what must not move it."""

from __future__ import annotations

from math import inf

import pytest

from proxy.dispatch.breaker import Breakers, Override, Permit, Refusal, State
from proxy.dispatch.policy import BreakerPolicy
from proxy.providers.failure import Effect

MODEL = "groq/llama"


class House:
    """Breakers with a clock to turn and a die that always shows the middle: no jitter."""

    def __init__(self, policy: BreakerPolicy | None = None) -> None:
        self.now = 1000.0
        self.die = 0.5
        self.moves: list[tuple[str, str, str]] = []
        self.breakers = Breakers(policy or BreakerPolicy(), lambda: self.now, lambda: self.die, self._listen)

    def _listen(self, model: str, old: State, new: State, reason: str) -> None:
        self.moves.append((old.value, new.value, reason))

    def permit(self) -> Permit:
        permit = self.breakers.admit(MODEL)
        assert isinstance(permit, Permit), permit
        return permit

    def refusal(self) -> Refusal:
        refusal = self.breakers.admit(MODEL)
        assert isinstance(refusal, Refusal)
        return refusal

    def play(self, results: str) -> None:
        """`.` a success, `x` a failure, `4` no such model, `-` nothing learned."""
        for result in results:
            permit = self.permit()
            match result:
                case ".":
                    permit.success()
                case "x":
                    permit.failure(Effect.FAILURE)
                case "4":
                    permit.failure(Effect.SECOND)
                case "-":
                    permit.failure(Effect.NEUTRAL)

    @property
    def state(self) -> str:
        return self.breakers.snapshot()[MODEL].state.value


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.parametrize(
    ("results", "state"),
    [
        pytest.param("xxxx", "closed", id="four failures in a row do nothing"),
        pytest.param("xxxxx", "open", id="five failures in a row open"),
        pytest.param("xxxx.xxxx", "closed", id="a success ends the row, and nine results are too few"),
        pytest.param("xxxx.xxxx.", "open", id="eight failures of ten open, whatever came last"),
        pytest.param("......" + "xxxx" + "", "closed", id="four failures of ten stay closed"),
        pytest.param("....." + "xxxx" + ".x", "closed", id="five failures of eleven stay closed"),
        pytest.param(".x.x.x.x.x", "open", id="every other of ten opens"),
        pytest.param("xx--xx-x", "open", id="neutral results don't end the row"),
        pytest.param("----------", "closed", id="neutral results are no results"),
        pytest.param("4", "closed", id="no such model, once, does nothing"),
        pytest.param("44", "open", id="no such model, twice in a row, opens"),
        pytest.param("4.4", "closed", id="no such model, twice with a success between, does nothing"),
        pytest.param("4x4", "closed", id="no such model, twice with another failure between, does nothing"),
        pytest.param("4-4", "open", id="no such model, twice with a neutral result between, opens"),
    ],
)
def test_results_open(house: House, results: str, state: str) -> None:
    house.play(results)
    assert house.state == state


@pytest.mark.parametrize(
    ("effect", "reason", "seconds"),
    [
        pytest.param(
            Effect.OPEN_AUTH, "key_refused", 600.0, id="a refused key opens at once for ten minutes"
        ),
        pytest.param(
            Effect.OPEN_QUOTA, "quota_exhausted", 300.0, id="an empty purse opens at once for five minutes"
        ),
    ],
)
def test_long_openings(house: House, effect: Effect, reason: str, seconds: float) -> None:
    house.permit().failure(effect)
    assert house.refusal() == Refusal(reason, seconds)
    house.now += seconds
    house.permit().failure(effect)
    assert house.refusal() == Refusal(reason, seconds)


def test_failures_a_minute_apart_are_not_counted_together(house: House) -> None:
    house.play("....xxxx")
    house.now += 61
    house.play(".xx")
    assert house.breakers.snapshot()[MODEL].window_results == 3
    assert house.state == "closed"


def test_each_opening_in_a_row_is_longer_up_to_the_cap(house: House) -> None:
    house.play("xxxxx")
    openings = []
    for _ in range(5):
        openings.append(house.refusal().retry_after)
        house.now += openings[-1]
        house.play("x")
    assert openings == [5, 10, 15, 15, 15]


def test_health_shortens_the_next_opening(house: House) -> None:
    house.play("xxxxx")
    for _ in range(2):
        house.now += 15
        house.play("x")
    house.now += 15
    house.play("..")
    house.now += 120
    house.play("xxxxx")
    assert house.refusal().retry_after == 10


@pytest.mark.parametrize(
    ("die", "seconds"),
    [pytest.param(0.0, 4.5, id="ten per cent less"), pytest.param(1.0, 5.5, id="ten per cent more")],
)
def test_openings_are_jittered(house: House, die: float, seconds: float) -> None:
    house.die = die
    house.play("xxxxx")
    assert house.refusal().retry_after == pytest.approx(seconds)


def test_half_open_lends_one_permit_at_a_time_and_two_successes_close(house: House) -> None:
    house.play("xxxxx")
    house.now += 5
    assert house.breakers.available(MODEL)
    probe = house.permit()
    assert house.refusal().reason == "probe_in_flight"
    assert not house.breakers.available(MODEL)
    probe.success()
    assert house.state == "half_open"
    house.permit().success()
    assert house.state == "closed"
    assert [move[:2] for move in house.moves] == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
    ]
    assert house.moves[0][2] == "5 failures in a row"


def test_a_closed_again_circuit_starts_with_an_empty_window(house: House) -> None:
    house.play("xxxxx")
    house.now += 5
    house.play(".." + "........xx")
    assert house.state == "closed"
    view = house.breakers.snapshot()[MODEL]
    assert (view.window_failures, view.window_results) == (2, 10)


def test_one_failure_reopens(house: House) -> None:
    house.play("xxxxx")
    house.now += 5
    house.play(".x")
    assert house.refusal() == Refusal("circuit_open", 10.0)


@pytest.mark.parametrize("settle", ["neutral", "effect"])
def test_a_probe_that_learned_nothing_gives_its_place_back(house: House, settle: str) -> None:
    house.play("xxxxx")
    house.now += 5
    probe = house.permit()
    if settle == "neutral":
        probe.neutral()
    else:
        probe.failure(Effect.NEUTRAL)
    house.permit()
    assert house.state == "half_open"


def test_a_lost_probe_gives_its_place_back_when_its_lease_ends(house: House) -> None:
    house.play("xxxxx")
    house.now += 5
    lost = house.permit()
    house.now += 59
    assert house.refusal().reason == "probe_in_flight"
    house.now += 1
    late = house.permit()
    lost.neutral()
    assert house.refusal().reason == "probe_in_flight", "a lost probe's end is not the later one's"
    late.success()


def test_results_from_before_a_change_move_nothing(house: House) -> None:
    before = [house.permit() for _ in range(12)]
    house.play("xxxxx")
    before[0].failure(Effect.OPEN_AUTH)
    assert house.refusal() == Refusal("circuit_open", 5.0)
    house.now += 5
    probe = house.permit()
    for permit in before[1:6]:
        permit.success()
    assert house.state == "half_open"
    probe.success()
    house.permit().success()
    for permit in before[6:]:
        permit.failure(Effect.FAILURE)
    assert house.state == "closed"


def test_a_permit_counts_once(house: House) -> None:
    permit = house.permit()
    for _ in range(10):
        permit.failure(Effect.FAILURE)
    permit.neutral()
    permit.success()
    assert house.breakers.snapshot()[MODEL].failures == 1


class TestGate:
    def test_it_shuts_apart_from_the_circuit(self, house: House) -> None:
        house.permit().failure(Effect.NEUTRAL, 2.0)
        assert house.refusal() == Refusal("throttled", 2.0)
        assert house.state == "closed"
        assert house.breakers.snapshot()[MODEL].throttled_for == 2.0
        house.now += 2
        house.play(".")

    def test_a_shorter_wait_never_shortens_it(self, house: House) -> None:
        house.breakers.throttle(MODEL, 30)
        house.breakers.throttle(MODEL, 1)
        assert house.refusal().retry_after == 30

    def test_it_knows_what_shut_it(self, house: House) -> None:
        house.permit().failure(Effect.NEUTRAL, 3.0, "overloaded")
        assert house.refusal() == Refusal("overloaded", 3.0)
        house.breakers.throttle(MODEL, 2.0)
        assert house.refusal() == Refusal("overloaded", 3.0), "the other would have let go sooner"
        house.breakers.throttle(MODEL, 30.0)
        assert house.refusal() == Refusal("throttled", 30.0)

    def test_a_late_result_shuts_it_all_the_same(self, house: House) -> None:
        late = house.permit()
        house.play("xxxxx")
        late.failure(Effect.FAILURE, 40.0)
        assert house.refusal() == Refusal("throttled", 40.0)

    def test_the_longer_of_gate_and_circuit_is_told(self, house: House) -> None:
        house.breakers.throttle(MODEL, 3)
        for permit in [Permit(house.breakers._circuit(MODEL)) for _ in range(5)]:
            permit.failure(Effect.FAILURE)
        assert house.refusal() == Refusal("circuit_open", 5.0)


class TestProbeAnyway:
    def test_one_at_a_time_before_the_opening_has_passed(self, house: House) -> None:
        house.play("xxxxx")
        assert house.breakers.probe_anyway(MODEL) is not None
        assert house.breakers.probe_anyway(MODEL) is None
        house.now += 5
        assert house.refusal().reason == "probe_in_flight"

    def test_a_success_makes_it_half_open(self, house: House) -> None:
        house.play("xxxxx")
        probe = house.breakers.probe_anyway(MODEL)
        assert probe is not None
        probe.success()
        assert house.state == "half_open"
        house.play(".")
        assert house.state == "closed"

    def test_a_failure_opens_anew(self, house: House) -> None:
        house.play("xxxxx")
        house.now += 4
        probe = house.breakers.probe_anyway(MODEL)
        assert probe is not None
        probe.failure(Effect.FAILURE)
        assert house.refusal().retry_after == 10

    def test_learning_nothing_leaves_it_as_it_was(self, house: House) -> None:
        house.play("xxxxx")
        house.now += 1
        probe = house.breakers.probe_anyway(MODEL)
        assert probe is not None
        probe.neutral()
        assert house.refusal() == Refusal("circuit_open", 4.0)

    def test_not_while_the_upstream_asks_for_patience_or_an_operator_forbids(self, house: House) -> None:
        house.breakers.throttle(MODEL, 3)
        assert house.breakers.probe_anyway(MODEL) is None
        house.breakers.reset(MODEL)
        house.breakers.force_open(MODEL)
        assert house.breakers.probe_anyway(MODEL) is None

    def test_the_least_bad_is_the_one_that_opens_next_and_refused_keys_come_last(self, house: House) -> None:
        breakers = house.breakers

        def shut(model: str, effect: Effect, times: int = 1) -> None:
            for _ in range(times):
                permit = breakers.admit(model)
                assert isinstance(permit, Permit)
                permit.failure(effect)

        shut("key", Effect.OPEN_AUTH)
        shut("early", Effect.FAILURE, 5)
        house.now += 1
        shut("late", Effect.FAILURE, 5)
        breakers.throttle("limited", 1)
        assert breakers.least_bad(["limited", "key", "late", "early"]) == "early"
        assert breakers.least_bad(["limited", "key", "late"]) == "late"
        assert breakers.least_bad(["limited", "key"]) == "key"
        assert breakers.least_bad(["limited"]) is None
        assert breakers.least_bad([]) is None

    def test_while_one_is_probed_no_other_is(self, house: House) -> None:
        breakers = house.breakers
        for model in ("early", "late"):
            for _ in range(5):
                permit = breakers.admit(model)
                assert isinstance(permit, Permit)
                permit.failure(Effect.FAILURE)
        probe = breakers.probe_anyway("early")
        assert probe is not None
        assert breakers.least_bad(["early", "late"]) is None
        assert breakers.least_bad(["late"]) == "late", "another call's candidates"
        probe.failure(Effect.FAILURE)
        assert breakers.least_bad(["early", "late"]) == "late"


class TestOperator:
    @pytest.mark.parametrize(
        ("decide", "undo", "reason"),
        [("force_open", "reset", "forced_open"), ("disable", "enable", "disabled")],
    )
    def test_a_shut_model_is_refused_until_that_is_undone(
        self, house: House, decide: str, undo: str, reason: str
    ) -> None:
        getattr(house.breakers, decide)(MODEL)
        house.now += 10_000
        assert house.refusal().reason == reason
        assert house.breakers.obstacle(MODEL) == reason.replace("_", " ")
        assert not house.breakers.available(MODEL)
        assert house.breakers.least_bad([MODEL]) is None
        getattr(house.breakers, undo)(MODEL)
        assert house.breakers.obstacle(MODEL) == ""
        house.play(".")

    def test_a_reader_is_told_how_long_it_will_last(self, house: House) -> None:
        house.breakers.throttle(MODEL, 12.5)
        house.now += 2
        assert house.breakers.obstacle(MODEL) == "throttled, 10.5 s left"
        house.breakers.disable(MODEL, 60)
        assert house.breakers.obstacle(MODEL) == "disabled, 60.0 s left"

    def test_a_disabled_model_comes_back_by_itself(self, house: House) -> None:
        house.breakers.disable(MODEL, 60.0)
        house.now += 59.0
        assert (house.refusal().reason, house.refusal().retry_after) == ("disabled", 1.0)
        house.now += 1.0
        house.play(".")

    def test_a_disabled_model_can_be_disabled_for_less(self, house: House) -> None:
        house.breakers.disable(MODEL)
        assert house.refusal().retry_after == inf
        house.breakers.disable(MODEL, 5.0)
        assert house.refusal().retry_after == 5.0

    def test_what_a_circuit_has_learned_outlasts_being_disabled(self, house: House) -> None:
        house.play("xxxxx")
        house.breakers.disable(MODEL)
        house.breakers.enable(MODEL)
        assert house.state == "open"

    def test_a_reset_circuit_is_still_disabled(self, house: House) -> None:
        house.breakers.disable(MODEL)
        house.breakers.reset(MODEL)
        assert house.refusal().reason == "disabled"
        assert house.breakers.snapshot()[MODEL].disabled

    def test_forced_closed_heeds_no_failure(self, house: House) -> None:
        house.play("xxxxx")
        house.breakers.force_close(MODEL)
        house.play("xxxxxxxxxx")
        assert house.state == "closed"
        assert house.breakers.snapshot()[MODEL].override is Override.CLOSED
        house.breakers.reset(MODEL)
        house.play("xxxxx")
        assert house.state == "open"

    def test_reset_forgets_openings_and_gate(self, house: House) -> None:
        house.play("xxxxx")
        house.breakers.throttle(MODEL, 100)
        house.breakers.reset(MODEL)
        house.play("xxxxx")
        assert house.refusal().retry_after == 5

    def test_reset_forgets_an_unknown_model(self, house: House) -> None:
        house.play("4")
        house.breakers.reset(MODEL)
        house.play("4")
        assert house.state == "closed"


class TestReload:
    def test_kept_models_keep_their_circuit_and_removed_ones_go(self, house: House) -> None:
        house.play("xxxxx")
        house.breakers.admit("other")
        house.breakers.retain([MODEL])
        assert list(house.breakers.snapshot()) == [MODEL]
        assert house.state == "open"
        house.breakers.retain([])
        house.play(".")

    def test_a_removed_models_permits_move_nothing(self, house: House) -> None:
        permits = [house.permit() for _ in range(5)]
        house.breakers.retain([])
        for permit in permits:
            permit.failure(Effect.FAILURE)
        assert house.moves == []

    def test_a_refused_key_is_tried_again(self, house: House) -> None:
        house.permit().failure(Effect.OPEN_AUTH)
        house.breakers.retain([MODEL])
        house.play("..")
        assert house.state == "closed"


def test_the_view_tells_the_outage_in_full(house: House) -> None:
    house.play("..xxxxx")
    house.now += 5
    view = house.breakers.snapshot()[MODEL]
    assert (view.state, view.failures, view.openings) == (State.HALF_OPEN, 5, 1)
    assert (view.window_failures, view.window_results, view.opened_for) == (5, 7, 5.0)
    assert (view.retry_after, view.reason) == (0.0, "5 failures in a row")


def test_a_model_never_seen_is_available_without_a_trace(house: House) -> None:
    assert house.breakers.available("never")
    assert house.breakers.obstacle("never") == ""
    assert house.breakers.snapshot() == {}


def test_only_those_that_are_shut_among_the_models_asked_for_are_named(house: House) -> None:
    every = frozenset({MODEL, "other", "third"})
    assert house.breakers.shut(every) == frozenset()
    house.play("xxxxx")
    house.breakers.throttle("other", 2.0)
    assert house.breakers.shut(every) == {MODEL, "other"}
    assert house.breakers.shut(frozenset({"other", "third"})) == {"other"}
    house.now += 2.0
    assert house.breakers.shut(every) == {MODEL}
    house.now += 3.0
    assert house.breakers.shut(every) == frozenset()


def test_a_model_that_went_and_came_back_is_not_shut_by_what_happened_before(house: House) -> None:
    late = house.permit()
    house.breakers.retain([])
    house.permit()
    late.failure(Effect.FAILURE, retry_after=60.0)
    assert house.breakers.shut(frozenset({MODEL})) == frozenset()
