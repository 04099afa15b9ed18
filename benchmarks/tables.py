"""The parts of docs/appendix/performance.md that have measured figures, each made of the kept results. `page` puts
them in.
"""

import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from benchmarks.figures import OURS, REFERENCES, Results, Rounds, median, short, spread
from benchmarks.goals import BULLMQ, GOALS, SIDEKIQ, fastest_python_peer
from benchmarks.peers import ORIGINAL
from benchmarks.scenarios.start import BARE, LIBRARIES

_GO_RATE: Final = 0.65
"""The Go program's jobs/s against BullMQ + undici's, measured in one run on another day; its CPU lay between these."""
_GO_CPU: Final = (1.1, 1.25)
_COST: Final = (
    ("jobs_per_s", "jobs/s"),
    ("cpu_us_per_job", "CPU µs a job"),
    ("redis_cpu_us_per_job", "Redis µs a job"),
)
_BESIDE: Final = "Redis µs | server µs | its core, the others busy"


def summary(results: Results) -> str:
    """The whole page in some sentences."""
    found = results.rows("drain")["20"]
    python = fastest_python_peer(results)
    lines = []
    for name in (BULLMQ, SIDEKIQ, python):
        rate, cost = (_against(found, name, figure) for figure in ("jobs_per_s", "cpu_us_per_job"))
        lines.append(f"{short(1 / rate)} times the jobs/s of {name} at {short(1 / cost)} times its CPU per job")
    reached = sum("| reached |" in goal.row(results) for goal in GOALS)
    return _wrapped(
        f"In short, at concurrency 20 restbroker does {lines[0]}; {lines[1]}; {lines[2]}, the fastest of the Python "
        f"peers. {reached} of {len(GOALS)} [goals](#what-is-asked-for-and-what-is-reached) are reached."
    )


def machine(results: Results) -> str:
    """On what it was measured."""
    on = results.document["machine"]
    memory_gib = int(on["memory"].split()[0]) / 2**20
    versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
    return _wrapped(
        f"{on['cores']} cores ({on['processor']}, {memory_gib:.0f} GiB of memory, Linux {on['kernel']}), which also "
        "carry Redis, the server and whoever sends: each candidate has a core to itself, these the rest. All is on "
        f"loopback. {versions}."
    )


def drain(results: Results) -> str:
    """A table for each concurrency."""
    parts = []
    for row, found in results.rows("drain").items():
        most, alone = (found[name] for name in REFERENCES)
        parts += [
            f"**Concurrency {row}.** wrk, which has no queue, reaches {spread(most, 'requests_per_s')} requests/s.",
            f"The lean client alone costs {spread(alone, 'cpu_us_per_request')} µs of CPU a request.",
            "",
            f"| candidate | jobs/s | CPU µs a job | jobs/s against ours | CPU against ours | {_BESIDE} | MiB |",
            "|---" * 9 + "|",
        ]
        peers = [name for name in found if name not in REFERENCES]
        for name in sorted(peers, key=lambda one: -median(found[one], "jobs_per_s")):
            every = found[name]
            rate, cost = (short(_against(found, name, figure)) for figure in ("jobs_per_s", "cpu_us_per_job"))
            parts.append(
                f"| {name} | {spread(every, 'jobs_per_s')} | {spread(every, 'cpu_us_per_job')} | {rate}× | {cost}× | "
                f"{short(median(every, 'redis_cpu_us_per_job'))} | {short(median(every, 'server_cpu_us_per_job'))} | "
                f"{_busy(every, 'cpu')}, {_busy(every, 'redis_cpu', 'server_cpu')} | "
                f"{median(every, 'memory_mib'):.0f} |"
            )
        parts.append("")
    return "\n".join([*parts, _taken(results, "drain")])


def original(results: Results) -> str:
    """The place of the Go program: what its row means, or derived where it was not measured."""
    found = results.rows("drain")["20"]
    if ORIGINAL in found:
        return _wrapped(
            f"*{ORIGINAL}* is the program that restbroker replaces, built from its public sources. It never looks at "
            "an answer's status: a command that failed counts as done."
        )
    rate = 1 / (_against(found, BULLMQ, "jobs_per_s") * _GO_RATE)
    low, high = (_against(found, BULLMQ, "cpu_us_per_job") * share for share in _GO_CPU)
    return _wrapped(
        "The Go program that restbroker replaces is not in this run. It was measured earlier beside BullMQ + undici in "
        f"one run, on another day: {_GO_RATE} of its jobs/s, at {_GO_CPU[0]} to {_GO_CPU[1]} times its CPU. "
        f"**Derived** from that, restbroker does {short(rate)} times the Go program's jobs/s here, and the Go "
        f"program's CPU per job would be {short(low)} to {short(high)} times restbroker's."
    )


def slow(results: Results) -> str:
    """Of concurrency/latency."""
    latency_ms = results.scenario("slow")["latency_ms"]
    lines = [
        "| concurrency | candidate | of concurrency/latency | jobs/s | CPU µs a job | MiB |",
        "|---|---|---|---|---|---|",
    ]
    for row, found in results.rows("slow").items():
        for name, every in found.items():
            share = median(every, "jobs_per_s") / (int(row) / latency_ms * 1000)
            lines.append(
                f"| {row} | {name} | {share:.2f} | {spread(every, 'jobs_per_s')} | "
                f"{median(every, 'cpu_us_per_job'):,.0f} | {median(every, 'memory_mib'):.0f} |"
            )
    return "\n".join([*lines, "", _taken(results, "slow")])


