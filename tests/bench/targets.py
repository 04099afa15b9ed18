"""What a dead and a slow target cost a third one in the same process: `make bench-targets`. Prints a table; no test.

Each round runs the third target alone, then beside one whose port is closed and one that answers after 5 s, both with
full queues; a new broker each time. The third one's server takes 10 ms for each of 5 jobs at once, so that it is the
server that bounds it, not the processor. Rates are of the arrivals at that server, without the broker's start.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from restbroker.store.client import StoreSettings, open_client
from tests.support.answering import AnsweringServer, Arrival
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.several import Several, target
from tests.support.wait import until

ROUNDS, JOBS, WAITING = 5, 1500, 500
WORK_S, SLOW_S = 0.01, 5.0


def main() -> None:
    """Runs all rounds and prints what came of them."""
    alone: list[float] = []
    beside: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(redis_binary(), Path(folder, "redis")).start()
        try:
            for number in range(ROUNDS):
                for rates, others in ((alone, False), (beside, True)):
                    redis.flush()
                    rates.append(_rate(Path(folder, f"{number}-{others}"), redis.url, others=others))
        finally:
            redis.close()
    sys.stdout.write("round   alone  beside   ratio   (jobs/s of the third target)\n")
    for number, (one, other) in enumerate(zip(alone, beside, strict=True), start=1):
        sys.stdout.write(f"{number:5} {one:7.0f} {other:7.0f} {other / one:7.2f}\n")
    ratio = statistics.median(beside) / statistics.median(alone)
    sys.stdout.write(f"ratio of the medians: {ratio:.2f}\n")


def _rate(folder: Path, redis_url: str, *, others: bool) -> float:
    folder.mkdir()
    client = open_client(StoreSettings(redis_url))
    several = Several(folder / "env.json", redis_url, client)
    with AnsweringServer(_works(WORK_S)) as well, AnsweringServer(_works(SLOW_S)) as slow:
        targets = {"well": target(well.port, "w", Concurrency=5)}
        if others:
            targets |= {"dead": target(free_port(), "d"), "slow": target(slow.port, "s")}
            several.push("d", range(WAITING))
            several.push("s", range(WAITING))
        several.configure(targets, ShutdownTimeout="1s")
        with started(several.command, directory=folder / "run") as broker:
            broker.wait_for(r"target\.found target=well")
            if others:
                until(lambda: len(slow.arrivals) >= 20, "the slow one is busy")
            several.push("w", range(JOBS))
            until(lambda: len(well.arrivals) >= JOBS, "all jobs have come", 120)
    client.close()
    return (JOBS - 1) / (well.arrivals[-1].at_s - well.arrivals[0].at_s)


def _works(duration_s: float) -> Callable[[Arrival], int]:
    def work(_arrival: Arrival) -> int:
        time.sleep(duration_s)
        return 200

    return work


if __name__ == "__main__":
    main()
