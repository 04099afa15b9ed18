"""A process that freezes or stops leaves its streams to another, does not read on when it wakes, and loses nothing."""

import json
import os
import signal
from pathlib import Path
from typing import Final

from restbroker.store.client import Client
from tests.events.conftest import events_in
from tests.events.openfire_sse.conftest import say
from tests.events.openfire_sse.test_process import LEASE_S, holder, read, texts, two
from tests.servers.openfire_talk import EVENTS, configure
from tests.support.openfire_chat.server import Openfire
from tests.support.process import Stopwatch
from tests.support.redis_server import RedisServer
from tests.support.wait import until

MANY: Final = 4000
"""Events that lie in the connection of a process that does not run."""


def notified(store: Client) -> int:
    """How many events without a text are jobs."""
    return sum(event["type"] == "notify" for event in events_in(store, EVENTS))


def test_thawed_process_stops_reading_and_loses_nothing_it_had(
    openfire: Openfire, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, openfire, ["ann", "bob"], lease=f"{LEASE_S}s")
    with two(tmp_path, openfire, store) as (first, _):
        before, old = holder(store, "bob"), openfire.state.readers["bob"]
        os.kill(first.process.pid, signal.SIGSTOP)
        try:
            # More than is made into jobs in a second, and less than a connection holds.
            for number in range(MANY):
                openfire.state.emit("bob", "chatapi.notify", json.dumps({"type": "notify", "id": str(number)}))
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


def test_process_frozen_while_its_stream_ended_opens_none(
    openfire: Openfire, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, openfire, ["ann", "bob"], lease=f"{LEASE_S}s")
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
    openfire: Openfire, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, openfire, ["ann", "bob"], lease="60s")
    with two(tmp_path, openfire, store) as (first, other):
        old = dict(openfire.state.readers)
        assert first.stop() == 0
        watch = Stopwatch.start(other)
        until(lambda: openfire.state.readers.get("ann") not in (None, old["ann"]), "another reads", 60)
        # It looks each second, whatever the lease.
        assert watch.took_s() < 10
