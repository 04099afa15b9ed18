"""Charts as paths of SVG: made here, drawn by the template `chart.html`, styled by the style sheet.

Called by `web.views`. Always holds: pure; a path has as many points as the series, in a box of `WIDTH` by `HEIGHT` that
the page stretches, so that words stand beside it and not in it; an unknown value leaves a gap.
"""

from collections.abc import Sequence
from math import floor, log10

import attrs

WIDTH = 600
HEIGHT = 100


@attrs.frozen
class Series:
    """The values of one line; `name` is for the legend.

    `tone` is a colour of the style sheet: ok, bad, one, two, three.
    """

    name: str
    tone: str
    values: Sequence[float | None]


@attrs.frozen
class Line:
    """A series as paths: `line`, and `area` below it down to zero."""

    name: str
    tone: str
    line: str
    area: str


@attrs.frozen
class Chart:
    """What a template draws; `top` is the value at the upper edge, 0 at the lower; `summary` is for screen readers.

    `latest` has the newest known value of each series. `is_empty`: no value is known and above 0.
    """

    title: str
    unit: str
    top: float
    lines: tuple[Line, ...]
    summary: str
    latest: tuple[float | None, ...]
    is_empty: bool


def chart(title: str, unit: str, series: Sequence[Series], over: str) -> Chart:
    """Return a chart of these series, which have equally many values, the newest last.

    `over` says which time they span.
    """
    known = [value for one in series for value in one.values if value is not None]
    top = rounded_up(max(known, default=0.0))
    latest = tuple(next((value for value in reversed(one.values) if value is not None), None) for one in series)
    return Chart(
        title=title,
        unit=unit,
        top=top,
        lines=tuple(Line(one.name, one.tone, *_paths(one.values, top)) for one in series),
        summary=_summary(series, unit, over),
        latest=latest,
        is_empty=not any(known),
    )


def rounded_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50, …, at least 1, so that the scale is readable and seldom changes."""
    if value <= 1:
        return 1.0
    step = 10.0 ** floor(log10(value))
    return next((step * factor for factor in (1, 2, 5) if step * factor >= value), step * 10)


def _paths(values: Sequence[float | None], top: float) -> tuple[str, str]:
    """Return the paths of the line and of the area below it.

    They have whole numbers: a tenth of a pixel is not visible, and pages are sent every two seconds.
    """
    across = WIDTH / max(1, len(values) - 1)
    runs: list[list[tuple[int, int]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((round(place * across), HEIGHT - round(HEIGHT * min(value, top) / top)))
    drawn = [run for run in runs if run]
    line = "".join("M" + "L".join(f"{x} {y}" for x, y in run) + ("h1" if len(run) == 1 else "") for run in drawn)
    area = "".join(
        f"M{run[0][0]} {HEIGHT}L" + "L".join(f"{x} {y}" for x, y in run) + f"L{run[-1][0]} {HEIGHT}Z" for run in drawn
    )
    return line, area


def _summary(series: Sequence[Series], unit: str, over: str) -> str:
    parts = []
    for one in series:
        known = [value for value in one.values if value is not None]
        if known:
            parts.append(f"{one.name}: {_short(known[-1])} {unit} now, {_short(max(known))} at most")
    return f"{over}. " + ("; ".join(parts) + "." if parts else "There is no data yet.")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
