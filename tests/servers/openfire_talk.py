"""Brokers between recorded answers of Openfire and an application that has nothing but jobs and events. For tests.

What a user does is a job for the target `chat`; what happens to him is a job on the queue `events`. Always holds: an
answer is that of the job that asked, and each event that a test waited for is taken once.
"""

import itertools
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs

from restbroker.store import paging, queues
from restbroker.store.client import Client, StoreSettings, open_client
from tests.support.openfire_chat.server import Openfire
from tests.support.openfire_chat.state import DOMAIN
from tests.support.process import Running, started
from tests.support.redis_server import RedisServer
from tests.support.shared import FAST_RETRIES, TOKEN
from tests.support.wait import until

EVENTS: Final = "events"
PASSWORD: Final = "secret"
ROOM: Final = "den"
_PATIENCE_S: Final = 180.0
"""A starved machine is slow, and no claim is wrong by that."""

_GAP: Final = re.compile(r"events of (\w+) between (\S+) and (\S+) may be missing")

Event = Mapping[str, Any]
Answer = Mapping[str, Any]
Gap = tuple[str, float, float]
"""A user whose events may be missing, since when and until when, in seconds since 1970."""


def gaps_in(text: str) -> list[Gap]:
    """Those that this log names."""
    return [(user, *(datetime.fromisoformat(at).timestamp() for at in (a, b))) for user, a, b in _GAP.findall(text)]


@attrs.frozen
class Moment:
    """What had happened by then: how many events were lost, and when it was, in seconds since 1970."""

    lost: int
    at_s: float


