"""What a server that is down and a slow one cost the two others in one process: `make bench-four`. Prints a table.

Each round runs every target of examples/four by itself, then two of them together, then these two beside one whose port
is closed and one that answers after 5 s, both with full queues; then the same with the pairs exchanged. A new broker
each time. What is counted is what nginx answered, once the queues are being worked on.

At the pace of `WORK_S` a server bounds its target, as real ones do; at the other, where servers answer at once, all
targets share one processor, so that two together are each slower than alone: there the two are compared with the two.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from benchmarks.filling import Filler
from benchmarks.four_servers import FOUR, KINDS, Four, servers
from benchmarks.processes import cpu_s, started
from benchmarks.run import say
from benchmarks.surroundings import Surroundings, surroundings

WANTED: Final = 0.9
WORK_S: Final = 0.01
SLOW_S: Final = 5.0
CONCURRENCY: Final = 5
_PAIRS: Final = (
    (("ejabberd", "prosody"), ("openfire", "mongooseim")),
    (("mongooseim", "openfire"), ("ejabberd", "prosody")),
)
"""The two that are well, and the one that is down and the slow one beside them."""
_PACES: Final[Mapping[str, float]] = {"10 ms": WORK_S, "at once": 0.0}
_MOST_PER_S: Final = {"10 ms": 600, "at once": 50_000}
_WAITING: Final = 5000
_DEADLINE_S: Final = 60.0
_TOKEN: Final = "bench"  # noqa: S105 - opens nothing


@attrs.frozen
class Rates:
    """Jobs per second of each target that is well, and what a job of theirs costs the broker's process."""

    per_s: Mapping[str, float]
    cpu_us: float


@attrs.define
class Found:
    """One target at one pace, round by round."""

    alone: list[float] = attrs.field(factory=list)
    together: list[float] = attrs.field(factory=list)
    beside: list[float] = attrs.field(factory=list)
    together_us: list[float] = attrs.field(factory=list)
    beside_us: list[float] = attrs.field(factory=list)


@attrs.frozen
class Place:
    """Where it is measured. `lasts_s`: how long each time."""

    around: Surroundings
    lasts_s: float


def main() -> None:
    """Runs what the command line says, and prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.four", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each is measured")
    wanted = parser.parse_args()
    found = {(pace, name): Found() for pace in _PACES for name in FOUR}
    with tempfile.TemporaryDirectory() as directory, surroundings(Path(directory)) as around:
        place = Place(around, wanted.seconds)
        for number in range(1, wanted.rounds + 1):
            for pace in _PACES:
                for pair, sick in _PAIRS:
                    _measure(place, pace, pair, sick, found)
            say(f"round {number}\n{_table(found)}")
    say(f"\n{wanted.rounds} rounds, medians:\n\n{_table(found)}\n\n{_verdict(found)}")


def _measure(
    place: Place, pace: str, pair: Sequence[str], sick: Sequence[str], found: Mapping[tuple[str, str], Found]
) -> None:
    """Two targets in each of the three ways."""
    down, slow = sick
    for name in pair:
        found[pace, name].alone.append(_rates(place, pace, [name], {}).per_s[name])
    together = _rates(place, pace, pair, {})
    beside = _rates(place, pace, pair, {down: None, slow: SLOW_S})
    for name in pair:
        one = found[pace, name]
        one.together.append(together.per_s[name])
        one.together_us.append(together.cpu_us)
        one.beside.append(beside.per_s[name])
        one.beside_us.append(beside.cpu_us)


def _rates(place: Place, pace: str, well: Sequence[str], sick: Mapping[str, float | None]) -> Rates:
    """What those do that are well, in a broker of their own."""
    around, waits_s = place.around, {**dict.fromkeys(well, _PACES[pace]), **sick}
    around.redis.flushall()
    filler = Filler(around.redis)
    for name in waits_s:
        jobs = _WAITING if name in sick else round(_MOST_PER_S[pace] * (place.lasts_s + 4))
        filler.fill(jobs, name, KINDS[name].command, KINDS[name].arguments)
    directory = around.directory / f"{time.monotonic_ns()}"
    with servers(directory, waits_s) as four:
        env = directory / "env.json"
        targets = {name: four.target(name, CONCURRENCY) for name in waits_s}
        env.write_text(json.dumps({"RedisURL": around.redis_url, "Token": _TOKEN, "Targets": targets}))
        command = [sys.executable, "-m", "restbroker", "run", "--config", str(env)]
        with started(command, {"RESTBROKER_LOGLEVEL": "warning"}, directory / "broker.out") as process:
            _wait_until_busy(four, well, directory)
            before, began_s, used_s = _counts(four, well), time.monotonic(), cpu_s(process.pid)
            time.sleep(place.lasts_s)
            after, whole_s = _counts(four, well), time.monotonic() - began_s
            used_s = cpu_s(process.pid) - used_s
    if any(around.redis.llen(f"queue:{name}") == 0 for name in well) or around.redis.zcard("dead"):
        raise SystemExit(f"there were not enough jobs for {', '.join(well)}, or some failed")
    done = {name: after[name] - before[name] for name in well}
    rates = Rates({name: count / whole_s for name, count in done.items()}, used_s / sum(done.values()) * 1e6)
    shown = ", ".join(f"{name} {rate:,.0f}/s" for name, rate in rates.per_s.items())
    say(f"{pace}: {shown}; beside {', '.join(sick) or 'nobody'}; {rates.cpu_us:,.0f} µs of CPU a job")
    return rates


def _counts(four: Four, names: Sequence[str]) -> dict[str, int]:
    return {name: four.answered(name) for name in names}


def _wait_until_busy(four: Four, well: Sequence[str], directory: Path) -> None:
    """Returns a second after each has answered some jobs, when the slow one's connections are open, too."""
    deadline_s = time.monotonic() + _DEADLINE_S
    while not all(four.answered(name) >= CONCURRENCY for name in well):
        if time.monotonic() > deadline_s:
            raise SystemExit(f"the broker does nothing:\n{(directory / 'broker.out').read_text()[-2000:]}")
        time.sleep(0.02)
    time.sleep(1.0)


def _table(found: Mapping[tuple[str, str], Found]) -> str:
    head = "| server answers | target | alone, jobs/s | the two | beside down and slow | to alone | to the two "
    head += "| CPU µs a job, the two | beside |"
    rows = [head, "|---" * 9 + "|"]
    for (pace, name), one in found.items():
        if one.beside:
            alone, together, beside = map(statistics.median, (one.alone, one.together, one.beside))
            ratios = f"{beside / alone:.2f} | {beside / together:.2f}"
            cpu = f"{statistics.median(one.together_us):,.0f} | {statistics.median(one.beside_us):,.0f}"
            rows.append(f"| {pace} | {name} | {alone:,.0f} | {together:,.0f} | {beside:,.0f} | {ratios} | {cpu} |")
    return "\n".join(rows)


def _verdict(found: Mapping[tuple[str, str], Found]) -> str:
    least = min(
        statistics.median(one.beside) / statistics.median(one.alone if pace == "10 ms" else one.together)
        for (pace, _), one in found.items()
    )
    return f"The least ratio that counts is {least:.2f}: {'at least' if least >= WANTED else '**below**'} {WANTED:g}."


if __name__ == "__main__":
    main()
