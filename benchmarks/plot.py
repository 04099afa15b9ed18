"""Draws the last results as bars: `python -m benchmarks.plot` reads results.json and writes docs/images/drain.svg."""

import json
import statistics
from collections.abc import Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
PICTURE = ROOT / "docs" / "images" / "drain.svg"
_BAR, _GAP, _LEFT, _WIDTH, _RIGHT = 18, 8, 240, 460, 120
_OURS, _OTHERS = "#2f6f4f", "#8a8f98"


def main() -> None:
    """One picture: jobs per second of each candidate, the fastest first."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    concurrency, table = next(iter(results["drain"].items()))
    rates = {name: statistics.median(one["jobs_per_s"] for one in every) for name, every in table["candidates"].items()}
    PICTURE.write_text(bars(f"Jobs per second, concurrency {concurrency}", rates), encoding="utf-8")


def bars(title: str, values: Mapping[str, float]) -> str:
    """An SVG of horizontal bars, the longest on top."""
    ordered = sorted(values.items(), key=lambda item: -item[1])
    longest = ordered[0][1]
    height = 40 + len(ordered) * (_BAR + _GAP)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + _RIGHT}" height="{height}" '
            'font-family="sans-serif" font-size="13">'
        ),
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for row, (name, value) in enumerate(ordered):
        top = 32 + row * (_BAR + _GAP)
        length = max(1.0, value / longest * _WIDTH)
        colour = _OURS if name.startswith("restbroker") else _OTHERS
        lines += [
            f'<text x="{_LEFT - 8}" y="{top + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>',
            f'<text x="{_LEFT + length + 6:.1f}" y="{top + 14}">{value:,.0f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    main()
