"""Settling and taking in one round trip: each is as it would be alone, whatever becomes of the other."""

import pytest

from restbroker.errors import StoreRefused
from restbroker.job.settlement import Ack, Settlement
from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.codes import Applied, Gone
from restbroker.store.jobs import FetchAnswer, FetchRequest, FetchResult, FinishRequest, Limits, read_jobs
from tests.store.pools import QUEUES, Pool, Server, on_both
from tests.store.proxy import LossyProxy
from tests.support.store_calls import exchange, fetch, finish

NOW_S = 1.0
UNLIMITED = Limits()


def wanted(pool: Pool, want: int = 2, base: int = 2, limits: Limits = UNLIMITED) -> FetchRequest:
    return FetchRequest(pool.identity, "t", QUEUES, base, want, 4, limits)


def finished(pool: Pool, *settled: tuple[str, Settlement]) -> FinishRequest:
    return FinishRequest(pool.identity, "t", QUEUES, 2, settled)


@pytest.fixture
def working(pool: Pool) -> Pool:
    """Two jobs in progress, two more in the queue; Redis knows both scripts."""
    assert finish(pool.client, finished(pool, ("1:1", Ack())), NOW_S) == [Gone()]
    queues.push(pool.client, "a", [b"1", b"2", b"3", b"4"])
    assert isinstance(fetch(pool.client, wanted(pool, base=0)), FetchResult)
    return pool


def taken(answer: FetchAnswer | StoreRefused) -> list[bytes]:
    assert isinstance(answer, FetchResult)
    return [job.raw for job in answer.jobs]


def test_jobs_are_settled_and_others_taken_in_one_round_trip(working: Pool, server: Server) -> None:
    with LossyProxy(server.process.port) as proxy:
        client = through(proxy, working)
        client.command("PING")
        proxy.sent.clear()
        codes, answer = exchange(client, finished(working, ("1:1", Ack())), NOW_S, wanted(working))
        assert len(proxy.sent) == 1
        client.close()
    assert codes == [Applied()]
    assert taken(answer) == [b"3", b"4"]
    assert read_jobs(working.client, working.identity).jobs == {"2:1": b"2", "3:1": b"3", "4:1": b"4"}


@on_both
def test_scripts_that_redis_forgot_run_once_each(working: Pool, server: Server) -> None:
    queues.push(working.client, "a", [b"5", b"6", b"7", b"8"])
    for number, forgotten in enumerate(("both", "finish", "fetch"), 1):
        base = 2 * number
        server.raw.script_flush()
        if forgotten == "fetch":
            assert finish(working.client, finished(working, ("9:1", Ack())), NOW_S) == [Gone()]
        elif forgotten == "finish":
            assert isinstance(fetch(working.client, wanted(working, want=0, base=base)), FetchResult)
        settled = finished(working, (f"{number}:1", Ack()))
        codes, answer = exchange(working.client, settled, NOW_S, wanted(working, base=base))
        assert codes == [Applied()], forgotten
        assert taken(answer) == [b"%d" % (base + 1), b"%d" % (base + 2)]
        assert server.raw.get("ns:stat:processed") == b"%d" % number


def test_a_fetch_that_redis_refuses_leaves_the_settlements_and_names_its_keys(working: Pool, server: Server) -> None:
    server.raw.set("ns:restbroker:pause:t", "a text")
    codes, answer = exchange(working.client, finished(working, ("1:1", Ack())), NOW_S, wanted(working))
    assert codes == [Applied()]
    assert isinstance(answer, StoreRefused)
    assert "pause:t" in (answer.hint or "")
    assert read_jobs(working.client, working.identity).jobs == {"2:1": b"2"}


def test_settlements_that_redis_refuses_leave_the_fetch(working: Pool, server: Server) -> None:
    server.raw.set(f"ns:restbroker:sent:{working.identity}", "a text")
    codes, answer = exchange(working.client, finished(working, ("1:1", Ack())), NOW_S, wanted(working))
    assert isinstance(codes, StoreRefused)
    assert taken(answer) == [b"3", b"4"]
    assert read_jobs(working.client, working.identity).jobs.keys() == {"1:1", "2:1", "3:1", "4:1"}


def through(proxy: LossyProxy, pool: Pool) -> Client:
    return open_client(StoreSettings(f"redis://127.0.0.1:{proxy.port}", namespace=pool.client.keys.namespace))
