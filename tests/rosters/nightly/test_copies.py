"""Copies in a file outlive the process, and whoever got one is refreshed when Redis is back."""

import json
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from tests.rosters.conftest import put
from tests.rosters.test_process import ANN, LISTENING, ask
from tests.support.process import started
from tests.support.redis_server import RedisServer
from tests.support.rows import rows
from tests.support.wait import until


def given_in(kept: Path) -> list[str]:
    """The users who got a copy, as the file has them."""
    rows = [json.loads(line) for line in kept.read_text().splitlines()[1:]]
    return [row[0] for row in rows if len(row) == 2]


@rows("end", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_got_a_copy_is_refreshed_when_redis_is_back(
    tmp_path: Path, make_redis: Callable[..., RedisServer], end: signal.Signals
) -> None:
    redis_server = make_redis(appendonly="yes", appendfsync="always")
    put(redis_server, john=ANN)
    kept, config = tmp_path / "copies", tmp_path / "env.json"
    target = {"Kind": "prosody-roster", "URL": "http://127.0.0.1:1", "Domain": "example.org", "Queues": ["rosters"]}
    roster = {"Listen": "127.0.0.1:0", "Domain": "example.org", "Target": "rosters", "CopiesFile": str(kept)}
    whole = {"RedisURL": redis_server.url, "Token": "t", "Targets": {"rosters": target}, "Roster": roster}
    config.write_text(json.dumps(whole))
    serve = ["roster", "serve", "--config", str(config)]
    with started(serve, directory=tmp_path / "first") as first:
        assert "age" not in ask(first.wait_for(LISTENING)[1]).headers
        assert first.stop() == 0
    redis_server.kill()
    with started(serve, directory=tmp_path / "second") as second:
        assert "age" in ask(second.wait_for(LISTENING)[1]).headers
        until(lambda: given_in(kept) == ["john"], "it is noted who got a copy")
        second.signal(end)
        second.wait()
    with kept.open("a") as file:
        file.write('["mary", 17')  # as a crash may leave it
    redis_server.start()
    with started(serve, directory=tmp_path / "third") as third:
        third.wait_for("OlderRosters")
        assert "RosterCopies" not in third.output()
        assert third.stop() == 0
    assert given_in(kept) == []
    with closing(open_client(StoreSettings(redis_server.url))) as client:
        jobs = [json.loads(job)["args"][:2] for job in queues.peek(client, "rosters", 0, 10)]
    assert jobs == [["refresh", {"users": ["john"]}]]
