"""A job that kills every process which sends it ends parked, alone; the other 299 are delivered."""

import contextlib
import json
import signal
import sys
from pathlib import Path

import pytest

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.replies import items, raw
from tests.support import process
from tests.support.answering import AnsweringServer, Arrival
from tests.support.process import Running
from tests.support.redis_server import RedisServer
from tests.support.wait import until

JOBS, CRASHER = 300, 60


def job(number: int) -> bytes:
    args = ["set_last", {"user": f"u{number}", "host": "example.org", "timestamp": number, "status": ""}, "t"]
    return json.dumps({"class": "Add", "jid": f"jid-{number}", "queue": "rest", "retry": True, "args": args}).encode()


@pytest.mark.promise("No command is lost", "a job kills every process that sends it")
@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
def test_one_crasher_among_300_jobs_is_parked_as_poison_and_no_innocent_is(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    brokers: list[Running] = []

    def kill_who_sends_the_crasher(arrival: Arrival) -> int:
        if arrival.arguments["user"] == f"u{CRASHER}":
            with contextlib.suppress(IndexError):
                brokers[-1].process.send_signal(signal.SIGKILL)
        return 200

    client = open_client(StoreSettings(redis_server.url))
    with AnsweringServer(kill_who_sends_the_crasher) as server:
        settings = {"RedisURL": redis_server.url, "RestURL": f"http://127.0.0.1:{server.port}/api"}
        settings |= {"RestQueue": "rest", "Token": "t", "JabberDomain": "example.org"}
        (tmp_path / "env.json").write_text(json.dumps(settings))
        queues.push(client, "rest", [job(number) for number in range(JOBS)])

        def parked() -> list[dict[str, object]]:
            return [json.loads(raw(member)) for member in items(client.command("ZRANGE", "dead", 0, -1))]

        lives = 0
        while not parked():
            lives += 1
            assert lives < 10, f"no end after {lives} lives:\n{brokers[-1].output()}"
            with process.started(["run", "--config", "env.json"], directory=tmp_path) as broker:
                brokers.append(broker)
                until(lambda: parked() or broker.process.poll() is not None, "it is killed, or the job is parked")
                if parked():
                    until(lambda: queues.sizes(client, ["rest"]) == {"rest": 0}, "all others run")
                    assert broker.stop() == 0
    client.close()
    assert [(entry["jid"], entry["error_class"]) for entry in parked()] == [(f"jid-{CRASHER}", "Poison")]
    delivered = {arrival.arguments["user"] for arrival in server.arrivals}
    assert delivered == {f"u{number}" for number in range(JOBS)}
    assert lives == 6, "killed twice among others, three times alone; parked by the sixth"
    sys.stdout.write(f"parked after {lives - 1} crashes, {len(server.arrivals)} requests for {JOBS} jobs\n")
