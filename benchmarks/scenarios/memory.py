"""Does the broker grow? Its resident memory each second, under load without a pause."""

import time
from typing import Any, Final

from benchmarks.drain import worker
from benchmarks.filling import Filler
from benchmarks.peers import PEERS
from benchmarks.processes import memory_mib
from benchmarks.run import Run, say

_ALWAYS_WAITING: Final = 20_000
_LEAST_S: Final = 5.0


def measure(run: Run) -> dict[str, Any]:
    """`mib` has a figure for each second, whatever the number of rounds; `jobs` were done in them."""
    around, bench = run.around, run.bench()
    around.redis.flushall()
    filler, seconds = Filler(around.redis), round(max(_LEAST_S, run.memory_s * run.scale))
    began = around.answered()
    found = []
    with worker(PEERS[0], bench) as pid:
        for _ in range(seconds):
            filler.fill(max(0, _ALWAYS_WAITING - int(around.redis.llen("queue:rest"))))
            time.sleep(1)
            found.append(memory_mib(pid))
    say(f"  {found[0]:.1f} MiB, at the end {found[-1]:.1f} MiB")
    return {"mib": found, "jobs": around.answered() - began}
