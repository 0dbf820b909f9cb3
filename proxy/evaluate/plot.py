"""The quality-cost plane of a scorecard as SVG: readable in light and dark, without a script.

quality                 o oracle
  |          ,--*------ strong       curves: weak to strong, by difficulty, by length, by chance
  |      ,--'           o router     points: each policy that chooses a model for each ask
  |  weak
  +--------------------- USD per 1,000 asks
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from math import floor, log10

from msgspec import Struct

from proxy.evaluate.policies import Point
from proxy.evaluate.scorecard import ALWAYS, DIAL, DIFFICULTY, LENGTH, ORACLE, RANDOM, Scorecard

WIDTH, HEIGHT = 900, 560
LEFT, RIGHT, TOP, BOTTOM = 70, 290, 46, 54
"""What surrounds the plane: the axes' numbers, and on the right the names of curves and points."""

_VERTICES = 240
"""Vertices a curve keeps; more can't be seen."""

_CURVES = {DIFFICULTY: "difficulty", LENGTH: "length", RANDOM: "chance", ORACLE: "oracle", DIAL: "dial"}
"""Policy -> the class of its line."""

_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .soft { fill: #57606a }
  .head { font-size: 15px; font-weight: 600 }
  .number { font-size: 10px; fill: #fff }
  .back { fill: #fff }
  .grid { stroke: #d8dee4 }
  .axis { stroke: #8c959f }
  .curve { fill: none; stroke-width: 2; stroke-linejoin: round }
  .difficulty { stroke: #0969da }
  .length { stroke: #bc4c00 }
  .chance { stroke: #8c959f; stroke-dasharray: 5 4 }
  .oracle { stroke: #1a7f37 }
  .dial { stroke: #cf222e }
  .dot { stroke: #fff; stroke-width: 1.5 }
  .plain { fill: #6e7781 }
  .router { fill: #cf222e }
  .best { fill: #1a7f37 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .soft { fill: #9198a1 }
    .number { fill: #0d1117 }
    .back { fill: #0d1117 }
    .grid { stroke: #2a313c }
    .axis { stroke: #656c76 }
    .difficulty { stroke: #4493f8 }
    .length { stroke: #f0883e }
    .chance { stroke: #9198a1 }
    .oracle { stroke: #3fb950 }
    .dial { stroke: #ff7b72 }
    .dot { stroke: #0d1117 }
    .plain { fill: #9198a1 }
    .router { fill: #ff7b72 }
    .best { fill: #3fb950 }
  }
"""


class Plane(Struct, frozen=True):
    """What part of the plane is shown, and where a point of it is drawn."""

    cost: tuple[float, float]
    """USD per 1,000 asks, from left to right."""
    quality: tuple[float, float]
    """From the bottom up."""

    def place(self, point: Point) -> tuple[float, float]:
        """In pixels."""
        return self.across(1000.0 * point.cost), self.up(point.quality)

    def across(self, cost: float) -> float:
        """Pixels from the left edge."""
        low, high = self.cost
        return LEFT + (WIDTH - LEFT - RIGHT) * (cost - low) / (high - low)

    def up(self, quality: float) -> float:
        """Pixels from the upper edge."""
        low, high = self.quality
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (quality - low) / (high - low)


def svg(card: Scorecard) -> str:
    """The whole picture."""
    plane = _plane(card)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(_title(card))}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{HEIGHT}"/>',
        _text(LEFT, 24, _title(card), "head"),
        *_axes(plane),
        *_curves(card, plane),
        *_points(card, plane),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers within bounds, about so many."""
    raw = (high - low) / about
    size = 10.0 ** floor(log10(raw))
    step = next(size * factor for factor in (1.0, 2.0, 5.0, 10.0) if size * factor >= raw)
    first, last = -floor(-low / step), floor(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _title(card: Scorecard) -> str:
    return f"Quality and cost of {card.rows:,} asks, {card.weak} to {card.strong}"


def _plane(card: Scorecard) -> Plane:
    """Holds the curves, the router and the oracle, and whoever else is no worse than the weak model by more
    than a third of that."""
    curves = [point for curve in card.traced.values() for point in curve]
    chosen = [point for policy, point in card.chosen.items() if _style(policy) != "plain"]
    points = [*curves, *chosen]
    top, base = (pick(point.quality for point in points) for pick in (max, min))
    low = base - (top - base) / 3.0
    points += [point for point in card.chosen.values() if point.quality >= low]
    costs, qualities = [1000.0 * point.cost for point in points], [point.quality for point in points]
    return Plane(_padded(min(costs), max(costs)), _padded(min(qualities), max(qualities)))


def _padded(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.06 or abs(high) * 0.06 or 1.0
    return max(0.0, low - room), high + room


def _axes(plane: Plane) -> Iterator[str]:
    base, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in ticks(*plane.quality):
        y = plane.up(value)
        yield _line("grid", [(LEFT, y), (end, y)])
        yield _text(LEFT - 8, y + 4, f"{value:g}", "soft", "end")
    for value in ticks(*plane.cost):
        x = plane.across(value)
        yield _line("grid", [(x, TOP), (x, base)])
        yield _text(x, base + 18, f"{value:g}", "soft", "middle")
    yield _line("axis", [(LEFT, base), (end, base)])
    yield _text((LEFT + end) / 2, base + 40, "USD per 1,000 asks", "soft", "middle")
    yield _text(14, TOP - 8, "quality", "soft")


def _curves(card: Scorecard, plane: Plane) -> Iterator[str]:
    """The lines, and their names with APGR per dollar on the right."""
    drawn = [(policy, style) for policy, style in _CURVES.items() if policy in card.traced]
    for place, (policy, style) in enumerate(drawn):
        curve = card.traced[policy]
        kept = curve[:: max(1, len(curve) // _VERTICES)] + curve[-1:]
        yield _line(f"curve {style}", map(plane.place, kept))
        x, y = WIDTH - RIGHT + 16, TOP + 14 + 38 * place
        yield _line(f"curve {style}", [(x, y - 4), (x + 22, y - 4)])
        yield _text(x + 30, y, f"by {policy}" if policy in (DIFFICULTY, LENGTH) else policy)
        share = card.curves[policy]["apgr_per_dollar"].value
        if share is not None:
            yield _text(x + 30, y + 15, f"{share:.3f} APGR per dollar", "soft")


def _points(card: Scorecard, plane: Plane) -> Iterator[str]:
    """Numbered dots, and on the right whose number it is. Who is far worse than the weak model is named only:
    a plane that shows them all shows nothing of the curves."""
    named = {policy: point for policy, point in card.chosen.items() if not policy.startswith(DIAL)}
    ranked = sorted(named.items(), key=lambda item: -item[1].quality)
    for number, (policy, point) in enumerate(ranked, start=1):
        x, y = plane.place(point)
        if LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM:
            yield f'<circle class="dot {_style(policy)}" cx="{x:.1f}" cy="{y:.1f}" r="8"/>'
            yield _text(x, y + 3.5, str(number), "number", "middle")
        x, y = WIDTH - RIGHT + 16, TOP + 38 * len(card.traced) + 20 + 18 * (number - 1)
        yield _text(x + 14, y, str(number), "soft", "end")
        yield _text(x + 22, y, f"{policy.removeprefix(ALWAYS)}  {point.quality:.3f}")


def _style(policy: str) -> str:
    if policy == ORACLE:
        return "best"
    return "plain" if policy == RANDOM or policy.startswith(ALWAYS) else "router"


def _line(style: str, places: Iterable[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline class="{style}" points="{path}"/>'


def _text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
