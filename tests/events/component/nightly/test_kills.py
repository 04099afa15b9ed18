"""Fifty messages a second, and something is killed or frozen: what is lost lies within a time that the log names.

Always holds of these tests: a message comes once at most, and one outside of each named time comes.
"""

import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
import pytest

from restbroker.store.client import Client, StoreSettings, open_client
from tests.events.component.conftest import epoch_s
from tests.events.component.mix import HOST, NAME, Component, Mix, differences, event_of, prepare, without_late_copies
from tests.events.component.test_ejabberd import configure, reads
from tests.events.conftest import events_in
from tests.support.ejabberd import PASSWORD, REMOTE, Ejabberd
from tests.support.process import Running, freeze, run, started
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.wait import until
from tests.support.xmpp import Clients

EACH_S: Final = 0.02
_GAP: Final = re.compile(r"events between (\S+) and (\S+) may be missing")
_LOST: Final = re.compile(r"(\d+) events between (\S+) and (\S+) are lost")


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One that has on disk what it has answered."""
    server = RedisServer(
        redis_binary(), tmp_path_factory.mktemp("own-redis"), {"appendonly": "yes", "appendfsync": "always"}
    ).start()
    yield server
    server.close()


@pytest.fixture
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    server = Ejabberd(tmp_path_factory.mktemp("speaking"), component=NAME).start()
    yield server
    server.kill()


@attrs.define(eq=False)
class Talk:
    """Ann writes to Bob, all the time while its `with` block runs. `sent`: when each message was sent."""

    server: Ejabberd
    sent: dict[str, float] = attrs.field(factory=dict)
    _ends: threading.Event = attrs.field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ends.set()
        assert self._thread is not None
        self._thread.join(120)
        self._ends.clear()

    def _talk(self) -> None:
        # A client whose server is killed fails in many ways.
        with suppress(Exception), Clients(self.server.c2s_port, HOST) as clients:
            ann, bob = clients.login("ann", PASSWORD), clients.login("bob", PASSWORD)
            del bob
            while not self._ends.wait(EACH_S):
                text = f"text {len(self.sent)}"
                self.sent[text] = time.time()
                number = f"id='{text}'" if len(self.sent) % 2 else ""  # every other one has no id
                ann.send(f"<message to='bob@{HOST}' type='chat' {number}><body>{text}</body></message>")
            if self.server.process is not None:  # else nobody answers
                ann.ask(HOST, "<ping xmlns='urn:xmpp:ping'/>")


@attrs.define(eq=False)
class Feed:
    """The brokers that read one source, and what they said."""

    place: Path
    store: Client
    stack: ExitStack
    brokers: list[Running] = attrs.field(factory=list)

    def begin(self) -> Running:
        broker = self.stack.enter_context(started(["run"], directory=self.place))
        self.brokers.append(broker)
        reads(broker)
        return broker

    def counts(self) -> Counter[str]:
        return Counter(event["body"] for event in events_in(self.store) if event["type"] == "message")

    def gaps(self) -> list[tuple[float, float]]:
        found = [gap for broker in self.brokers for gap in _GAP.findall(broker.output())]
        found += [loss[1:] for broker in self.brokers for loss in _LOST.findall(broker.output())]
        return [(epoch_s(since), epoch_s(until_)) for since, until_ in found]

    def judge(self, talk: Talk, gaps: int) -> list[str]:
        """Waits for so many named times; returns what was lost, all of it within them, and nothing came twice."""
        until(lambda: len(self.gaps()) >= gaps, f"{gaps} gaps are named", 60)
        last = list(talk.sent)[-1]
        until(lambda: self.counts()[last], "the last one is reported", 60)
        counts = self.counts()
        lost = [text for text in talk.sent if not counts[text]]
        outside = [text for text in lost if not any(a <= talk.sent[text] <= b for a, b in self.gaps())]
        assert not outside, f"lost outside of {self.gaps()}: {[(place, talk.sent[place]) for place in outside]}"
        assert max(counts.values()) == 1
        return lost


@contextmanager
def feeding(place: Path, server: Ejabberd, redis: RedisServer, **options: object) -> Iterator[tuple[Feed, Talk]]:
    configure(place, server, redis, Rooms=[], **options)
    for user in ("ann", "bob"):
        server.call("register", user=user, host=HOST, password=PASSWORD)
    store = open_client(StoreSettings(redis.url))
    with ExitStack() as stack:
        yield Feed(place, store, stack), Talk(server)
    store.close()


@pytest.mark.promise
@pytest.mark.parametrize("pause_s", [0.0, 2.0])
def test_a_killed_broker_lost_nothing_outside_the_gap(
    speaking: Ejabberd, own_redis: RedisServer, tmp_path: Path, pause_s: float
) -> None:
    with feeding(tmp_path, speaking, own_redis) as (feed, talk):
        broker = feed.begin()
        talk.begin()
        for _ in range(3):
            time.sleep(3.0)
            broker.process.kill()
            broker.process.wait()
            time.sleep(pause_s)
            broker = feed.begin()
        time.sleep(7.0)
        talk.end()
        lost = feed.judge(talk, 3)
        assert bool(lost) or not pause_s


@pytest.mark.promise
def test_killed_one_of_two_brokers_is_reported_by_the_other(
    speaking: Ejabberd, own_redis: RedisServer, tmp_path: Path
) -> None:
    with feeding(tmp_path, speaking, own_redis) as (feed, talk):
        feed.begin()
        second = feed.begin()
        talk.begin()
        time.sleep(5.0)
        second.process.kill()
        time.sleep(8.0)
        talk.end()
        lost = feed.judge(talk, 1)
        assert len(lost) < 50, "the other one read on"


@pytest.mark.promise
def test_frozen_one_of_two_brokers_repeats_no_event(speaking: Ejabberd, own_redis: RedisServer, tmp_path: Path) -> None:
    """What the other read long ago it reads now; half of it has no id by which it could be known for a minute."""
    with feeding(tmp_path, speaking, own_redis) as (feed, talk):
        feed.begin()
        second = feed.begin()
        talk.begin()
        time.sleep(3.0)
        freeze(second.process.pid)
        time.sleep(4.0)
        second.signal(signal.SIGCONT)
        time.sleep(3.0)
        talk.end()
        assert feed.judge(talk, 0) == []


@pytest.mark.promise
def test_a_killed_ejabberd_is_read_again_and_the_gap_named(
    speaking: Ejabberd, own_redis: RedisServer, tmp_path: Path
) -> None:
    with feeding(tmp_path, speaking, own_redis) as (feed, talk):
        feed.begin()
        talk.begin()
        time.sleep(4.0)
        speaking.kill()
        time.sleep(1.0)
        speaking.start()
        until(feed.gaps, "the gap is named", 60)
        talk.end()
        again = Talk(speaking, dict(talk.sent))
        again.begin()
        time.sleep(4.0)
        again.end()
        feed.judge(again, 1)


@pytest.mark.promise
def test_a_killed_redis_loses_nothing(speaking: Ejabberd, own_redis: RedisServer, tmp_path: Path) -> None:
    with feeding(tmp_path, speaking, own_redis) as (feed, talk):
        feed.begin()
        talk.begin()
        time.sleep(3.0)
        own_redis.kill()
        time.sleep(4.0)
        own_redis.start()
        time.sleep(4.0)
        talk.end()
        assert feed.judge(talk, 0) == []


@pytest.mark.promise
def test_a_frozen_redis_loses_nothing_for_twenty_seconds(
    speaking: Ejabberd, own_redis: RedisServer, tmp_path: Path
) -> None:
    with feeding(tmp_path, speaking, own_redis) as (feed, talk):
        feed.begin()
        talk.begin()
        time.sleep(2.0)
        own_redis.suspend()
        time.sleep(20.0)
        own_redis.resume()
        time.sleep(4.0)
        talk.end()
        assert feed.judge(talk, 0) == []


@pytest.mark.promise
@pytest.mark.parametrize("is_known", [True, False])
def test_ten_checks_take_nothing_away(
    speaking: Ejabberd, own_redis: RedisServer, tmp_path: Path, is_known: bool
) -> None:
    """A reader that is not known yet shares with the check, which makes jobs of what it gets."""
    with feeding(tmp_path, speaking, own_redis) as (feed, talk):
        feed.begin()
        talk.begin()
        time.sleep(2.0)
        beside = 0
        for _ in range(10):
            if not is_known:
                feed.store.command("DEL", feed.store.keys.sources)
            checked = run(["check"], directory=tmp_path)
            beside += "This check reads" in checked.stdout
            assert "EventCame" in checked.stdout
        # The reader makes itself known again and again.
        assert beside == 0 if is_known else beside >= 5
        talk.end()
        assert feed.judge(talk, 0) == []


@pytest.mark.promise
@pytest.mark.parametrize("seed", range(3))
def test_six_hundred_events_come_once_each(
    speaking: Ejabberd, own_redis: RedisServer, tmp_path: Path, seed: int
) -> None:
    """By two brokers, of which each gets a share of the copies."""
    configure(tmp_path, speaking, own_redis)
    store = open_client(StoreSettings(own_redis.url))
    with (
        started(["run"], directory=tmp_path) as first,
        started(["run"], directory=tmp_path) as second,
        Component(speaking.component_port, REMOTE) as remote,
        Clients(speaking.c2s_port, HOST) as clients,
    ):
        reads(first)
        reads(second)
        prepare(speaking)
        mix = Mix(speaking, clients, remote, random.Random(seed))
        mix.begin()
        mix.do(600)
        mix.end()

        def is_complete() -> bool:
            return not differences(map(event_of, events_in(store)), mix.expected)[0]

        until(is_complete, "all of it is reported", 60)
        time.sleep(1.0)
        missing, besides = differences(map(event_of, without_late_copies(events_in(store))), mix.expected)
        assert (missing, besides) == (Counter(), Counter())
    store.close()
