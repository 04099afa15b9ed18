"""What is measured. `SCENARIOS` has them in the order in which they run; each returns its rows."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Final

import attrs

from dev.benchmarks import cores, floor
from dev.benchmarks.measure import Cost, full_queue, mark, until_listening, worker
from dev.benchmarks.peers import BULLMQ, OURS, PEERS, REPLY, SIDEKIQ, Load, Peer
from dev.benchmarks.processes import cpu_s, memory_mib
from dev.benchmarks.run import Case, Found, Run
from dev.benchmarks.surroundings import COMMAND, KINDS, SLOW_MS
from dev.benchmarks.visits import VISITS, slowly_posted, visited
from tests.support.ejabberd import Ejabberd
from tests.support.ports import free_port

FULL: Final = "full queue"
RATES: Final = (50, 500, 3000)
_RATE_S: Final = 10
_JOBS: Final = 40_000
_BACKOFF: Final = {"Base": "1s", "Factor": 1, "Cap": "1s"}
_PARKED: Final = 60_000
_PARK: Final = """
for number = 1, ARGV[1] do
  redis.call('ZADD', 'dead', number, '{"class":"Add","queue":"rest0","jid":"' .. string.format('%024x', number) ..
    '","args":["set_presence",{"user":"john","host":"example.org"},"bench"],"error_class":"ServerError"}')
end
"""

MESSAGE: Final = "author=alice&server=localhost&receiver=bob&message=Hello%2C+Bob%21+This+is+message+@NUMBER@"
PUSHER: Final = {"Kind": "mongooseim-webhook", "Queue": "chat", "Class": "ChatEvent"}
ALERT: Final = {
    "title": "[FIRING:1] High memory (eu-1) @NUMBER@",
    "message": "**Firing**\n\nValue: B=22, C=1\nLabels:\n - alertname = High memory\n - zone = eu-1\n",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "High memory", "zone": "eu-1"},
            "annotations": {"summary": "Memory of eu-1 is nearly full"},
            "startsAt": "2026-03-01T08:53:31Z",
            "generatorURL": "https://grafana.example.org/alerting/grafana/m1/view",
            "fingerprint": "c6eadffa33fcdf37",
            "values": {"B": 22, "C": 1},
        }
    ],
}


@attrs.frozen
class Idle:
    """A broker that has nothing to do."""

    cpu_percent: float
    memory_mib: float


def full(run: Run) -> Found:
    """Everything empties a queue; the floor beside it."""
    url, body = f"{run.around.url('ejabberd')}/{COMMAND}", Load(1).arguments()
    post = partial(floor.post, run.around.directory, url, body, run.jobs(200_000))
    floors = [Case(FULL, f"floor, {name}", partial(post, language=name)) for name in floor.LANGUAGES]
    return run.alternate([*floors, *(run.case(FULL, Load(run.jobs(peer.jobs)), peer) for peer in run.peers())])


def rates(run: Run) -> Found:
    """Jobs come one by one; Celery does not reach the last rate. And a broker that has nothing to do."""
    cases = [
        run.case(f"{rate}/s", Load(run.jobs(rate * _RATE_S, 100), rate=rate), peer)
        for rate in RATES
        for peer in run.peers()
        if peer.jobs > rate and peer.name != REPLY
    ]
    return run.alternate([*cases, Case("idle", OURS, partial(_idle, run))])


def kinds(run: Run) -> Found:
    """Each kind of server, and HTTPS: a full queue, and 500 jobs a second."""
    cases = [run.case(FULL, Load(run.jobs(_JOBS), server=name), candidate=name) for name in KINDS]
    rate = run.jobs(500 * _RATE_S, 100)
    return run.alternate(
        [*cases, *(run.case("500/s", Load(rate, 500, name), candidate=name) for name in KINDS)],
    )


def order(run: Run) -> Found:
    """Jobs of a few users, each user's one after the other."""
    cases = [run.case("without", Load(run.jobs(_JOBS), users=1000))]
    for users in (10_000, 1000, 100, 10):
        load = Load(run.jobs(_JOBS / 2), users=users, target={"OrderBy": ["user"]})
        cases.append(run.case(f"{users:,} users", load))
    return run.alternate(cases)


