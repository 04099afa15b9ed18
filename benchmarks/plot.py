"""`python -m benchmarks.plot`: draws the kept results into docs/images: drain.svg, slow.svg and latency.svg.

Always holds: a picture is readable on light and on dark pages, and its title says what its bars are.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

import attrs

from benchmarks.figures import OURS, REFERENCES, ROOT, Results, median

IMAGES: Final = ROOT / "docs" / "images"
_BAR, _GAP, _LEFT, _WIDTH, _RIGHT = 18, 6, 240, 460, 120
_HEADER, _GROUP_GAP = 32, 22
_QUANTILES: Final = {"p50_ms": "p50", "p99_ms": "p99", "p999_ms": "p99.9"}
_STYLE: Final = (
    "<style>text{fill:#24292f}.us{fill:#2f7f57}.them{fill:#8a8f98}"
    "@media(prefers-color-scheme:dark){text{fill:#d7dce2}.us{fill:#4fae7f}.them{fill:#6c737d}}"
    "</style>"
)


@attrs.frozen
class Bar:
    """`length` from 0 to 1; `label` stands behind it."""

    name: str
    length: float
    label: str


def main() -> None:
    """Draws what there are results for."""
    results = Results.read()
    for name, draw in {"drain": drain, "slow": slow, "latency": latency}.items():
        if name in results.document["scenarios"]:
            (IMAGES / f"{name}.svg").write_text(draw(results), encoding="utf-8")


def drain(results: Results) -> str:
    """Jobs per second of each candidate, the fastest first."""
    row, found = next(iter(results.rows("drain").items()))
    rates = {name: median(every, "jobs_per_s") for name, every in found.items() if name not in REFERENCES}
    most = max(rates.values())
    ordered = sorted(rates.items(), key=lambda item: -item[1])
    bars = [Bar(name, rate / most, f"{rate:,.0f}") for name, rate in ordered]
    return _picture(f"Jobs per second, concurrency {row}", {"": bars})


def slow(results: Results) -> str:
    """How much of concurrency/latency each reaches."""
    latency_ms = results.scenario("slow")["latency_ms"]
    groups = {}
    for row, found in results.rows("slow").items():
        shares = {name: median(every, "jobs_per_s") / (int(row) / latency_ms * 1000) for name, every in found.items()}
        groups[f"concurrency {row}"] = [Bar(name, min(1, share), f"{share:.2f}") for name, share in shares.items()]
    return _picture(f"Of concurrency/latency, endpoint of {latency_ms} ms", groups)


def latency(results: Results) -> str:
    """Half of the jobs, 99 and 99.9 of 100 are faster than this; each step of the scale is ten times the last."""
    pooled = results.scenario("latency")["pooled"]
    values = [one[key] for row in pooled.values() for (one,) in row.values() for key in _QUANTILES]
    low, high = (math.log10(value) for value in (min(values) / 2, max(values)))
    groups = {
        f"{title}, {name}": [
            Bar(shown, (math.log10(one[key]) - low) / (high - low), f"{one[key]:.2f} ms")
            for key, shown in _QUANTILES.items()
        ]
        for row, title in (("idle", "Idle"), ("half", "Half load"))
        for name, (one,) in pooled[row].items()
    }
    return _picture("From push to request, logarithmic", groups)


def _picture(title: str, groups: Mapping[str, Sequence[Bar]]) -> str:
    """Horizontal bars in groups, each group under its name; restbroker's stand out."""
    lines, top = [], _HEADER
    for group, bars in groups.items():
        if group:
            lines.append(f'<text x="{_LEFT}" y="{top + 14}" font-style="italic">{escape(group)}</text>')
            top += _GROUP_GAP
        for bar in bars:
            length = max(1.0, bar.length * _WIDTH)
            kind = "us" if OURS in (bar.name.partition(",")[0].split() + group.split()) else "them"
            lines += [
                f'<text x="{_LEFT - 8}" y="{top + 14}" text-anchor="end">{escape(bar.name)}</text>',
                f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{length:.1f}" height="{_BAR}"/>',
                f'<text x="{_LEFT + length + 6:.1f}" y="{top + 14}">{escape(bar.label)}</text>',
            ]
            top += _BAR + _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {top + _GAP}" '
    return "\n".join(
        [
            f'{head}width="{_LEFT + _WIDTH + _RIGHT}" height="{top + _GAP}" font-family="sans-serif" font-size="13">',
            _STYLE,
            f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(title)}</text>',
            *lines,
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    main()
