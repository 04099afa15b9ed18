"""Notifications while Redis is frozen, or readers killed, stopped or away: each once, and the registration is kept.

It is lost where nobody reads and the component's name does not resolve to ejabberd's own machine.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import pytest

from restbroker.store import queues
from restbroker.store.client import Client as RedisClient
from restbroker.store.client import StoreSettings, open_client
from tests.events.component.mix import HOST, NAME
from tests.events.component.nightly.test_kills import own_redis
from tests.events.component.test_ejabberd import configure, reads
from tests.events.component.test_push_ejabberd import pushing, register
from tests.events.conftest import QUEUE, events_in
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.process import Running, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.support.xmpp import Client, Clients

__all__ = ["own_redis", "pushing"]
"""Fixtures."""
AWAY_S: Final = 20


@attrs.define(eq=False)
class Sleeper:
    """A user who is away, to whom Ann writes; `brokers` read."""

    user: str
    ann: Client
    store: RedisClient
    brokers: list[Running]
    place: Path
    stack: ExitStack
    sent: list[str] = attrs.field(factory=list)

    def write(self, count: int) -> None:
        for _ in range(count):
            self.sent.append(f"text {len(self.sent)}")
            self.ann.say(f"{self.user}@{HOST}", self.sent[-1])

    def begin(self) -> None:
        """Another broker reads."""
        self.brokers.append(self.stack.enter_context(started(["run"], directory=self.place)))
        reads(self.brokers[-1])

    def end(self) -> None:
        """No broker reads."""
        for broker in self.brokers:
            assert broker.stop() == 0
        self.brokers.clear()

    def await_all(self) -> None:
        """Wait until as many jobs are there as texts were written; to count them costs little."""
        key = self.store.keys.queue(QUEUE)
        until(lambda: self.store.command("LLEN", key) == len(self.sent), "all of it is reported", 90)

    def await_last(self) -> None:
        last = f'"{self.sent[-1]}"'.encode()
        # On a busy machine ejabberd makes ten notifications a second.
        newest = partial(queues.peek, self.store, QUEUE, 0, 100, newest_first=True)
        until(lambda: any(last in job for job in newest()), "the registration is kept", 300)

    def counts(self) -> Counter[str]:
        return Counter(event["body"] for event in events_in(self.store))

    def lost(self) -> list[str]:
        """The messages that did not come, once a last one has; none comes twice."""
        self.write(1)
        self.await_last()
        time.sleep(2.0)
        counts = self.counts()
        assert max(counts.values()) == 1
        return [text for text in self.sent if not counts[text]]


@contextmanager
def sleeping(place: Path, server: Ejabberd, redis: RedisServer, brokers: int) -> Iterator[Sleeper]:
    configure(place, server, redis, Take=["push"], Rooms=[])
    store = open_client(StoreSettings(redis.url))
    with ExitStack() as stack, Clients(server.c2s_port, HOST) as clients:
        # One who has no messages of an earlier test, of which there would be notifications as well.
        user = f"user-{time.time_ns()}"
        server.call("register", user=user, host=HOST, password=PASSWORD)
        sleeper = Sleeper(user, clients.login("ann", PASSWORD), store, [], place, stack)
        for _ in range(brokers):
            sleeper.begin()
        register(server, clients, user)
        yield sleeper
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
        sleeper.write(900)
        sleeper.await_all()
        sleeper.write(100)
        sleeper.brokers[1].process.kill()
        sleeper.write(100)
        time.sleep(1.0)
        sleeper.write(900)
        lost = sleeper.lost()
        assert set(lost) <= set(sleeper.sent[900:1100]), "besides what the killed one held, or was just sent"


@pytest.mark.promise
def test_a_stopped_reader_of_two_loses_nothing(pushing: Ejabberd, own_redis: RedisServer, tmp_path: Path) -> None:
    with sleeping(tmp_path, pushing, own_redis, 2) as sleeper:
        sleeper.write(300)
        sleeper.brokers[1].process.terminate()
        sleeper.write(300)
        sleeper.brokers[1].process.wait(30)
        assert sleeper.lost() == []


@pytest.fixture
def known(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ejabberd]:
    """An ejabberd whose /etc/hosts has the component's name, if `request.param` says so.

    This machine's file stays as it is: ejabberd has a mount namespace of its own.
    """
    hosts = tmp_path_factory.mktemp("hosts") / "hosts"
    hosts.write_text(f"127.0.0.1 {HOST}{f' {NAME}' if request.param else ''}\n")
    inside = (
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount --bind "$0" /etc/hosts && exec "$@"',
        str(hosts),
    )
    server = Ejabberd(tmp_path_factory.mktemp("known"), component=NAME, within=inside).start()
    server.call("register", user="ann", host=HOST, password=PASSWORD)
    yield server
    server.kill()


@pytest.mark.promise
@pytest.mark.parametrize("known", [True], indirect=True)
def test_a_name_that_is_known_keeps_the_registration(known: Ejabberd, own_redis: RedisServer, tmp_path: Path) -> None:
    """What comes while nobody reads is lost."""
    with sleeping(tmp_path, known, own_redis, 2) as sleeper:
        sleeper.write(10)
        sleeper.await_all()
        sleeper.end()
        for _ in range(AWAY_S):
            sleeper.write(1)
            time.sleep(1.0)
        sleeper.begin()
        sleeper.write(10)
        assert set(sleeper.lost()) <= set(sleeper.sent[10 : 10 + AWAY_S])


@pytest.mark.parametrize("known", [False], indirect=True)
def test_an_unknown_name_loses_it_until_the_next_login(known: Ejabberd, own_redis: RedisServer, tmp_path: Path) -> None:
    with sleeping(tmp_path, known, own_redis, 1) as sleeper:
        sleeper.end()
        sleeper.write(1)
        until(lambda: "disabling push" in known.log_tail(), "ejabberd drops it", 60)
        sleeper.begin()
        sleeper.write(1)
        with Clients(known.c2s_port, HOST) as clients:
            register(known, clients, sleeper.user)
        assert sleeper.lost() == ["text 0", "text 1"]
