"""What operators' commands cost beside 100,000 dead and a million waiting jobs: `make bench-operate`; no test.

Each command is a process of its own, its start included. Its memory is the most that it held. The server's
longest command is the longest in its own `SLOWLOG`: time by the clock, so whatever else runs on the machine lengthens
it, and medians of some rounds are told.
"""

import argparse
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs

from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.replies import Reply, integer, items
from tests.support.process import clean_environment
from tests.support.redis_server import RedisServer, redis_binary

STEP = 1000
CAUSES = (
    ("AlreadyExists", "User 'user%06d@example.org' exists already."),
    ("Refused", "Argument 'host' is not in format binary"),
    ("TimedOut", "10.0.0.7:5280 has not answered user%06d within 30 s"),
)
DIED_S, EACH_S = 1_700_000_000, 10
SHARED, MARKED = 10, 6_667
"""One in so many dead jobs is deleted; one in so many waiting ones."""
QUEUE = "rest"
MEASURED = """
import atexit, re, sys
atexit.register(lambda: sys.stderr.write("\\n" + re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]))
from restbroker.__main__ import main
main()
"""
SLOW_US = 100
COMMANDS = (
    ("dead summary", 0),
    ("find nobody-of-this-name", 1),
    ("find user099990", 0),
    ("find user=user099990", 0),
    ("find nobody-of-this-name --jobs 1000000 --seconds 60", 1),
    ("dead delete --where arg.shop=s7 --yes", 0),
    (f"queues delete {QUEUE} --where arg.shop=marked --yes", 0),
)
"""With what each ends."""


@attrs.frozen
class Cost:
    """What a command cost once. `longest_ms`: the server's longest command; 99 of 100 took `most_ms` at most."""

    took_s: float
    cpu_s: float
    mib: float
    longest_ms: float
    most_ms: float
    told: str


def job(number: int, shop: str, **more: object) -> bytes:
    arguments = {"user": f"user{number:06d}", "host": "example.org", "password": "a password", "shop": shop}
    fields = {
        "class": "Add",
        "args": ["register", arguments, "t"],
        "jid": hashlib.md5(b"%d" % number, usedforsecurity=False).hexdigest()[:24],
        "queue": QUEUE,
        "retry": True,
        "created_at": DIED_S,
        "enqueued_at": DIED_S,
        **more,
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def dead(number: int) -> bytes:
    """As one that died: a tenth of all is of the shop that is deleted."""
    code, message = CAUSES[number % len(CAUSES)]
    said = message % number if "%" in message else message
    failed = {"error_class": code, "error_message": said, "retry_count": 5, "failed_at": DIED_S + number / EACH_S}
    return job(number, f"s{number % SHARED}", **failed)


def fill(client: Client, parked: int, waiting: int) -> None:
    """Puts all jobs where a round begins."""
    client.command("FLUSHALL", "SYNC")
    for first in range(0, parked, STEP):
        members: list[int | float | bytes] = []
        for number in range(first, first + STEP):
            members += (DIED_S + number / EACH_S, dead(number))
        client.command("ZADD", "dead", *members)
    for first in range(0, waiting, STEP):
        numbers = range(first + parked, first + parked + STEP)
        queues.push(client, QUEUE, [job(n, "marked" if n % MARKED == 0 else "s") for n in numbers])


def run(client: Client, config: Path, words: str, status: int) -> Cost:
    """Runs a command, and asks the server what took it longest."""
    client.command("SLOWLOG", "RESET")
    began_s, before_s = time.perf_counter(), cpu_s()
    command = [sys.executable, "-c", MEASURED, *words.split(), "--config", str(config)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    took_s = time.perf_counter() - began_s
    *said, kib = done.stderr.splitlines()
    if done.returncode != status:
        raise SystemExit(f"{words} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    times_ms = sorted(map(_took_ms, filter(_is_of_the_command, items(client.command("SLOWLOG", "GET", -1))))) or [0.0]
    told = (done.stdout.strip().splitlines() or said or [""])[-1]
    most_ms = times_ms[len(times_ms) * 99 // 100]
    return Cost(took_s, cpu_s() - before_s, int(kib) / 1024, times_ms[-1], most_ms, told)


def _took_ms(entry: Reply) -> float:
    return integer(items(entry)[2]) / 1000


def _is_of_the_command(entry: Reply) -> bool:
    # RESET frees what the log holds of the filling, which takes long, and is logged itself.
    return items(items(entry)[3])[0] != b"SLOWLOG"


def cpu_s() -> float:
    """Of all commands that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def say(line: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def row(words: str, costs: list[Cost]) -> str:
    """As docs/appendix/measurements.md has it."""
    fields = ("took_s", "cpu_s", "mib", "longest_ms", "most_ms")
    took_s, used_s, mib, longest_ms, most_ms = (
        statistics.median(getattr(one, name) for one in costs) for name in fields
    )
    return f"| `{words}` | {took_s:.1f} | {used_s:.1f} | {mib:.0f} | {longest_ms:.1f} | {most_ms:.1f} |"


def main() -> None:
    """Measures each command in each round."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.operate", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dead", type=int, default=100_000)
    parser.add_argument("--waiting", type=int, default=1_000_000, help="needs 600 MB of memory")
    parser.add_argument("--only", default="", help="commands with this word")
    wanted = parser.parse_args()
    costs: dict[str, list[Cost]] = {words: [] for words, _ in COMMANDS if wanted.only in words}
    with tempfile.TemporaryDirectory() as directory:
        options = {"slowlog-log-slower-than": str(SLOW_US), "slowlog-max-len": "1000000"}
        server = RedisServer(redis_binary(), Path(directory), options).start()
        client = open_client(StoreSettings(server.url))
        config = Path(directory) / "env.json"
        config.write_text(json.dumps({"RedisURL": server.url, "RestQueue": QUEUE, "Token": "t"}))
        try:
            for _ in range(wanted.rounds):
                fill(client, wanted.dead, wanted.waiting)
                for words, status in ((words, status) for words, status in COMMANDS if words in costs):
                    costs[words].append(cost := run(client, config, words, status))
                    say(f"  {words}: {cost.took_s:.2f} s, {cost.longest_ms:.1f} ms: {cost.told}")
        finally:
            client.close()
            server.close()
    say("| command | s | CPU s | MiB | longest of Redis, ms | 99 of 100, ms |\n" + "|---" * 6 + "|")
    for words, found in costs.items():
        say(row(words, found))


if __name__ == "__main__":
    main()
