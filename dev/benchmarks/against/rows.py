"""What `--against` compares: `ROWS` has all rows in the order in which they are measured.

Always holds: a row names nothing of a commit but its command line and env.json, so commits of any age can be measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

import attrs

from dev.benchmarks.against.measures import (
    PARKED,
    PARKED_JID,
    Measure,
    at_rest,
    beside_parked,
    command,
    costs,
    far_away,
    pages,
    posts,
    start_and_stop,
)
from dev.benchmarks.peers import ONE_BUSY, PEERS, TRACED, Load
from dev.benchmarks.scenarios import ALERT, MESSAGE, PUSHER

_JOBS: Final = 30_000
_SLOW_ROUNDS: Final = 3
"""Of what takes ten seconds to set up, or finds the same each time, as memory is."""
_LONG_ROUNDS: Final = 5
"""Of what takes ten seconds to measure."""
_MILLION: Final = 1_000_000
_BACKOFF: Final = {"Base": "1s", "Factor": 1, "Cap": "1s"}
_WEBHOOK: Final = {
    "Kind": "webhook",
    "Secret": "a secret of bench",
    "Options": {"Map": {"title": "/title", "text": "/message"}},
    "Queue": "alerts",
    "Class": "Alert",
}


@attrs.frozen
class Row:
    """A row of the table. `limits`: its own ones, by figure; `rounds`: at most so many, where one takes long."""

    name: str
    about: str
    measure: Measure
    limits: Mapping[str, float] = attrs.field(factory=dict)
    rounds: int = 9


def _full(name: str, about: str, load: Load) -> Row:
    return Row(name, f"a full queue: {about}", costs(load))


def _start(name: str, *words: str, exits: tuple[int, ...] = (0,)) -> Row:
    measure = command(*words, exits=exits, with_config=not words[0].startswith("--"))
    return Row(f"start-{name}", f"CPU of `restbroker {' '.join(words)}`", measure)


def _parked(name: str, *words: str, exits: tuple[int, ...] = (0,)) -> Row:
    about = f"`restbroker {' '.join(words)}` with {PARKED:,} jobs in `retry` and as many in `dead`"
    return Row(f"parked-{name}", about, command(*words, parked=PARKED, exits=exits), rounds=_SLOW_ROUNDS)


ROWS: Final[Sequence[Row]] = (
    # Every job pays this, so less of it is borne.
    Row("full", "a full queue: ejabberd", costs(Load(_JOBS)), limits={"cpu_us": 1.02}),
    *(
        _full(name, name, Load(_JOBS * 2 // 3, server=name))
        for name in ("https", "mongooseim", "openfire", "prosody", "http")
    ),
    _full("socket", "ejabberd at a unix socket", Load(_JOBS, server="socket")),
    Row("traceparent", "a full queue: each job has a `traceparent`", costs(Load(_JOBS * 2 // 3), TRACED)),
    Row("reply", "a full queue: each job has a reply", costs(Load(_JOBS * 2 // 3), PEERS[1])),
    _full("fails", "one in ten fails", Load(_JOBS // 2, server="flaky", keys={"Backoff": _BACKOFF})),
    _full("header", "a header that differs in each answer", Load(_JOBS, server="differing")),
    _full("ratelimit", "`RateLimit`", Load(_JOBS * 2 // 3, target={"RateLimit": "1000000/s"})),
    _full("inflight", "`MaxInFlight`", Load(_JOBS * 2 // 3, target={"MaxInFlight": 1000})),
    _full("once", "`AtMostOnce`", Load(_JOBS // 2, target={"AtMostOnce": ["*"]})),
    _full("slots", "`Slots`", Load(_JOBS * 2 // 3, target={"Slots": {"set_presence": 20}})),
    _full("history", "`History`", Load(_JOBS, keys={"History": "1h"})),
    _full("processes", "two processes", Load(_JOBS, processes=2)),
    *(_full(f"targets-{number}", f"{number} targets", Load(_JOBS * 2 // 3, targets=number)) for number in (10, 100)),
    Row("targets-busy", "a full queue: 100 targets, of which one has jobs", costs(Load(_JOBS, targets=100), ONE_BUSY)),
    *(
        _full(f"order-{keys}", f"`OrderBy`, {keys:,} keys", Load(jobs, users=keys, target={"OrderBy": ["user"]}))
        for keys, jobs in ((1, 3_000), (5, 8_000), (100, 15_000), (10_000, 20_000))
    ),
    *(
        _full(f"fair-{keys}", f"`FairBy`, {keys:,} keys", Load(20_000, users=keys, target={"FairBy": ["user"]}))
        for keys in (1, 5, 10_000)
    ),
    Row("rate-50", "50 jobs/s", costs(Load(250, rate=50))),
    Row("rate-500", "500 jobs/s", costs(Load(2_500, rate=500))),
    Row("rate-3000", "3,000 jobs/s", costs(Load(12_000, rate=3000))),
    Row("rate-500-history", "500 jobs/s with `History`", costs(Load(2_500, rate=500, keys={"History": "1h"}))),
    Row("rate-50-eight", "50 jobs/s for eight processes", costs(Load(250, rate=50, processes=8)), rounds=_LONG_ROUNDS),
    *(
        Row(f"events-{senders}", f"messages of MongooseIM, {senders} senders", posts(PUSHER, MESSAGE, count, senders))
        for senders, count in ((1, 1_500), (10, 6_000), (100, 10_000))
    ),
    *(
        Row(f"webhook-{senders}", f"JSON with a secret, {senders} senders", posts(_WEBHOOK, ALERT, count, senders))
        for senders, count in ((1, 1_500), (10, 6_000), (100, 10_000))
    ),
    _start("version", "--version"),
    _start("help", "--help"),
    _start("enqueue", "enqueue", "register", "user=john", "host=example.org", "password=s3cret"),
    _start("stats", "stats"),
    _start("dead-list", "dead", "list"),
    _start("queues", "queues"),
    _start("explain", "explain", PARKED_JID),
    # To it, what answers everything with 0 is no ejabberd.
    _start("check", "check", exits=(0, 1, 5)),
    Row("start-run", "CPU of `restbroker run` until its first request", start_and_stop),
    Row("idle", "a process without work, in its first minute", at_rest(Load(1), 12)),
    Row("idle-stats", "the same with `Stats`", at_rest(Load(1, keys={"Stats": True}), 6), rounds=_LONG_ROUNDS),
    Row("idle-two", "two processes without work", at_rest(Load(1, processes=2), 6), rounds=_LONG_ROUNDS),
    Row("idle-targets", "1,000 targets without work", at_rest(Load(1, targets=1000), 10), rounds=_SLOW_ROUNDS),
    Row("drain", "a full queue that lasts longer than ten seconds", costs(Load(350_000)), rounds=_SLOW_ROUNDS),
    Row("waiting", "a full queue: 300,000 more wait", costs(Load(_JOBS, waiting=300_000)), rounds=_SLOW_ROUNDS),
    *(
        Row(f"million-{key}", f"a full queue: a million jobs in `{key}`", measure, rounds=_SLOW_ROUNDS)
        for key, measure in ((key, beside_parked(Load(_JOBS), key, _MILLION)) for key in ("retry", "dead"))
    ),
    Row("far-1", "a full queue: Redis is 1 ms away", far_away(Load(20_000), 1)),
    Row("far-5", "a full queue: Redis is 5 ms away", far_away(Load(20_000), 5), rounds=_SLOW_ROUNDS),
    Row("pages", f"pages, with {PARKED:,} jobs in `retry` and as many in `dead`", pages, rounds=_SLOW_ROUNDS),
    _parked("stats", "stats"),
    _parked("dead-list", "dead", "list"),
    _parked("dead-summary", "dead", "summary"),
    _parked("find", "find", "nobody", exits=(1,)),
    _parked("explain", "explain", "f" * 24, exits=(1,)),
)


def chosen(patterns: Iterable[str]) -> Sequence[Row]:
    """Return the rows with these names, in which `*` stands for anything; all for no names.

    Raise `ValueError` if there is no such row.
    """
    patterns = tuple(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(row.name, pattern) for row in ROWS):
            raise ValueError(f"no row is called {pattern}; there are {', '.join(row.name for row in ROWS)}")
    return [row for row in ROWS if not patterns or any(fnmatchcase(row.name, pattern) for pattern in patterns)]
