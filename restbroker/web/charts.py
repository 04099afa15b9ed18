"""Charts as paths of SVG: made here, drawn by the template `chart.html`, styled by the style sheet.

Called by `web.views`. Always holds: pure; all charts of a page have one time scale; a path has a unit per minute, in a
box that the page stretches, so that words stand beside it and not in it; an unknown value leaves a gap.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import floor, log10

from restbroker.light import frozen

HEIGHT = 100
_MINUTE_S = 60
_HOUR_S = 3600
_TICKS_S = (300, 600, 1800)
_LEAST_WIDTH = 0.6


@frozen
class Tick:
    """A time on the axis, `at` so many percent of the width; `is_hour`: a full one."""

    at: float
    text: str
    is_hour: bool


@frozen
class Mark:
    """Something that happened, as `text`, and where charts show it, in percent. `tone`: see `Series`."""

    at: float
    width: float
    tone: str
    text: str


@frozen
class Scale:
    """The time scale: `count` minutes, the first of which begins at `first_s` (epoch seconds)."""

    first_s: int
    count: int

    @property
    def width(self) -> int:
        """The units from the first value to the last."""
        return max(1, self.count - 1)

    @property
    def text(self) -> str:
        """From when to when."""
        return f"{clock(self.first_s)} to {clock(self.first_s + self.width * _MINUTE_S)} UTC"

    @property
    def ticks(self) -> Sequence[Tick]:
        """Round times, half an hour, ten or five minutes apart, that are not at an edge."""
        step_s = next((step_s for step_s in _TICKS_S if self.width * _MINUTE_S <= 6 * step_s), _TICKS_S[-1])
        first_s = -(-self.first_s // step_s) * step_s
        times = range(first_s, self.first_s + self.width * _MINUTE_S + 1, step_s)
        found = [Tick(self.place(at_s), clock(at_s), at_s % _HOUR_S == 0) for at_s in times]
        return [tick for tick in found if 4 <= tick.at <= 96]

    def place(self, at_s: float) -> float:
        """Return where a time is, in percent of the width; what is outside is at an edge."""
        return round(min(max(0.0, (at_s - self.first_s) / _MINUTE_S / self.width), 1.0) * 100, 1)

    def mark(self, tone: str, text: str, first_s: float, end_s: float | None) -> Mark:
        """Return the mark of something that lasted from `first_s` to `end_s` (None: it goes on)."""
        at = min(self.place(first_s), 100 - _LEAST_WIDTH)
        end = 100.0 if end_s is None else self.place(end_s)
        return Mark(at, max(_LEAST_WIDTH, round(end - at, 1)), tone, text)


@frozen
class Series:
    """The values of one line; `name` is for the legend.

    `tone` is a colour of the style sheet: ok, bad, one, two, three.
    """

    name: str
    tone: str
    values: Sequence[float | None]


@frozen
class ChartLine:
    """A series as paths: `line`, and `area` below it down to zero; `values` are for the script, "" for an unknown one.

    `latest`: the newest known value.
    """

    name: str
    tone: str
    line: str
    area: str
    values: str
    latest: float | None


@frozen
class Chart:
    """What a template draws; `top` is the value at the upper edge, 0 at the lower; `summary` is for screen readers."""

    title: str
    unit: str
    top: float
    lines: tuple[ChartLine, ...]
    summary: str


def chart(title: str, unit: str, series: Sequence[Series], scale: Scale) -> Chart:
    """Return a chart of these series, each with a value for every minute of the scale."""
    known = [value for line in series for value in line.values if value is not None]
    top = rounded_up(max(known, default=0.0))
    return Chart(
        title=title,
        unit=unit,
        top=top,
        lines=tuple(_line(line, top) for line in series),
        summary=_summary(series, unit, scale),
    )


def bars(values: Sequence[float]) -> str:
    """Return the path of a small chart in a box of 600 by 100: a bar for each value, the highest as high as the box."""
    top, across = max(1.0, *values), 600 / len(values)
    heights = ((place, max(100 * value / top, 8)) for place, value in enumerate(values) if value)
    width = f"{across * 0.8:.0f}"
    return "".join(f"M{place * across:.0f} 100v-{height:.0f}h{width}v{height:.0f}z" for place, height in heights)


def rounded_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50, …, at least 1, so that the scale is readable and seldom changes."""
    if value <= 1:
        return 1.0
    step = 10.0 ** floor(log10(value))
    return next((step * factor for factor in (1, 2, 5) if step * factor >= value), step * 10)


def clock(at_s: float) -> str:
    """Return the hour and the minute, in UTC."""
    return f"{datetime.fromtimestamp(at_s, UTC):%H:%M}"


def _line(one: Series, top: float) -> ChartLine:
    """Return a series with its paths.

    They have whole numbers, since a tenth of a pixel is not visible, and no points between equal ones.
    """
    runs: list[list[tuple[int, int]]] = [[]]
    for place, value in enumerate(one.values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((place, HEIGHT - round(HEIGHT * min(value, top) / top)))
    drawn = [list(_bends(run)) for run in runs if run]
    line = "".join("M" + "L".join(f"{x} {y}" for x, y in run) + ("h-1" if len(run) == 1 else "") for run in drawn)
    area = "".join(
        f"M{run[0][0]} {HEIGHT}L" + "L".join(f"{x} {y}" for x, y in run) + f"L{run[-1][0]} {HEIGHT}Z" for run in drawn
    )
    values = ",".join("" if value is None else _plain(value) for value in one.values)
    latest = next((value for value in reversed(one.values) if value is not None), None)
    return ChartLine(one.name, one.tone, line, area, values, latest)


def _bends(run: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the points of a run without those that are as high as both neighbours."""
    for place, point in enumerate(run):
        near = run[max(0, place - 1) : place + 2]
        if len(near) < 3 or any(y != point[1] for _, y in near):
            yield point


def _summary(series: Sequence[Series], unit: str, scale: Scale) -> str:
    parts = []
    for line in series:
        known = [(value, place) for place, value in enumerate(line.values) if value is not None]
        if known:
            most, place = max(known)
            at = clock(scale.first_s + place * _MINUTE_S)
            parts.append(f"{line.name}: {_short(known[-1][0])} {unit} now, at most {_short(most)} at {at}")
    return f"{scale.text}. " + ("; ".join(parts) + "." if parts else "There is no data yet.")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _plain(value: float) -> str:
    return _short(value).replace(",", "")
