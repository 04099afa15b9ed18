"""Real processes that share the streams of one Openfire: one reads each user, another when that one dies, freezes or
stops; a frozen one that wakes does not read on, and what Redis does not take at once is not lost.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from restbroker.store.client import Client
from tests.events.conftest import QUEUE, events_in
from tests.events.openfire_sse.conftest import say
from tests.servers.openfire_talk import gaps_in
from tests.support.openfire_chat.server import Openfire
from tests.support.process import Running, Stopwatch, run, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until

TEXT: Final = "a text that nobody else may see"
LEASE_S: Final = 3.0
MANY: Final = 4000
"""Events that lie in the connection of a process that does not run."""


def configure(
    place: Path, redis: RedisServer, server: Openfire, passwords: Path, lease_s: float = LEASE_S, **more: Any
) -> None:
    source = {
        "Kind": "openfire-sse",
        "Queue": QUEUE,
        "Class": "XmppEvent",
        "Options": {"Target": "chat", "Users": ["ann", "bob"], "PasswordsFile": str(passwords), "Lease": lease_s},
    }
    target = {
        "Kind": "openfire-chat",
        "URL": server.url,
        "Queues": ["chat"],
        "Auth": {"Basic": {"User": "admin", "Pass": "secret"}},
    }
    document = {
        "RedisURL": redis.url,
        "Token": "t",
        "LogLevel": "debug",
        "Targets": {"chat": target},
        "Events": {"Sources": {"openfire": source}},
    }
    (place / "env.json").write_text(json.dumps(document | more))


def texts(store: Client) -> list[str]:
    return [event["body"] for event in events_in(store) if event["type"] == "message"]


def notified(store: Client) -> int:
    """How many events without a text are jobs."""
    return sum(event["type"] == "notify" for event in events_in(store))


def holder(store: Client, user: str) -> bytes | None:
    entry = store.command("HGET", store.keys.sse("openfire"), user)
    return entry.split(b" ")[2] if isinstance(entry, bytes) else None


def read(server: Openfire, *users: str, count: int = 1) -> bool:
    found = [one.username for one in list(server.state.open_readers)]
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
    openfire: Openfire, redis_server: RedisServer, store: Client, passwords: Path, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, openfire, passwords, Processes=2)
    with started(["run"], directory=tmp_path) as broker:
        until(lambda: read(openfire, "ann", "bob"), "the streams are open", 60)
        say(openfire, "ann", "bob", TEXT)
        until(lambda: texts(store) == [TEXT], "it is a job", 60)
        shown = run(["events", "tail", "--once", "--json"], directory=tmp_path)
        noted = [json.loads(line) for line in shown.stdout.splitlines()]
        assert ("openfire", "message", "bob@example.org") in [(one["source"], one["type"], one["to"]) for one in noted]
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


def test_when_the_process_that_reads_is_killed_another_reads_within_the_time_of_the_lease(
    openfire: Openfire, redis_server: RedisServer, store: Client, passwords: Path, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, openfire, passwords)
    with two(tmp_path, openfire, store) as (first, other):
        before = holder(store, "ann")
        first.signal(signal.SIGKILL)
        watch, killed_s = Stopwatch.start(other), time.time()
        until(lambda: holder(store, "ann") not in (before, None), "another has the lease", 60)
        took_s = watch.took_s()
        until(lambda: any(not one.is_ended for one in openfire.state.open_readers), "another reads", 60)
        newest = openfire.state.readers
        until(lambda: {"ann", "bob"} <= set(newest) and read(openfire, "ann", "bob"), "both are read", 60)
        say(openfire, "ann", "bob", "after the death")
        until(lambda: texts(store) == ["after the death"], "it is a job", 60)
        first.wait()
        until(lambda: {"ann", "bob"} <= {gap[0] for gap in gaps_in(other.output())}, "the gaps are told", 60)
        for _, since_s, until_s in gaps_in(other.output()):
            assert killed_s - LEASE_S < since_s < killed_s < until_s, "since the last heartbeat"
    assert took_s < LEASE_S + 2.0
    assert sorted(openfire.state.logins) == ["ann", "bob"]


def test_one_that_was_frozen_does_not_read_on_when_it_wakes_and_what_it_had_got_is_not_lost(
    openfire: Openfire, redis_server: RedisServer, store: Client, passwords: Path, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, openfire, passwords)
    with two(tmp_path, openfire, store) as (first, _):
        before, old = holder(store, "bob"), openfire.state.readers["bob"]
        os.kill(first.process.pid, signal.SIGSTOP)
        try:
            # More than is made into jobs in a second, and less than a connection holds.
            for number in range(MANY):
                openfire.state.tell("bob", "chatapi.notify", json.dumps({"type": "notify", "id": str(number)}))
            say(openfire, "ann", "bob", "to the frozen one")
            assert not any('"body"' in data or '"notify"' in data for _, data in openfire.state.lost)
            until(lambda: holder(store, "bob") not in (before, None), "another has the lease", 60)
            until(lambda: openfire.state.readers.get("bob") not in (None, old), "another reads", 60)
            after = holder(store, "bob")
            say(openfire, "ann", "bob", "to the other")
            until(lambda: texts(store) == ["to the other"], "it is a job", 60)
        finally:
            os.kill(first.process.pid, signal.SIGCONT)
        until(lambda: texts(store) == ["to the other", "to the frozen one"], "what it had got is a job", 60)
        assert notified(store) == MANY
        until(lambda: read(openfire, "ann", "bob"), "it has left", 60)
        assert holder(store, "bob") == after
        say(openfire, "ann", "bob", "last")
        until(lambda: texts(store)[2:] == ["last"], "it comes once", 60)
        assert first.stop() == 0
        assert holder(store, "bob") == after


def test_one_that_was_frozen_while_its_stream_ended_opens_none_when_it_wakes(
    openfire: Openfire, redis_server: RedisServer, store: Client, passwords: Path, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, openfire, passwords)
    with two(tmp_path, openfire, store) as (first, _):
        old = openfire.state.readers["bob"]
        os.kill(first.process.pid, signal.SIGSTOP)
        try:
            with openfire.state.lock:
                openfire.state.end_readers("bob")
            until(lambda: openfire.state.readers.get("bob") not in (None, old), "another reads", 60)
            now = openfire.state.readers["bob"]
        finally:
            os.kill(first.process.pid, signal.SIGCONT)
        assert first.stop() == 0
        # It looked after the stream for as long as it took to stop.
        assert openfire.state.readers["bob"] is now
        say(openfire, "ann", "bob", "to the other")
        until(lambda: texts(store) == ["to the other"], "it is a job", 60)


def test_one_that_stops_leaves_its_users_to_another_at_once(
    openfire: Openfire, redis_server: RedisServer, store: Client, passwords: Path, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, openfire, passwords, lease_s=60.0)
    with two(tmp_path, openfire, store) as (first, other):
        old = dict(openfire.state.readers)
        assert first.stop() == 0
        watch = Stopwatch.start(other)
        until(lambda: openfire.state.readers.get("ann") not in (None, old["ann"]), "another reads", 60)
        # It looks each second, whatever the lease.
        assert watch.took_s() < 10
