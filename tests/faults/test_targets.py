"""Three targets in one real process, each with a server of its own: one is dead, one slow, one well."""

from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from restbroker.store.client import StoreSettings, open_client
from restbroker.store.scripts import script
from tests.support.answering import AnsweringServer
from tests.support.process import started
from tests.support.several import Several, target, times_done
from tests.support.tcp_proxy import Loss, TcpProxy
from tests.support.wait import until

JOBS = 200


def reached(server: AnsweringServer, count: int) -> bool:
    return len(server.arrivals) >= count


@pytest.mark.nightly
def test_many_targets_do_each_job_once_over_a_cut_connection(tmp_path: Path, redis_url: str) -> None:
    """Answers are lost, too."""
    names, port = [f"q{number}" for number in range(12)], urlsplit(redis_url).port
    assert port is not None
    with AnsweringServer() as server, TcpProxy(port) as proxy:
        by_proxy = redis_url.replace(f":{port}", f":{proxy.port}")
        several = Several(tmp_path / "env.json", by_proxy, open_client(StoreSettings(redis_url)))
        several.configure({name: target(server.port, name, Concurrency=2) for name in names})
        for place, name in enumerate(names):
            several.push(name, range(place * JOBS // 2, (place + 1) * JOBS // 2))
        fetch, finish = Loss(script("fetch").sha.encode()), Loss(script("done").sha.encode())
        with started(several.command, directory=tmp_path / "run") as broker:
            for done, losses in ((JOBS, [fetch]), (2 * JOBS, [finish]), (3 * JOBS, [fetch, finish]), (4 * JOBS, [])):
                until(partial(reached, server, done), "jobs are done")
                proxy.losses.extend(losses)
                if losses:
                    until(lambda: not proxy.losses, "the answer is lost")
                else:
                    proxy.cut()
                    broker.wait_for(r"redis\.lost")
                    proxy.mend()
            several.wait_until_finished()
            assert broker.stop() == 0
    done_times = times_done(server)
    assert len(done_times) == len(names) * JOBS // 2
    assert set(done_times.values()) == {1}
