"""A job that kills every process which sends it ends parked, alone; the others are delivered."""

import contextlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from restbroker.store.replies import items, raw
from tests.support.answering import AnsweringServer, Arrival
from tests.support.process import Running, started
from tests.support.redis_line import Tell
from tests.support.several import Several, target, times_done
from tests.support.wait import until

JOBS, CRASHER = 60, 12


@pytest.mark.promise("No command is lost", "a job kills every process that sends it")
@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
@pytest.mark.slow
def test_one_crasher_is_parked_as_poison_and_no_innocent_is(several: Several, tmp_path: Path, tell: Tell) -> None:
    brokers: list[Running] = []

    def kill_who_sends_the_crasher(arrival: Arrival) -> int:
        if arrival.arguments["user"] == f"user{CRASHER}":
            with contextlib.suppress(IndexError):
                brokers[-1].process.send_signal(signal.SIGKILL)
        return 200

    def parked() -> list[dict[str, Any]]:
        return [json.loads(raw(member)) for member in items(several.client.command("ZRANGE", "dead", 0, -1))]

    with AnsweringServer(kill_who_sends_the_crasher) as server:
        several.configure({"one": target(server.port, "rest")})
        several.push("rest", range(JOBS))
        while not parked():
            assert len(brokers) < 10, f"no end after {len(brokers)} lives:\n{brokers[-1].output()}"
            with started(several.command, directory=tmp_path / "run") as broker:
                brokers.append(broker)
                until(lambda: parked() or broker.process.poll() is not None, "it is killed, or the job is parked")
                if parked():
                    until(lambda: several.unfinished() == {"dead": 1}, "all others run")
                    assert broker.stop() == 0
    assert [(entry["jid"], entry["error_class"]) for entry in parked()] == [(f"jid{CRASHER}", "Poison")]
    assert sorted(times_done(server)) == list(range(JOBS))
    assert len(brokers) == 6, "killed twice among others, three times alone; parked by the sixth"
    tell(f"parked after {len(brokers) - 1} crashes, {len(server.arrivals)} requests for {JOBS} jobs")
