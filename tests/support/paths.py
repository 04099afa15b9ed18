"""Histories of jobs that a broker inside the test does, by plans, in steps or in tasks, and what they leave behind.

Used by the tests that hold these three ways to each other. Always holds: a history is made of its seed alone, and the
server answers each job as the job's own mood says, so that what is left behind depends on nothing else.
"""

import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from restbroker.app.build import plan_of
from restbroker.broker import broker
from restbroker.broker.plan import BrokerPlan
from restbroker.broker.signals import Control
from restbroker.broker.status.status import Status
from restbroker.config.load import load
from restbroker.job import signing
from restbroker.job.arguments import Submission
from restbroker.job.backoff import ExponentialBackoff
from restbroker.job.command import Command
from restbroker.servers import registry
from restbroker.store.client import Client, items, raw
from restbroker.telemetry.counters import Counters
from restbroker.telemetry.events import Event, JobFinished, OneEvent
from restbroker.telemetry.latency import Histogram
from tests.support.active_job import OBJECT, wrapper
from tests.support.moody_server import Mood, MoodyServer, mood
from tests.support.redis_server import RedisServer
from tests.support.single_events import single_events
from tests.support.wait import until_async
from tests.support.ways import Way, by

_COMMANDS: Final = (
    "register",
    "send_message",
    "user_sessions_info",
    "add_rosteritem",
    "check_account",
    "kick_user",
    "ban_account/v0",
    "announce_all",
    "srg_create",
    "not_in_the_catalogue",
)
_SAMPLES: Final = ("restbroker_jobs_total", "restbroker_failures_total")
_DURATIONS: Final = "restbroker_job_duration_seconds"
_IN_YEARS: Final = ExponentialBackoff(1e9, 1.0, 1e9)
"""No retry comes while a history lasts."""
_FOR_GOOD: Final = frozenset({"ack", "retry", "dead", "drop"})
"""The fates of jobs that do not come back while a history lasts."""
NO_KEYS: Final[Mapping[str, Any]] = {}
_TIMES: Final = frozenset({"failed_at", "retried_at", "enqueued_at", "created_at", "at", "ms", "duration_ms"})
_TOKENS: Final[Mapping[str, Mapping[str, Any]]] = {
    "bound": {"Secret": "bound to a host", "Allow": ["*"], "Hosts": ["example.org"]},
    "one": {"Secret": "for one command", "Allow": ["register"]},
}


def jobs_of(seed: int, count: int, trouble: float = 0.1) -> list[bytes]:
    """Return random jobs, most of them plain ones."""
    chance = random.Random(seed)
    return [json.dumps(_job(chance, f"{seed}-{number}", trouble)).encode() for number in range(count)]


def job(name: str, its_mood: Mood, command: str = "send_message") -> bytes:
    """Return a plain job."""
    args = [command, {"user": name, "mood": its_mood.to_text()}, "t"]
    return json.dumps({"class": "Add", "args": args, "jid": name, "queue": "q", "retry": True}).encode()


def _job(chance: random.Random, name: str, trouble: float) -> dict[str, Any]:
    command = chance.choice(_COMMANDS[:4] if chance.random() < 0.9 else _COMMANDS)
    arguments: dict[str, Any] = {"user": name, "mood": mood(chance, trouble).to_text()}
    token = "t"
    if chance.random() < 0.8:
        arguments["host"] = "example.org"
    if chance.random() < 0.01:
        arguments["id"] = "an id"
    if chance.random() < 0.01:
        token = "not a token"
    args: list[object] = [command, arguments, token]
    if chance.random() < 0.33:
        args.append(f"reply-{name}")
    made: dict[str, Any] = {"class": "Add", "args": args, "jid": name, "queue": "q", "retry": True}
    oddity = chance.random()
    if oddity < 0.04:
        made |= chance.choice(_ODD)
    elif oddity < 0.08:
        chance.choice(_CHANGES)(made, args)
    if made.get("idempotency_key") is True:
        # Of several jobs of one key, either path may send another one first.
        made["idempotency_key"] = name
    return made