def pages(run: Run) -> Found:
    """The pages off, on, and looked at."""
    cases = [Case("pages off", OURS, partial(_beside, run, {}, nullcontext))]
    for name, address in {"pages on": "", **VISITS}.items():
        port = free_port()
        visit = partial(_visit, run, port, address) if address else nullcontext
        cases.append(Case(name, OURS, partial(_beside, run, {"Stats": True, "StatsPort": port}, visit)))
    return run.alternate(cases)


def more(run: Run) -> Found:
    """What else a job's cost depends on: one thing in each row."""
    jobs = run.jobs(_JOBS)
    loads = {
        **{f"{number} targets": Load(jobs, targets=number) for number in (10, 100)},
        **{f"{number} processes": Load(jobs, processes=number) for number in (2, 4)},
        **{
            f"{size} kB a job": Load(run.jobs(jobs), text_bytes=size * 1000) for size, jobs in ((3, 20_000), (30, 5000))
        },
        "a million jobs waiting": Load(jobs, waiting=run.jobs(1_000_000)),
    }
    return run.alternate([run.case("plain", Load(jobs)), *(run.case(name, load) for name, load in loads.items())])


def slow(run: Run) -> Found:
    """A server that takes 50 ms for each answer."""
    return run.alternate(
        [
            run.case(
                f"{connections} connections",
                Load(run.jobs(connections / SLOW_MS * 5000, 100), 0, "slow", connections),
                peer,
            )
            for connections in (20, 200, 1000)
            for peer in run.peers(OURS, BULLMQ)
        ]
    )


def failures(run: Run) -> Found:
    """One request in ten, at random, is answered with 500, and tried again after a second (Sidekiq adds up to nine)."""

    def load(peer: Peer, server: str) -> Load:
        return Load(run.jobs(peer.jobs / 2), server=server, keys={"Backoff": _BACKOFF})

    rows = {"none fails": "ejabberd", "one in ten fails": "flaky"}
    peers = run.peers(OURS, BULLMQ, SIDEKIQ)
    return run.alternate([run.case(row, load(peer, name), peer) for row, name in rows.items() for peer in peers])


def ejabberd(run: Run) -> Found:
    """A real one, which has a core to itself; the floor is bare Python with the same command."""
    with cores.first_alone(run.around.redis.info("server")["process_id"]):
        server = Ejabberd(run.around.directory / "ejabberd").start()
        try:
            return run.alternate(_real(run, server))
        finally:
            server.kill()


def events(run: Run) -> Found:
    """Messages of MongooseIM's event pusher over ten connections, as fast as they are taken."""
    return run.alternate([Case("10 senders", OURS, partial(_events, run))])


def posts(run: Run) -> Found:
    """What eight senders post becomes jobs of an application or messages, while a ninth posts ten times a second."""
    map_ = {"Options": {"Map": {"title": "/title", "text": "/message"}}}
    arguments = {"type": "chat", "from": "alerts@example.org", "to": "ops@example.org", "subject": ""}
    said = {"Target": "target-rest0", "Command": "send_message", "Arguments": arguments | {"body": "{title}\n{text}"}}
    rows = {
        "jobs of an application": partial(_alerts, run, {**map_, "Queue": "alerts", "Class": "Alert"}),
        "messages, the server is away": partial(_alerts, run, {**map_, **said}),
        "messages, sent": partial(_alerts, run, {**map_, **said}, is_there=True),
    }
    return run.alternate([Case(row, OURS, measure) for row, measure in rows.items()])


SCENARIOS: Final[Mapping[str, Callable[[Run], Found]]] = {
    part.__name__: part for part in (full, rates, kinds, order, pages, more, slow, failures, ejabberd, events, posts)
}


def _idle(run: Run) -> Idle:
    with worker(PEERS[0], run.bench(Load(1))) as pid:
        time.sleep(3)
        before_s, lasts_s = cpu_s(pid), max(1.0, _RATE_S * 2 * run.scale)
        time.sleep(lasts_s)
        return Idle((cpu_s(pid) - before_s) / lasts_s * 100, memory_mib(pid))


