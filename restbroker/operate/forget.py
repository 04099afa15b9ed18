"""One person in Redis: the jobs, stopped keys and records that name them, and how these are taken out.

Called by `restbroker forget`. A person is named by their address, in any text; by their name as the whole of an
argument; and by it as a word in keys of jobs, in fields of hashes and in what people typed. Always holds: `alice` is
not in `malice`, nor in a job that names another host; jobs leave by `act.perform`, with its audit entries, so that the
audit log is swept last; what stays is named.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Final

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.job import arguments, rubyjson
from restbroker.job.arguments import Submission
from restbroker.job.hosts import plain
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.operate import act, act_waiting, keys
from restbroker.operate.act import Progress
from restbroker.operate.act_job import Action
from restbroker.operate.act_set import SetJobs
from restbroker.operate.context import ConfigContext
from restbroker.operate.find import SearchLimits
from restbroker.operate.walk import SearchQuery, Walk
from restbroker.store import order, traces
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet
from restbroker.store.order import BusyKey
from restbroker.store.traces import Trace

_LIMITS: Final = SearchLimits(seconds=3600.0, jobs=10_000_000)
_HOSTS: Final = re.compile("host|domain|server", re.IGNORECASE)
"""What is in the names of arguments that are hosts."""
_TYPED: Final = (b"where", b"why", b"changes", b"left", b"jids")
"""The fields of an audit entry that a person can be in, besides `place`."""


@frozen
class Person:
    """A user: `name` and `host` in `plain` form. `hosts`: {queue: the host of its jobs that name none}."""

    name: str
    host: str
    hosts: Mapping[str, str | None]

    @property
    def address(self) -> str:
        """Their address."""
        return f"{self.name}@{self.host}"

    @cached_property
    def _address(self) -> re.Pattern[str]:
        return re.compile(rf"(?<![\w.+%-]){re.escape(self.address)}(?![\w-]|\.\w)")

    @cached_property
    def _word(self) -> re.Pattern[str]:
        other = rf"(?!{re.escape(self.host)}(?![\w-]|\.\w))[\w-]+\.\w"
        return re.compile(rf"(?<![\w.+%@-]){re.escape(self.name)}(?![\w+%-]|\.\w|@{other}|\W{{1,4}}{other})")

    def has_word(self, text: bytes) -> bool:
        """Tell whether their name or address is a word in this text, the name not beside another host."""
        return self._word.search(plain(text.decode("utf-8", "replace"))) is not None

    def is_in(self, raw: bytes) -> bool:
        """Tell whether this text has their address or, if it is JSON, a member that is their name."""
        if raw.isascii() and b"\\u" not in raw and self.name.encode() not in raw.lower():
            return False
        try:
            value = rubyjson.loads(raw)
        except rubyjson.Unreadable:
            value = raw.decode("utf-8", "replace")
        text = value if isinstance(value, str) else rubyjson.dumps(value).decode()
        return self._address.search(plain(text)) is not None or self._is_member(value, self.host)

    def left(self, trace: Trace, audit: str) -> bool:
        """Tell whether they are in something that is no job; `audit`: the key of the audit log."""
        if trace.key != audit:
            return any(map(self.has_word if trace.removal[0] == "HDEL" else self.is_in, trace.texts))
        fields = dict(zip(trace.texts[::2], trace.texts[1::2], strict=True))
        is_typed = any(self.has_word(fields.get(name, b"")) for name in _TYPED)
        return is_typed or (fields.get(b"place", b"").startswith(b"roster:") and self.has_word(fields[b"place"]))

    def _is_member(self, value: Json, host: str) -> bool:
        """Tell whether a member is the name, in an object that is of the host; `host`: whose it is if it names none."""
        if isinstance(value, dict) and "args" in value:
            asked = arguments.read(value["args"])
            host = self.hosts.get(str(value.get("queue"))) or host
            return self._is_member(
                {**asked.command.arguments} if isinstance(asked, Submission) else value["args"], host
            )
        if isinstance(value, dict):
            named = [plain(one) for name, one in value.items() if isinstance(one, str) and _HOSTS.search(name)]
            is_here = self.host in (named or [plain(host)])
            return any((is_here and self._is_name(one)) or self._is_member(one, host) for one in value.values())
        return isinstance(value, list) and any(self._is_member(one, host) for one in value)

    def _is_name(self, value: Json) -> bool:
        values = value if isinstance(value, list) else [value]
        return any(isinstance(one, str) and plain(one) == self.name for one in values)


@frozen
class Found:
    """Where a person is. `waiting`: {queue: keys of jobs}. `stored`: {set: keys of jobs}.

    `stopped`: their keys that are stopped, with the targets. `counts`: {place: how often they are there}; `staying`
    likewise, of what is not taken out.
    """

    waiting: Mapping[str, Sequence[str]]
    stored: Mapping[SortedSet, Sequence[str]]
    stopped: Sequence[tuple[Target, BusyKey]]
    counts: Mapping[str, int]
    staying: Mapping[str, int]


def look(client: Client, config: Config, known: ConfigContext, person: Person, *, foreign_queues: bool) -> Found:
    """Return where the person is; without `foreign_queues` jobs of queues that nothing here serves stay.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    walk = Walk(client, known, _LIMITS, SearchQuery(person.is_in, lambda _: True, lambda _: False))
    waiting, stored = defaultdict[str, list[str]](list), defaultdict[SortedSet, list[str]](list)
    counts, staying = Counter[str](), Counter[str]()
    for met in chain(walk.all_places(), walk.in_unlisted_queues()):
        queue = met.name if met.kind == "queue" else met.view.queue
        place = f"{met.kind} {met.name}" if met.kind in ("queue", "in progress") else met.kind
        if met.kind == "in progress":
            staying[place] += 1
        elif not foreign_queues and known.target(queue) is None:
            staying[f"{place} (of a queue that nothing here serves: --foreign-queues)"] += 1
        else:
            counts[place] += 1
            if met.kind == "queue":
                waiting[met.name].append(met.view.timed.key)
            else:
                stored[met.kind].append(met.view.key)
    held = ((target, page) for target in config.targets for page in order.read_keys(client, target.name, target.queues))
    busy = [(target, one) for target, page in held for one in page if one.state == "stopped"]
    stopped = [(target, one) for target, one in busy if person.has_word(one.key)]
    counts |= Counter({"stopped keys": len(stopped)}) if stopped else {}
    counts |= Counter(trace.key for trace in traces.read(client) if person.left(trace, client.keys.audit))
    staying |= Counter(f"not searched: {place}" for place in (*walk.unseen, *walk.refused))
    return Found(waiting, stored, stopped, counts, staying)


def erase(
    client: Client, config: Config, known: ConfigContext, person: Person, found: Found, action: Action
) -> Iterator[Progress]:
    """Delete these jobs, let the stopped keys go on, and remove what else names the person, and has named them since.

    Yield the progress of each step, as `act.perform` does. Raise `StoreUnavailable` or `StoreRefused`.
    """
    for queue, names in found.waiting.items():
        yield from act.perform(client, act_waiting.select(client, queue, (), config, keys=names), action, known)
    # Before the dead jobs: to delete one that stops a key writes the key into the audit log.
    for target, busy in found.stopped:
        yield from keys.steer(client, target, "skip", busy, known=known, who=action.who, why=action.why)
    for zset, names in found.stored.items():
        yield from act.perform(client, SetJobs(zset, tuple(names)), action, known)
    traces.remove(client, [trace for trace in traces.read(client) if person.left(trace, client.keys.audit)])