def latency(results: Results) -> str:
    """Quantiles over all rounds."""
    lines = [
        "| | candidate | jobs/s | jobs measured | p50 ms | p99 ms | p99.9 ms | slowest ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    pooled = results.scenario("latency")["pooled"]
    for row, title in (("idle", "idle"), ("half", "half load")):
        for name, (every,) in pooled[row].items():
            rate = f"{results.median('latency', row, name, 'rate'):,.0f}" if every["rate"] else "single jobs"
            quantiles = " | ".join(f"{every[key]:.2f}" for key in ("p50_ms", "p99_ms", "p999_ms", "max_ms"))
            lines.append(f"| {title} | {name} | {rate} | {every['jobs']:,} | {quantiles} |")
    rest = results.rows("latency")["rest"][OURS]
    return "\n".join(
        [
            *lines,
            "",
            f"While nothing comes, restbroker uses {spread(rest, 'cpu_percent', 2)} % of a core, and of memory",
            f"{median(rest, 'memory_mib'):.0f} MiB.",
            "",
            _taken(results, "latency"),
        ]
    )


def ejabberd(results: Results) -> str:
    """Beside wrk on the same server."""
    ((command, found),) = results.rows("ejabberd").items()
    every = found[OURS]
    return (
        _wrapped(
            f"`{command}`, 20 connections: wrk reaches {spread(every, 'wrk_requests_per_s')} requests/s, restbroker "
            f"{spread(every, 'jobs_per_s')} jobs/s: {spread(every, 'share', 2)} of it, at "
            f"{median(every, 'cpu_us_per_job'):,.0f} µs of CPU a job. ejabberd's core was {_busy(every, 'server_cpu')} "
            f"busy, that of restbroker and Redis {_busy(every, 'cpu', 'redis_cpu')}."
        )
        + f"\n\n{_taken(results, 'ejabberd')}"
    )


def start(results: Results) -> str:
    """Each command."""
    found = results.rows("start")
    lines = ["| command | ms | of CPU |", "|---|---|---|"]
    for row, candidates in found.items():
        every = candidates[OURS]
        name = f"`{row}`" if row in (BARE, LIBRARIES) else f"`restbroker {row}`"
        lines.append(f"| {name} | {spread(every, 'wall_ms')} | {median(every, 'cpu_ms'):.0f} |")
    return "\n".join([*lines, "", _taken(results, "start")])


def memory(results: Results) -> str:
    """Whether it grows."""
    found = results.scenario("memory")
    every: Sequence[float] = found["mib"]
    third = max(1, len(every) // 3)
    parts = (every[:third], every[third : 2 * third], every[2 * third :])
    first, second, last = (f"{sum(part) / len(part):.1f}" for part in parts)
    text = (
        f"{found['jobs']:,} jobs in {len(every)} s of load without a pause: {first} MiB on average in the first third, "
        f"{second} in the second, {last} in the last; {max(every):.1f} at most."
    )
    return f"{_wrapped(text)}\n\n{_taken(results, 'memory', rounds=False)}"


def goals(results: Results) -> str:
    """Reached or not."""
    lines = ["| what | asked for | measured | |", "|---|---|---|---|"]
    return "\n".join([*lines, *(goal.row(results) for goal in GOALS)])


def _cost(scenario: str, title: str, candidates: str = "candidate") -> Callable[[Results], str]:
    """A table of rows by candidates, with what a job costs."""

    def table(results: Results) -> str:
        rows = results.rows(scenario)
        alone = all(list(found) == [OURS] for found in rows.values())
        heads = [title, *([] if alone else [candidates]), *(head for _, head in _COST), "MiB"]
        lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for row, found in rows.items():
            for name, every in found.items():
                words = [_number(row), *([] if alone else [name]), *_figures(every)]
                lines.append(f"| {' | '.join(words)} |")
        return "\n".join([*lines, "", _taken(results, scenario)])

    return table


def _figures(every: Rounds) -> Sequence[str]:
    rate, cpu = (spread(every, figure) for figure in ("jobs_per_s", "cpu_us_per_job"))
    return [rate, cpu, short(median(every, "redis_cpu_us_per_job")), f"{median(every, 'memory_mib'):.0f}"]


def _busy(every: Rounds, *parts: str) -> str:
    """How much of a core these use together."""
    busy = [sum(one[f"{part}_us_per_job"] for part in parts) * one["jobs_per_s"] / 1e6 for one in every]
    return f"{statistics.median(busy):.0%}"


def _against(found: Mapping[str, Rounds], name: str, figure: str) -> float:
    return median(found[name], figure) / median(found[OURS], figure)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _number(row: str) -> str:
    return f"{int(row):,}" if row.isdigit() else row


def _taken(results: Results, scenario: str, *, rounds: bool = True) -> str:
    taken: Mapping[str, Any] = results.scenario(scenario)["taken"]
    plural = "s" if taken["rounds"] > 1 else ""
    how_often = f"{taken['rounds']} round{plural}, " if rounds else ""
    return (
        f"*Commit {taken['revision']}; {how_often}scale {taken['scale']:g}; load before: {taken['load_before']:.1f}.*"
    )


PARTS: Final[Mapping[str, Callable[[Results], str]]] = {
    "summary": summary,
    "machine": machine,
    "drain": drain,
    "original": original,
    "slow": slow,
    "redis": _cost("redis", "round trip, ms"),
    "failures": _cost("failures", "failures"),
    "latency": latency,
    "ejabberd": ejabberd,
    "queue": _cost("queue", "jobs waiting"),
    "payload": _cost("payload", "KB a job"),
    "targets": _cost("targets", "targets"),
    "processes": _cost("processes", "processes"),
    "start": start,
    "memory": memory,
    "goals": goals,
}