def _beside(run: Run, keys: Mapping[str, object], beside: Callable[[], AbstractContextManager[None]]) -> Cost:
    return full_queue(PEERS[0], run.bench(Load(run.jobs(_JOBS * 4), keys=keys)), beside=beside)


@contextmanager
def _visit(run: Run, port: int, address: str) -> Iterator[None]:
    run.around.redis.eval(_PARK, 0, _PARKED)
    with visited(port, address):
        yield


def _real(run: Run, server: Ejabberd) -> list[Case]:
    command, body = "check_account", {"user": "admin", "host": server.hosts[0]}
    jobs, login = run.jobs(20_000), {"User": server.admin, "Pass": server.password}
    target = {"URL": server.url, "Auth": {"Basic": login}, "Domain": server.hosts[0]}
    bench = run.bench(Load(jobs, command=command, body=body, target=target))

    def done() -> int:
        return jobs - int(run.around.redis.llen(f"queue:{bench.load.queues[0]}"))

    post = partial(floor.post, run.around.directory, f"{server.url}/{command}", body, jobs)
    return [
        Case(command, f"floor, {floor.BARE}", partial(post, authorization=server.authorization())),
        Case(command, OURS, partial(full_queue, PEERS[0], bench, done)),
    ]


def _events(run: Run) -> Cost:
    return posted(run, PUSHER, MESSAGE, run.jobs(20_000), senders=10)


def _alerts(run: Run, source: Mapping[str, object], *, is_there: bool = False) -> Cost:
    """Post alerts as Grafana does. The target's server may be there."""
    source = {"Kind": "webhook", **source}
    return posted(run, source, ALERT, run.jobs(100_000), 8, is_there=is_there, one_more=True)


def posted(
    run: Run,
    source: Mapping[str, object],
    body: Mapping[str, object] | str,
    posts: int,
    senders: int,
    *,
    is_there: bool = True,
    one_more: bool = False,
) -> Cost:
    """Measure what posts cost until each is a job, or done by the target.

    `one_more`: beside them, one posts JSON ten times a second, whose latency is told. A source with a secret gets it.
    """
    port, nowhere, store, around = free_port(), free_port(), run.around.redis, run.around
    target = {} if is_there else {"URL": f"http://127.0.0.1:{nowhere}/api"}
    keys = {"Events": {"Listen": f"127.0.0.1:{port}", "Sources": {"posted": {"Path": "/events/in", **source}}}}
    store.flushall()
    bench = run.bench(Load(1, keys=keys, target=target))
    with worker(PEERS[0], bench) as pid:
        until_listening(bench, pid, port)
        before = mark(around, pid)
        url = f"http://127.0.0.1:{port}/events/in"
        post = partial(floor.post, around.directory, url, body, posts)
        if "Secret" in source:
            post = partial(post, authorization=f"Bearer {source['Secret']}")
        nobody: AbstractContextManager[list[float]] = nullcontext([])
        with slowly_posted(url, body) if one_more and not isinstance(body, str) else nobody as waits_ms:
            found = post(connections=senders, on_last=False)
        of_target = "Target" in source
        while of_target and is_there and store.llen("queue:rest0"):
            time.sleep(0.05)
        used, memory = mark(around, pid).since(before), memory_mib(pid)
    jobs = store.llen("queue:rest0" if of_target else f"queue:{source['Queue']}")
    if not (of_target and is_there) and jobs != posts + len(waits_ms):
        raise SystemExit(f"{posts} were posted, and {jobs} are jobs")
    cuts = statistics.quantiles(waits_ms, n=20) if len(waits_ms) > 1 else [None] * 19
    return Cost(
        jobs_per_s=found.jobs_per_s,
        cpu_us=used.cpu_s / posts * 1e6,
        redis_us=used.redis_s / posts * 1e6,
        commands=used.commands / posts,
        memory_mib=memory,
        p50_ms=cuts[9],
        p95_ms=cuts[18],
    )