@attrs.define(eq=False)
class Talk:
    """The application. `users` are logged in, and their events are read; those of `askers` while they ask."""

    server: Openfire
    store: Client
    brokers: Sequence[Running]
    users: Sequence[str]
    askers: Sequence[str] = ()
    _taken: set[str] = attrs.field(factory=set)
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))

    def jid(self, user: str) -> str:
        """The user's address."""
        return f"{user}@{DOMAIN}"

    def push(self, command: str, **arguments: object) -> str:
        """A job; its id. `from_` is the argument `from`."""
        jid = f"{next(self._numbers):024}"
        named = {name.removesuffix("_"): value for name, value in arguments.items()}
        payload = {
            "class": "Add",
            "args": [command, named, TOKEN],
            "jid": jid,
            "retry": 5,
            "queue": "talk",
            "reply_to": f"restbroker:reply:{jid}",
            "created_at": time.time(),
            "enqueued_at": time.time(),
        }
        queues.push(self.store, "talk", [json.dumps(payload).encode()])
        return jid

    def answer(self, jid: str) -> Answer:
        """What happened to it, as soon as it has come to its end."""
        raw = queues.wait_reply(self.store, jid, _PATIENCE_S)
        assert raw is not None, f"job {jid} has not come to its end:\n{self.output()}"
        answer: Answer = json.loads(raw)
        return answer

    def do(self, command: str, **arguments: object) -> Answer:
        """A job that has to be delivered."""
        answer = self.answer(self.push(command, **arguments))
        assert answer["outcome"] == "delivered", f"{command} {arguments}: {answer}"
        return answer

    def events(self) -> list[Event]:
        """All events that have come, the oldest first."""
        jobs = queues.peek(self.store, EVENTS, 0, 100_000)
        return [{**json.loads(job)["args"][0], "jid": json.loads(job)["jid"]} for job in jobs]

    def event(self, user: str, kind: str, word: str | None = None, **members: object) -> Event:
        """The oldest event of this kind to this user with these members that nobody waited for before.

        `word`: its type in the server's words.
        """

        def found() -> Event | None:
            for event in self.events():
                if event["jid"] not in self._taken and self._is(event, user, (kind, word), members):
                    return event
            return None

        wanted = f"{user} gets {kind} {word} {members}"
        try:
            event = until(found, wanted, _PATIENCE_S)
        except AssertionError as error:
            known = "\n".join(map(str, self.events()))
            raise AssertionError(f"{error}\ncame:\n{known}\nlost: {self.server.state.lost}\n{self.output()}") from None
        assert event is not None
        self._taken.add(event["jid"])
        return event

    def now(self) -> Moment:
        """For `event_or_gap`."""
        return Moment(len(self.server.state.lost), time.time())

    def event_or_gap(self, user: str, kind: str, since: Moment) -> None:
        """As `event`; or the server had no stream for it, and the log names the gap.

        Between a login and the opening of its stream it sends nothing, and a job may be faster than the reader.
        """
        of_kind = {"message": '"type": "chat"', "groupchat": '"type": "groupchat"', "invitation": "invitationRec"}[kind]

        def is_over() -> bool:
            lost = [data for name, data in self.server.state.lost[since.lost :] if name == user and of_kind in data]
            if lost and any(name == user and until_s > since.at_s for name, _, until_s in self.gaps()):
                return True
            return any(self._is(event, user, (kind, None), {}) for event in self.untaken())

        until(is_over, f"{user} gets {kind}, or the log names the gap", _PATIENCE_S)
        if any(self._is(event, user, (kind, None), {}) for event in self.untaken()):
            self.event(user, kind)

    def untaken(self) -> list[Event]:
        """The events that nobody has waited for."""
        return [event for event in self.events() if event["jid"] not in self._taken]

    def is_read(self, user: str) -> bool:
        """Whether his events are read now."""
        with self.server.state.lock:
            reader = self.server.state.readers.get(user)
            return reader is not None and not reader.is_ended

    def listening(self, *users: str) -> None:
        """Waits until the events of these (all) users are read."""
        wanted = users or self.users
        try:
            until(lambda: all(map(self.is_read, wanted)), f"the events of {wanted} are read", _PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None

    def dead(self) -> list[str]:
        """The ids of the jobs in the dead set."""
        dead = paging.piece(self.store, "dead", None, 1000, newest_first=False).members
        return [json.loads(raw)["jid"] for raw, _ in dead]

    def gaps(self) -> list[Gap]:
        """What the logs of all brokers name."""
        return gaps_in("".join(broker.output() for broker in self.brokers))

    def output(self) -> str:
        """The last output of all brokers."""
        return "\n".join(broker.output()[-6000:] for broker in self.brokers)

    def _is(self, event: Event, user: str, kind: tuple[str, str | None], members: Mapping[str, object]) -> bool:
        raw = event["raw"]
        named = {**raw, **event}
        is_his = (event["to"] or "").partition("/")[0] == self.jid(user)
        is_so = event["type"] == kind[0] and kind[1] in (None, raw.get("type"))
        return is_his and is_so and all(named.get(name) == value for name, value in members.items())


@contextmanager
def talking(
    place: Path,
    redis: RedisServer,
    server: Openfire,
    users: Sequence[str],
    *,
    askers: Sequence[str] = (),
    brokers: int = 1,
    **how: Any,
) -> Iterator[Talk]:
    """Brokers that run. `how`: as for `configure`."""
    server.state.register(*users, *askers, password=PASSWORD)
    configure(place, redis, server, users, askers=askers, **how)
    with ExitStack() as stack:
        store = stack.enter_context(closing(open_client(StoreSettings(redis.url))))
        running = [stack.enter_context(started(["run"], directory=place)) for _ in range(brokers)]
        talk = Talk(server, store, running, users, askers)
        for broker in running:
            broker.wait_for(r"started|running|ready", timeout_s=_PATIENCE_S)
        yield talk
        for broker in running:
            if broker.process.poll() is None:
                assert broker.stop() == 0, broker.output()


def configure(
    place: Path,
    redis: RedisServer,
    server: Openfire,
    users: Sequence[str],
    *,
    askers: Sequence[str] = (),
    lease: str = "15s",
    more: Mapping[str, object] = MappingProxyType({}),
    targets: Mapping[str, object] = MappingProxyType({}),
    sources: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Writes the configuration. `lease`: how long a stream stays with a broker that is dead.

    `more`: further keys, besides further `targets` and `sources`.
    """
    passwords = place / "passwords"
    passwords.write_text("".join(f"{user}:{PASSWORD}\n" for user in (*users, *askers)))
    passwords.chmod(0o600)
    target = {
        "Kind": "openfire-chat",
        "URL": server.url,
        "Domain": DOMAIN,
        "Auth": {"Basic": {"User": "admin", "Pass": "secret"}},
        "Queues": ["talk"],
        "AtMostOnce": ["announce_*"],
    }
    options = {"Target": "chat", "Users": list(users), "PasswordsFile": str(passwords), "Lease": lease}
    if askers:
        options["Askers"] = list(askers)
    source = {"Kind": "openfire-sse", "Queue": EVENTS, "Class": "Event", "Options": options}
    document = {
        "RedisURL": redis.url,
        "Token": TOKEN,
        "Backoff": FAST_RETRIES,
        "Targets": {"chat": target, **targets},
        "Events": {"Sources": {"openfire": source, **sources}},
        "LogLevel": "debug",
        **more,
    }
    (place / "env.json").write_text(json.dumps(document))
