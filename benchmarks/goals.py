"""What is asked of restbroker's speed, and what was measured: `benchmarks.tables` writes the table of it."""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from benchmarks.figures import OURS, REFERENCES, Results, median, short
from benchmarks.scenarios.ejabberd import COMMAND
from benchmarks.scenarios.start import BARE

PIPELINES: Final = ("the pipeline on Trio + httpx", "the pipeline on asyncio + aiohttp")
BULLMQ, SIDEKIQ = "BullMQ + undici", "Sidekiq + Net::HTTP persistent"
PYTHON_PEERS: Final = (
    "arq + aiohttp",
    "dramatiq + requests",
    "Celery + requests",
    "taskiq + aiohttp",
    "SAQ + aiohttp",
    "RQ + requests",
)
_MB_PER_MIB: Final = 2**20 / 1e6


@attrs.frozen
class Measured:
    """A value, and what it is made of."""

    value: float
    note: str = ""


@attrs.frozen
class Goal:
    """`bound` is the least that is asked for, or the most, with `unit` behind it."""

    what: str
    bound: float
    measure: Callable[[Results], Measured]
    unit: str = ""
    at_most: bool = False

    def row(self, results: Results) -> str:
        """One line of the table."""
        asked = f"{'≤' if self.at_most else '≥'} {self.bound:g}{self.unit}"
        try:
            found = self.measure(results)
        except KeyError:
            return f"| {self.what} | {asked} | not measured | |"
        reached = found.value <= self.bound if self.at_most else found.value >= self.bound
        note = f" ({found.note})" if found.note else ""
        return f"| {self.what} | {asked} | {short(found.value)}{self.unit}{note} | {_VERDICT[reached]} |"


_VERDICT: Final = {True: "reached", False: "**not reached**"}


def fastest_python_peer(results: Results, row: str = "20") -> str:
    """By jobs/s."""
    found = results.rows("drain")[row]
    return max((name for name in PYTHON_PEERS if name in found), key=lambda name: median(found[name], "jobs_per_s"))


def _faster_than(name: str) -> Callable[[Results], Measured]:
    def measure(results: Results) -> Measured:
        ours, other = (results.rows("drain")["20"][one] for one in (OURS, name))
        by_cpu = median(other, "cpu_us_per_job") / median(ours, "cpu_us_per_job")
        return Measured(median(ours, "jobs_per_s") / median(other, "jobs_per_s"), f"{short(by_cpu)}× by CPU")

    return measure


def _faster_than_python(results: Results) -> Measured:
    name = fastest_python_peer(results)
    found = _faster_than(name)(results)
    return Measured(found.value, f"{name}; {found.note}")


def _against_the_client(results: Results) -> Measured:
    job = results.median("drain", "20", OURS, "cpu_us_per_job")
    request = results.median("drain", "20", REFERENCES[1], "cpu_us_per_request")
    return Measured(job / request, f"{short(job)} µs against {short(request)}")


def _against_wrk(results: Results) -> Measured:
    ours = results.median("drain", "50", OURS, "jobs_per_s")
    most = results.median("drain", "50", REFERENCES[0], "requests_per_s")
    return Measured(ours / most, f"{ours:,.0f} of {most:,.0f}/s")


def _reply(results: Results) -> Measured:
    with_reply, without = (
        results.median("drain", "20", name, "cpu_us_per_job") for name in ("restbroker, a reply per job", OURS)
    )
    return Measured(with_reply / without)


def _slow(row: str) -> Callable[[Results], Measured]:
    def measure(results: Results) -> Measured:
        bound = int(row) / results.scenario("slow")["latency_ms"] * 1000
        return Measured(results.median("slow", row, OURS, "jobs_per_s") / bound)

    return measure


def _memory(results: Results) -> Measured:
    return Measured(results.median("slow", "1000", OURS, "memory_mib") * _MB_PER_MIB)


def _idle(figure: str) -> Callable[[Results], Measured]:
    return lambda results: Measured(results.scenario("latency")["pooled"]["idle"][OURS][0][figure])


def _ejabberd(results: Results) -> Measured:
    rounds = results.rows("ejabberd")[COMMAND][OURS]
    ours, most = median(rounds, "jobs_per_s"), median(rounds, "wrk_requests_per_s")
    return Measured(ours / most, f"{ours:,.0f} of {most:,.0f}/s")


def _start(words: str) -> Callable[[Results], Measured]:
    def measure(results: Results) -> Measured:
        whole, bare = (results.median("start", row, OURS, "wall_ms") for row in (words, BARE))
        return Measured(whole - bare)

    return measure


GOALS: Final[Sequence[Goal]] = (
    Goal("CPU of a job against the client's CPU of a request alone", 1.5, _against_the_client, "×", at_most=True),
    Goal(
        "Redis' CPU of a job",
        6,
        lambda results: Measured(results.median("drain", "20", OURS, "redis_cpu_us_per_job")),
        " µs",
        at_most=True,
    ),
    Goal(f"jobs/s against {BULLMQ}", 2.2, _faster_than(BULLMQ), "×"),
    Goal(f"jobs/s against {SIDEKIQ}", 6, _faster_than(SIDEKIQ), "×"),
    Goal("jobs/s against the fastest Python peer", 12, _faster_than_python, "×"),
    Goal(f"jobs/s against {PIPELINES[0]}", 20, _faster_than(PIPELINES[0]), "×"),
    Goal(f"jobs/s against {PIPELINES[1]}", 2, _faster_than(PIPELINES[1]), "×"),
    Goal("jobs/s against wrk's requests/s, 50 connections", 0.22, _against_wrk),
    Goal("CPU of a job with a reply against one without", 1.3, _reply, "×", at_most=True),
    Goal("50 ms endpoint, concurrency 200, of concurrency/latency", 0.92, _slow("200")),
    Goal("50 ms endpoint, concurrency 1000, of concurrency/latency", 0.88, _slow("1000")),
    Goal("memory at concurrency 1000", 70, _memory, " MB", at_most=True),
    Goal("idle latency enqueue to request, p50", 0.6, _idle("p50_ms"), " ms", at_most=True),
    Goal("idle latency, p99", 3, _idle("p99_ms"), " ms", at_most=True),
    Goal(
        "idle CPU, of a core",
        0.5,
        lambda results: Measured(results.median("latency", "rest", OURS, "cpu_percent")),
        " %",
        at_most=True,
    ),
    Goal(f"ejabberd, `{COMMAND}`, of wrk's requests/s on it", 0.95, _ejabberd),
    Goal("start of `--version` over bare Python", 100, _start("--version"), " ms", at_most=True),
    Goal("start of `--help` over bare Python", 200, _start("--help"), " ms", at_most=True),
)
