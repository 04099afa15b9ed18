"""`make bench`: measures everybody in turn, several rounds, and prints what came of it.

The results are kept as JSON in `results.json`; `python -m benchmarks.plot` draws them.

Always holds: the candidates alternate (one round has each of them once), so that a disturbance of the machine meets
all of them; what is printed are medians, with the smallest and the largest beside them.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks.alone import cpu_us_per_request
from benchmarks.drain import Drained, drain
from benchmarks.ejabberd import shares
from benchmarks.idle import idle, start_up_ms
from benchmarks.machine import machine
from benchmarks.peers import ARGUMENTS, COMMAND, PEERS, Bench, Peer
from benchmarks.surroundings import SLOW_MS, Posted, Surroundings, ceiling, surroundings

_SLOW_CONCURRENCY = (20, 200, 1000)
_SLOW_S = 5
_START_UPS = {
    "bare Python": ("-c", "pass"),
    "--version": ("-m", "restbroker", "--version"),
    "--help": ("-m", "restbroker", "--help"),
}


def main() -> None:
    """Runs what the command line says."""
    wanted = _arguments()
    peers = [peer for peer in PEERS if not wanted.only or any(word in peer.name for word in wanted.only)]
    results: dict[str, object] = {
        "rounds": wanted.rounds,
        "scale": wanted.scale,
        "concurrency": wanted.concurrency,
        "machine": machine(wanted.peers_python),
    }
    with tempfile.TemporaryDirectory() as directory, surroundings(Path(directory)) as around:
        drained = {}
        for concurrency in wanted.concurrency:
            bench = Bench(around, concurrency, wanted.peers_python)
            drained[str(concurrency)] = _rounds(bench, peers, wanted.rounds, wanted.scale)
        results["drain"] = drained
        if not wanted.only:
            results |= _alone(around, wanted.rounds, wanted.scale)
    wanted.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _alone(around: Surroundings, rounds: int, scale: float) -> dict[str, object]:
    """What only restbroker is asked."""
    results: dict[str, object] = {}
    results["client_alone_cpu_us"] = [cpu_us_per_request(around.stub_url, 20) for _ in range(rounds)]
    _say(f"\nCPU of a request, the client alone, in µs: {results['client_alone_cpu_us']}")
    for concurrency in _SLOW_CONCURRENCY:
        bench = Bench(around, concurrency, "", slow=True)
        bound = concurrency / SLOW_MS * 1000
        jobs = round(min(PEERS[0].jobs, bound * _SLOW_S) * scale)
        slow = [drain(PEERS[0], bench, jobs) for _ in range(rounds)]
        results[f"slow_{concurrency}"] = [attrs.asdict(one) for one in slow]
        reached = ", ".join(f"{one.jobs_per_s / bound:.2f}" for one in slow)
        _say(f"{SLOW_MS} ms endpoint, concurrency {concurrency}: {reached} of {bound:.0f} jobs/s; {slow[0]}")
    served = shares(around, rounds, scale)
    results["ejabberd"] = [{**attrs.asdict(one), "share": one.share} for one in served]
    _say(f"ejabberd: {', '.join(f'{one.share:.2f} of {one.wrk_requests_per_s:.0f}/s' for one in served)}; {served[0]}")
    found = idle(Bench(around, 20, ""))
    results["idle"] = attrs.asdict(found)
    _say(f"idle: {found}")
    results["start_up_ms"] = {name: start_up_ms(words) for name, words in _START_UPS.items()}
    _say(f"start-up in ms: {results['start_up_ms']}")
    return results


def _arguments() -> argparse.Namespace:
    root = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies everybody's number of jobs")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--only", nargs="+", default=[], help="parts of candidates' names; no idle figures then")
    parser.add_argument("--peers-python", default=str(root / ".venv" / "bench" / "bin" / "python"))
    parser.add_argument("--output", type=Path, default=root / "benchmarks" / "results.json")
    return parser.parse_args()


def _rounds(bench: Bench, peers: Sequence[Peer], rounds: int, scale: float) -> dict[str, object]:
    """One table; returns what is kept of it."""
    posted = Posted(f"{bench.around.stub_url}/{COMMAND}", ARGUMENTS)
    ceilings: list[float] = []
    found: dict[str, list[Drained]] = {peer.name: [] for peer in peers}
    for number in range(rounds):
        ceilings.append(ceiling(posted, bench.concurrency, bench.around.directory))
        for peer in peers:
            began = time.monotonic()
            one = drain(peer, bench, max(20, round(peer.jobs * scale)))
            found[peer.name].append(one)
            _say(f"  round {number + 1}: {peer.name}: {one.jobs_per_s:.0f} jobs/s ({time.monotonic() - began:.0f} s)")
    _table(bench.concurrency, found, ceilings)
    return {
        "wrk_requests_per_s": ceilings,
        "candidates": {name: [attrs.asdict(one) for one in every] for name, every in found.items()},
    }


def _table(concurrency: int, found: dict[str, list[Drained]], ceilings: list[float]) -> None:
    _say(f"\nConcurrency {concurrency}; wrk: {statistics.median(ceilings):.0f} requests/s\n")
    _say("| candidate | jobs/s | CPU µs a job | Redis µs a job | MiB |")
    _say("|---|---|---|---|---|")
    for name, every in found.items():
        rates = [one.jobs_per_s for one in every]
        costs = [one.cpu_us_per_job for one in every]
        redis = statistics.median(one.redis_cpu_us_per_job for one in every)
        memory = max(one.memory_mib for one in every)
        _say(f"| {name} | {_spread(rates)} | {_spread(costs)} | {redis:.0f} | {memory:.0f} |")


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def _say(line: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
