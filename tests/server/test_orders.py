"""An operator's orders: what each command makes of them, and what is left of them after a restart."""

from __future__ import annotations

import pytest

from proxy.server.orders import Action, Command, Disabled, Forced, Orders, obey, restored, stored

NOW = 1000.0
OUT = Orders(disabled={"a": Disabled(500.0, 2000.0, "why", "eve")})
FORCED = Orders(forced={"a": Forced(Action.OPEN, 500.0, "eve")})


def command(action: Action, until: float | None = None, reason: str = "", model: str = "a") -> Command:
    return Command(action, model, "bob", until, reason)


@pytest.mark.parametrize(
    ("before", "given", "after", "changed"),
    [
        pytest.param(
            Orders(), command(Action.DISABLE), Orders(disabled={"a": Disabled(NOW, by="bob")}), True,
            id="a model is disabled",
        ),
        pytest.param(
            OUT, command(Action.DISABLE, 2000.0, "why"), OUT, False,
            id="the same again is nothing new",
        ),
        pytest.param(
            OUT, command(Action.DISABLE, 3000.0, "why"),
            Orders(disabled={"a": Disabled(NOW, 3000.0, "why", "bob")}), True,
            id="another end is another order",
        ),
        pytest.param(OUT, command(Action.ENABLE), Orders(), True, id="a model is enabled"),
        pytest.param(Orders(), command(Action.ENABLE), Orders(), False, id="one in service stays there"),
        pytest.param(
            Orders(disabled={"b": Disabled(1.0, 999.0)}), command(Action.ENABLE), Orders(), False,
            id="what has ended is forgotten on the way",
        ),
        pytest.param(
            Orders(), command(Action.OPEN), Orders(forced={"a": Forced(Action.OPEN, NOW, "bob")}), True,
            id="a circuit is forced open",
        ),
        pytest.param(FORCED, command(Action.OPEN), FORCED, False, id="open stays open, by whom it was"),
        pytest.param(
            FORCED, command(Action.CLOSE), Orders(forced={"a": Forced(Action.CLOSE, NOW, "bob")}), True,
            id="and may be closed by another",
        ),
        pytest.param(FORCED, command(Action.RESET), Orders(), True, id="a reset ends what is forced"),
        pytest.param(OUT, command(Action.RESET), OUT, True, id="but not what is disabled"),
    ],
)  # fmt: skip
def test_a_command(before: Orders, given: Command, after: Orders, changed: bool) -> None:
    ruling = obey(before, given, NOW)
    assert (ruling.orders, ruling.changed) == (after, changed)


def test_a_ruling_tells_what_was_and_what_is() -> None:
    ruling = obey(OUT, command(Action.DISABLE, None, "other"), NOW)
    assert ruling.old == OUT.disabled["a"]
    assert ruling.new == Disabled(NOW, None, "other", "bob")


def test_a_restart_keeps_who_is_disabled_and_nothing_else() -> None:
    both = Orders(OUT.disabled, FORCED.forced)
    assert restored(stored(both), NOW) == OUT
    assert restored(stored(both), 2000.0) == Orders()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"disabled": {"a": ', id="half of it"),
        pytest.param(b'{"disabled": {"a": {"since": "now"}}}', id="a word for a time"),
        pytest.param(b'{"disabled": {}, "version": 2}', id="a newer version"),
        pytest.param(b"\xff", id="no text"),
    ],
)
def test_what_makes_no_sense_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        restored(data, NOW)
