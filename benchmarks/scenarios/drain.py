"""Everybody empties a queue towards a server that answers at once; wrk and the lean client alone beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from benchmarks.alone import cpu_us_per_request
from benchmarks.drain import drain
from benchmarks.peers import ARGUMENTS, COMMAND, Bench, Peer
from benchmarks.run import Case, Found, Run, alternate, median, say
from benchmarks.surroundings import Posted, ceiling

WRK = "wrk"
ALONE = "the client alone"


@attrs.frozen
class Requests:
    """What wrk reaches."""

    requests_per_s: float


@attrs.frozen
class Alone:
    """What a request costs without a broker around it."""

    cpu_us_per_request: float


def measure(run: Run) -> dict[str, Any]:
    """Rows are concurrencies; wrk and the client alone are candidates with figures of their own."""
    cases: Found = {}
    for concurrency in run.concurrency:
        bench = run.bench(concurrency)
        found = alternate(run, [*_references(run, bench), *(_case(run, bench, peer) for peer in run.peers())])
        cases |= found
        _say_table(concurrency, found[str(concurrency)])
    return {"cases": cases}


def _references(run: Run, bench: Bench) -> Sequence[Case]:
    posted = Posted(f"{bench.target_url}/{COMMAND}", ARGUMENTS)
    row, concurrency = str(bench.concurrency), bench.concurrency
    return [
        Case(row, WRK, lambda: Requests(ceiling(posted, concurrency, run.around.directory))),
        Case(row, ALONE, lambda: Alone(cpu_us_per_request(bench.target_url, concurrency, run.jobs(20_000)))),
    ]


def _case(run: Run, bench: Bench, peer: Peer) -> Case:
    return Case(str(bench.concurrency), peer.name, lambda: drain(peer, bench, run.jobs(peer.jobs)))


def _say_table(concurrency: int, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    say(f"\nConcurrency {concurrency}; wrk: {median(found[WRK], 'requests_per_s'):,.0f} requests/s\n")
    say("| candidate | jobs/s | CPU µs a job | Redis µs a job | MiB |\n|---|---|---|---|---|")
    for name, every in found.items():
        if name not in (WRK, ALONE):
            figures = [median(every, figure) for figure in every[0]]
            say(f"| {name} | {' | '.join(f'{figure:,.0f}' for figure in figures)} |")
    say("")
