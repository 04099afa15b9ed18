"""Notifications while Redis is frozen, or a reader killed or stopped: each once, and the registration is kept."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import pytest

from restbroker.store.client import Client as RedisClient
from restbroker.store.client import StoreSettings, open_client
from tests.events.component.mix import HOST
from tests.events.component.nightly.test_kills import own_redis
from tests.events.component.test_ejabberd import configure, reads
from tests.events.component.test_push_ejabberd import pushing, register
from tests.events.conftest import events_in
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.process import Running, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.support.xmpp import Client, Clients

__all__ = ["own_redis", "pushing"]
"""Fixtures."""


@attrs.define(eq=False)
class Sleeper:
    """A user who is away, to whom Ann writes; `brokers` read."""

    user: str
    ann: Client
    store: RedisClient
    brokers: list[Running]
    sent: list[str] = attrs.field(factory=list)

    def write(self, count: int) -> None:
        for _ in range(count):
            self.sent.append(f"text {len(self.sent)}")
            self.ann.say(f"{self.user}@{HOST}", self.sent[-1])

    def told(self) -> Counter[str]:
        return Counter(one["body"] for one in events_in(self.store))

    def lost(self) -> list[str]:
        """What was not told, once a last message is; nothing is told twice."""
        self.write(1)
        until(lambda: self.told()[self.sent[-1]], "the registration is kept", 90)
        time.sleep(2.0)
        told = self.told()
        assert max(told.values()) == 1
        return [text for text in self.sent if not told[text]]


@contextmanager
def sleeping(place: Path, server: Ejabberd, redis: RedisServer, brokers: int) -> Iterator[Sleeper]:
    configure(place, server, redis, Take=["push"], Rooms=[])
    store = open_client(StoreSettings(redis.url))
    with ExitStack() as stack, Clients(server.c2s_port, HOST) as clients:
        running = [stack.enter_context(started(["run"], directory=place)) for _ in range(brokers)]
        for one in running:
            reads(one)
        # One who has no messages of an earlier test, of which there would be notifications as well.
        user = f"user-{time.time_ns()}"
        server.call("register", user=user, host=HOST, password=PASSWORD)
        register(server, clients, user)
        yield Sleeper(user, clients.login("ann", PASSWORD), store, running)
    store.close()


@pytest.mark.promise
def test_a_frozen_redis_loses_no_notification(pushing: Ejabberd, own_redis: RedisServer, tmp_path: Path) -> None:
    with sleeping(tmp_path, pushing, own_redis, 1) as sleeper:
        sleeper.write(10)
        own_redis.suspend()
        sleeper.write(300)
        time.sleep(40.0)
        own_redis.resume()
        assert sleeper.lost() == []


@pytest.mark.promise
def test_a_killed_reader_of_two_loses_what_it_held(pushing: Ejabberd, own_redis: RedisServer, tmp_path: Path) -> None:
    with sleeping(tmp_path, pushing, own_redis, 2) as sleeper:
        sleeper.write(300)
        sleeper.brokers[1].process.kill()
        sleeper.write(300)
        assert len(sleeper.lost()) < 100


@pytest.mark.promise
def test_a_stopped_reader_of_two_loses_nothing(pushing: Ejabberd, own_redis: RedisServer, tmp_path: Path) -> None:
    with sleeping(tmp_path, pushing, own_redis, 2) as sleeper:
        sleeper.write(300)
        sleeper.brokers[1].process.terminate()
        sleeper.write(300)
        sleeper.brokers[1].process.wait(30)
        assert sleeper.lost() == []