_ODD: Final[Sequence[dict[str, Any]]] = (
    {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    {"retry": False},
    {"retry": 0},
    {"retry": 3, "retry_count": 2},
    {"retry_count": 1, "error_message": "500", "failed_at": 1.0},
    {"restbroker_effected": True},
    {"args": ["register", "no object", "t"]},
    {"class": "Another"},
    {"retry_queue": "low"},
    {"extra": {"of": ["a", "producer", None, 1.5]}},
    {"expiry": 1.5},
    {"expiry": 4e9},
    {"expiry": "soon"},
    {"idempotency_key": True},
    {"idempotency_key": 5},
    {"restbroker_unique": {"key": "k", "lock": "a" * 64, "for": 60}},
)


def _sign(made: dict[str, Any], args: list[Any]) -> None:
    submission = Submission(Command(args[0], args[1]), "", args[3] if len(args) > 3 else None)
    args[2] = signing.sign("t", "default", int(time.time()), made["jid"], submission, "q")


_CHANGES: Final[Sequence[Callable[[dict[str, Any], list[Any]], object]]] = (
    _sign,
    lambda _made, args: args.__setitem__(2, _TOKENS["bound"]["Secret"]),
    lambda _made, args: args.__setitem__(2, _TOKENS["one"]["Secret"]),
    lambda _made, args: args.__setitem__(1, [list(pair) for pair in args[1].items()]),
    lambda _made, args: args.__setitem__(1, json.dumps(args[1])),
    lambda made, args: made.__setitem__("args", json.dumps(args)),
    lambda made, args: made.__setitem__("args", [*args[:3], 5]),
    lambda made, args: made.__setitem__("args", [*args[:3], 1.5]),
    lambda made, args: made.__setitem__("args", [*args[:3], True]),
    lambda made, args: made.__setitem__("args", [*args[:3], ""]),
    lambda made, args: made.__setitem__("args", [*args[:3], "r", "a fifth"]),
    lambda _made, args: args[1].update(big=2**70, deep=[[{"é": 1e300}]]),
    lambda _made, args: args.__setitem__(0, args[0].partition("/")[0] + "/v1"),
    lambda _made, args: args[1].update(host=5),
    lambda made, _args: made.update(reply_to="restbroker:reply:" + made["jid"]),
    lambda made, _args: made.update(restbroker_uncertain=1),
    lambda made, _args: made.update(restbroker_may_have_run=True),
    lambda made, _args: made.update(ok_if_exists=True),
    lambda made, _args: made.update(restbroker_accepted="no mark of ours"),
    lambda made, args: made.update(wrapper(args)),
    lambda made, args: made.update(wrapper([args[0], {**args[1], "user": OBJECT}, *args[2:]])),
)


@attrs.frozen
class Behind:
    """What a history left behind, without times."""

    requests: Counter[bytes]
    redis: dict[str, list[str]]
    finished: Counter[str]
    samples: dict[str, str]

    def differences(self, other: "Behind") -> list[str]:
        """Return a line for each thing that is not the same in both."""
        lines = []
        for field in ("requests", "finished"):
            mine, theirs = getattr(self, field), getattr(other, field)
            lines += [
                f"{field}: {key!r}: {mine[key]} and {theirs[key]}"
                for key in {*mine, *theirs}
                if mine[key] != theirs[key]
            ]
        for field in ("redis", "samples"):
            mine, theirs = getattr(self, field), getattr(other, field)
            for key in sorted({*mine, *theirs}):
                if (one := mine.get(key)) != (another := theirs.get(key)):
                    lines.append(f"{field}: {key}: {_unlike(one, another)}")
        return lines


def _unlike(one: object, another: object) -> str:
    if isinstance(one, list) and isinstance(another, list):
        return f"{[*(Counter(one) - Counter(another))][:3]} and {[*(Counter(another) - Counter(one))][:3]}"
    return f"{one} and {another}"


@attrs.define(eq=False)
class Serving:
    """A broker that runs, with its server, its Redis and what it reported. `ended`: how many jobs ended for good."""

    client: Client
    server: MoodyServer
    configure: Callable[[dict[str, Any]], BrokerPlan]
    control: Control = attrs.field(factory=Control)
    counters: Counters = attrs.field(factory=lambda: Counters(lambda _target: _COMMANDS, trio.current_time))
    events: list[OneEvent] = attrs.field(factory=list)
    by_plan: Counter[str] = attrs.field(factory=Counter)
    ended: int = 0
    requests_at: dict[type, int] = attrs.field(factory=dict)
    """{event: how many requests of jobs the server had when it was reported first}."""
    next_plan: BrokerPlan | None = None
    """What it serves after a reload."""
    status: Status = attrs.field(factory=Status)

    def report(self, event: Event) -> None:
        self.counters(event)
        for single in single_events(event):
            self.events.append(single)
            self.requests_at.setdefault(type(single), self.server.requests.total())
            self.ended += isinstance(single, JobFinished) and single.fate in _FOR_GOOD

    def push(self, jobs: Sequence[bytes]) -> None:
        for first in range(0, len(jobs), 1000):
            self.client.command("LPUSH", "queue:q", *jobs[first : first + 1000])

    def finished(self) -> list[JobFinished]:
        return [event for event in self.events if isinstance(event, JobFinished)]

    @property
    def planned(self) -> int:
        """How many jobs were delivered as a plan says."""
        return self.by_plan["jobs"]

    async def until_ended(self, jobs: int) -> None:
        await until_async(lambda: self.ended >= jobs, "all jobs are done", 900)

    async def reload(self) -> BrokerPlan | None:
        return self.next_plan


@attrs.define(eq=False)
class Paths:
    """Runs brokers and histories over one Redis."""

    redis: RedisServer
    folder: Path
    client: Client

    def run(self, jobs: Sequence[bytes], way: Way) -> tuple[Behind, float]:
        """Have a broker do these jobs; return what they left behind, and the share of those delivered as planned."""

        async def work() -> tuple[Behind, float]:
            async with self.broker(jobs, way=way) as serving:
                await serving.until_ended(len(jobs))
                serving.control.stop.set()
            return _behind(serving), serving.planned / len(serving.finished())

        return trio.run(work)

    @asynccontextmanager
    async def broker(
        self,
        jobs: Sequence[bytes],
        *,
        way: Way = "plan",
        ours: bool = True,
        document: Mapping[str, Any] = NO_KEYS,
        **keys: Any,
    ) -> AsyncIterator[Serving]:
        """Run a broker on an emptied Redis with these jobs; the block ends it by `control`, and what it left stays.

        `ours`: whether it takes the connector for one of restbroker's own.

        `keys` are the target's, such as another server's `URL`; those of `document` are the configuration's.
        """
        self.redis.flush()
        server = MoodyServer()
        serving = Serving(self.client, server, lambda more: self._plan(serving, document, more, way, ours=ours))
        serving.push(jobs)
        async with trio.open_nursery() as around:
            await around.start(server.run)
            async with trio.open_nursery() as nursery:
                plan = attrs.evolve(serving.configure(keys), status=serving.status)
                nursery.start_soon(broker.run, plan, serving.control, serving.reload)
                yield serving
            around.cancel_scope.cancel()

    def _plan(
        self, serving: Serving, keys: Mapping[str, Any], more: Mapping[str, Any], way: Way, *, ours: bool
    ) -> BrokerPlan:
        target = {
            "Kind": "ejabberd",
            "URL": f"http://127.0.0.1:{serving.server.port}/api",
            "Auth": {"Basic": {"User": "admin@example.org", "Pass": "secret"}},
            "Queues": ["q"],
            "Domain": "example.net",
            "RequestTimeout": "4s",
            "Slots": {"kick_user": 2},
            "AtMostOnce": ["srg_create"],
        }
        document = {
            "RedisURL": self.redis.url,
            "Token": "t",
            "Tokens": _TOKENS,
            "ResponseQueue": "replies",
            "Targets": {"t": {**target, **more}},
            **keys,
        }
        path = self.folder / "env.json"
        path.write_text(json.dumps(document))
        plan = plan_of(load(path, {}, {}, registry.kinds()).config, serving.report, serving.counters)
        (only,) = plan.targets
        connector = by(only.connector, way, serving.by_plan)
        only = attrs.evolve(
            only, is_ours=ours, connector=connector, policy=attrs.evolve(only.policy, backoff=_IN_YEARS)
        )
        return attrs.evolve(plan, targets=[only])


def _behind(serving: Serving) -> Behind:
    samples, client = serving.counters.samples(), serving.client
    durations = [sum(value.counts) for value in samples.get(_DURATIONS, {}).values() if isinstance(value, Histogram)]
    return Behind(
        requests=serving.server.requests,
        redis={key: _content(client, key) for key in _keys(client)},
        finished=Counter(str(attrs.evolve(event, duration_s=0.0)) for event in serving.finished()),
        samples={name: str(sorted(samples.get(name, {}).items())) for name in _SAMPLES} | {_DURATIONS: str(durations)},
    )


def _keys(client: Client) -> list[str]:
    return sorted(raw(key).decode() for key in items(client.command("KEYS", "*")))


def _content(client: Client, key: str) -> list[str]:
    """Return what lies in a key, sorted, of jobs without their times; of a key of another kind, what kind it is."""
    match raw(client.command("TYPE", key)):
        case b"list":
            found = items(client.command("LRANGE", key, 0, -1))
        case b"zset":
            found = items(client.command("ZRANGE", key, 0, -1))
        case b"string" if key.startswith("stat:"):
            return [raw(client.command("GET", key)).decode()]
        case other:
            return [other.decode()]
    return sorted(_timeless(raw(member)) if raw(member).startswith(b"{") else str(member) for member in found)


def _timeless(member: bytes) -> str:
    """Return a job or a reply without what is another at each run: times, and the ids of replies."""
    job = json.loads(member, object_hook=lambda one: {name: one[name] for name in one if name not in _TIMES})
    if job.get("queue") == "replies":
        del job["jid"]
    if "restbroker_accepted" in job:
        # In place of its token, at a time of which a part is random.
        job["args"][2], job["restbroker_accepted"] = "a signature", "accepted"
    return json.dumps(job, sort_keys=True)
