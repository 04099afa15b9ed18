"""Real processes that share the streams of one Openfire: one reads each user, another when that one dies."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from restbroker.store.client import Client
from tests.events.conftest import events_in
from tests.events.openfire_sse.conftest import say
from tests.servers.openfire_talk import EVENTS, configure, gaps_in
from tests.support.openfire_chat.server import Openfire
from tests.support.process import Running, Stopwatch, run, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until

TEXT: Final = "a text that nobody else may see"
LEASE_S: Final = 3.0


def texts(store: Client) -> list[str]:
    return [event["body"] for event in events_in(store, EVENTS) if event["type"] == "message"]


def holder(store: Client, user: str) -> bytes | None:
    entry = store.command("HGET", store.keys.sse("openfire"), user)
    return entry.split(b" ")[2] if isinstance(entry, bytes) else None


def read(server: Openfire, *users: str, count: int = 1) -> bool:
    found = [reader.username for reader in list(server.state.open_readers)]
    return all(found.count(user) == count for user in users)


@contextmanager
def two(place: Path, server: Openfire, store: Client) -> Iterator[tuple[Running, Running]]:
    with started(["run"], directory=place) as first:
        until(lambda: read(server, "ann", "bob"), "the streams are open", 60)
        mine = holder(store, "ann")
        with started(["run"], directory=place) as second:
            second.wait_for("ready|broker.*started|started", timeout_s=60)
            # It has asked for the leases by now, or will be the first to get them.
            assert holder(store, "ann") == mine
            yield first, second


def test_a_group_of_brokers_reads_once(
    openfire: Openfire, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, openfire, ["ann", "bob"], more={"Processes": 2})
    with started(["run"], directory=tmp_path) as broker:
        until(lambda: read(openfire, "ann", "bob"), "the streams are open", 60)
        say(openfire, "ann", "bob", TEXT)
        until(lambda: texts(store) == [TEXT], "it is a job", 60)
        shown = run(["events", "tail", "--once", "--json"], directory=tmp_path)
        noted = [json.loads(line) for line in shown.stdout.splitlines()]
        assert ("openfire", "message", "bob@example.org") in [(job["source"], job["type"], job["to"]) for job in noted]
        checked = run(["check"], directory=tmp_path)
        assert "Streams" in checked.stdout or "streams" in checked.stdout, checked.stdout
        assert read(openfire, "ann", "bob")
        assert broker.stop() == 0
        output = broker.output() + shown.stdout + checked.stdout
    assert TEXT not in output
    assert "ofchat" not in output.replace("plugin.ofchat", "")
    assert sorted(openfire.state.logins) == ["ann", "bob"]
    until(lambda: not openfire.state.open_readers, "nobody reads any more", 60)
    assert store.command("EXISTS", store.keys.sse("openfire")) == 0


def test_another_process_reads_within_the_lease_after_a_kill(
    openfire: Openfire, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, openfire, ["ann", "bob"], lease=f"{LEASE_S}s")
    with two(tmp_path, openfire, store) as (first, other):
        before = holder(store, "ann")
        first.signal(signal.SIGKILL)
        watch, killed_s = Stopwatch.start(other), time.time()
        until(lambda: holder(store, "ann") not in (before, None), "another has the lease", 60)
        took_s = watch.took_s()
        until(lambda: any(not reader.is_ended for reader in openfire.state.open_readers), "another reads", 60)
        newest = openfire.state.readers
        until(lambda: {"ann", "bob"} <= set(newest) and read(openfire, "ann", "bob"), "both are read", 60)
        say(openfire, "ann", "bob", "after the death")
        until(lambda: texts(store) == ["after the death"], "it is a job", 60)
        first.wait()
        until(lambda: {"ann", "bob"} <= {gap[0] for gap in gaps_in(other.output())}, "the gaps are reported", 60)
        for _, since_s, until_s in gaps_in(other.output()):
            assert killed_s - LEASE_S < since_s < killed_s < until_s, "since the last heartbeat"
    assert took_s < LEASE_S + 2.0
    assert sorted(openfire.state.logins) == ["ann", "bob"]
