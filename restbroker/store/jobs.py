"""Jobs in progress: an identity, its fetches, its settlements, its end. Used by worker pools.

Always holds: a job is in a queue, or in the identity's in-progress hash, or settled, and in exactly one of them; a call
that is repeated after a lost reply changes nothing that was done.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import attrs

from restbroker.errors import StoreRefused
from restbroker.job.format import PAYLOAD_LIMIT_BYTES, ResponseQueue
from restbroker.light import frozen, frozen_plain
from restbroker.store.client import (
    Argument,
    Client,
    Reply,
    ScriptCall,
    as_fields,
    integer,
    items,
    names,
    text,
    unexpected_reply,
)
from restbroker.store.codes import Code
from restbroker.store.identities import ProcessInfo
from restbroker.store.in_progress import FetchedJob
from restbroker.store.keys import RedisKeys
from restbroker.store.settling import FinishRequest, FinishSteps, list_keys, places_of_keys
from restbroker.store.tickets import MAX_BYTES

KNOWN_TARGETS: Final = 256
"""For how many targets the names of keys are kept."""
_NONE: Final = frozenset[str]()
_LIMITS: Final[Mapping[bytes, Literal["rate", "in_flight", "dead"]]] = {
    b"RATE": "rate",
    b"INFLIGHT": "in_flight",
    b"DEAD": "dead",
}


@frozen
class Limits:
    """The limits of a target over all processes; zero means no limit.

    `emission_us` is the time between two jobs of the rate limit (microseconds), `burst` how many may follow each other
    at once. `in_flight` bounds the jobs in progress of all processes, `dead` the size of the dead set.
    """

    emission_us: int = 0
    burst: int = 1
    in_flight: int = 0
    dead: int = 0


@frozen_plain
class FetchRequest:
    """A worker pool's request for jobs. `queues` are registered names, served in this order, which may vary.

    `base` is the highest ticket number that the pool knows of, `count` the number of jobs (500 at most), `hwm` the
    highest ticket number that may reach a worker before the next fetch or finish. `most_bytes`: how many bytes of jobs
    are read at most, though always one job; `limit_bytes`: a larger job stays in Redis, unless restbroker stored it.
    `key_rules`: what the target says of its keys (`job.fairness`, `job.order`); "": it has none. `follows`:
    other fetches may take jobs before this one is done; its tickets follow theirs, and `hwm` rises by as much.
    """

    identity: str
    target: str
    queues: tuple[str, ...]
    base: int
    count: int
    hwm: int
    limits: Limits = Limits()
    most_bytes: int = MAX_BYTES
    limit_bytes: int = PAYLOAD_LIMIT_BYTES
    key_rules: str = ""
    follows: bool = False


@frozen
class QueueCounts:
    """How many jobs a queue's list and its lines have; `without_key`: of those just moved, how many have no key."""

    queue: str
    in_list: int
    in_lines: int
    without_key: int = 0


@frozen_plain
class FetchResult:
    """What was taken, oldest first by queue. `bad` queues are no lists, may not be read, or are not registered.

    `paused`: the requested queues that are paused. `more`: a fetch at once finds more: the next job was left because of
    its size, or a call looks at no more. `counts`: of each queue, where any has lines or may get them. `due_ms`: in how
    many milliseconds the next key is due, whose first job waits; None: none is. `has_old_keys`: jobs wait in keys
    that were made otherwise, and nothing is taken from lists. `base`: the last number issued before, that of the
    request unless it `follows`.
    """

    jobs: tuple[FetchedJob, ...]
    paused: frozenset[str]
    bad: frozenset[str]
    more: bool = False
    counts: tuple[QueueCounts, ...] = ()
    due_ms: int | None = None
    has_old_keys: bool = False
    base: int = 0


@frozen
class IdentityUnknown:
    """The answer that Redis does not list the identity (any more): drop its jobs, and register a new one."""


@frozen
class UnknownTickets:
    """The answer that Redis issued tickets up to `last` that the pool does not know: `read_jobs` and adopt them.

    Nothing was taken.
    """

    last: int


@frozen
class TargetPaused:
    """The target is paused. Ask again after `for_ms` milliseconds, at most 1000: it may be resumed at any time."""

    for_ms: int


@frozen
class LimitReached:
    """A limit is reached; ask again after `for_ms` milliseconds, at most 1000. Nothing was taken."""

    why: Literal["rate", "in_flight", "dead"]
    for_ms: int


@frozen
class NotPlain:
    """A fetch that stood met something else than jobs that it may take, and took nothing: a usual one tells what."""


FetchAnswer: TypeAlias = FetchResult | NotPlain | IdentityUnknown | UnknownTickets | TargetPaused | LimitReached


def register(
    client: Client,
    identity: str,
    process: ProcessInfo,
    queues: Sequence[str],
    responses: ResponseQueue | None = None,
    key_rules: str = "",
    time_outs_s: Mapping[str, float] = MappingProxyType({}),
) -> bool:
    """Create an identity that may fetch from `queues`. False: it exists (also after a lost reply), so take a new one.

    `responses`: where the reply jobs of its jobs go if the process dies and they with it. `key_rules`: what its target
    says of its keys. `time_outs_s`: as in `Registration`. Raise `StoreUnavailable` or `StoreRefused`.
    """
    fields: dict[str, str | int] = dict(attrs.asdict(process))
    if responses is not None:
        fields |= {"response_queue": responses.name, "response_class": responses.job_class}
    if key_rules:
        fields["groups"] = key_rules
    fields |= {f"quiet_s:{command}".rstrip(":"): f"{longest_s:.3f}" for command, longest_s in time_outs_s.items()}
    for index, queue in enumerate(queues, start=1):
        fields |= {str(index): queue, f"index:{queue}": index}
    keys = client.keys
    reply = client.run(
        "register", [keys.heartbeats, keys.fenced_identities, keys.info(identity)], [identity, *as_fields(fields)]
    )
    return reply == 1


def fetch_call(keys: RedisKeys, request: FetchRequest) -> ScriptCall:
    """Return the call that reserves jobs, under tickets base + 1, base + 2, … One at a time per identity.

    Where its reply is lost, jobs may have been taken all the same: then the next fetch answers `UnknownTickets`.
    """
    limits = request.limits
    numbers = [request.base, request.count, request.hwm]
    numbers += [limits.emission_us, limits.burst, limits.in_flight, limits.dead]
    numbers += [request.most_bytes, request.limit_bytes]
    arguments: list[Argument] = [request.identity, *numbers, request.key_rules, int(request.follows), *request.queues]
    return "fetch", _fetch_keys(keys, request.identity, request.target, request.queues), arguments


@lru_cache(KNOWN_TARGETS)
def _fetch_keys(keys: RedisKeys, identity: str, target: str, queues: tuple[str, ...]) -> list[str]:
    """Return the keys of all fetches for one target: making their names costs as much as a job."""
    fixed = [keys.heartbeats, keys.in_progress(identity), keys.info(identity), keys.paused_queues, keys.pause(target)]
    fixed += [keys.rate(target), keys.in_flight(target), keys.sorted_set("dead")]
    fixed += [keys.fenced_identities, keys.unadmitted_counts]
    fixed += [*list_keys(keys, queues), *places_of_keys(keys, target, queues)]
    return [*fixed, *map(keys.pace, queues), *map(keys.hand, queues)]


def read_fetch(keys: RedisKeys, request: FetchRequest, reply: Reply | StoreRefused) -> FetchAnswer:
    """Return the answer to a fetch, from the reply to `fetch_call`.

    Raise the reply if it is a `StoreRefused`: nothing was taken; its hint names the keys to check where one has a wrong
    type.
    """
    if isinstance(reply, StoreRefused):
        raise _naming_keys(reply, keys, request.target)
    match reply:
        case [b"FENCED"]:
            return IdentityUnknown()
        case [b"DUP", last]:
            return UnknownTickets(integer(last))
        case [b"PAUSED", for_ms]:
            return TargetPaused(integer(for_ms))
        case [b"RATE" | b"INFLIGHT" | b"DEAD" as why, for_ms]:
            return LimitReached(_LIMITS[why], integer(for_ms))
        case [b"OK", paused, bad, batches, more, counts, key_rules, base]:
            due_ms, has_old_keys, *ends = [-1, 0] if key_rules is None else items(key_rules, 2)
            due = integer(due_ms)
            return FetchResult(
                jobs=_read_batches(request, items(batches), ends, integer(base)),
                paused=names(paused) if paused else _NONE,
                bad=names(bad) if bad else _NONE,
                more=more == 1,
                counts=() if counts is None else _read_counts(request.queues, counts),
                due_ms=None if due < 0 else due,
                has_old_keys=has_old_keys == 1,
                base=integer(base),
            )
        case other:
            raise unexpected_reply("a list of jobs", other)


class FinishAndFetch:
    """Jobs are settled and others taken in one round trip: the `calls` that it sends, and what their replies mean.

    It is `finish` and then `fetch`, each with its own answer or refusal; neither is undone or left out because of what
    becomes of the other. Only where Redis does not know the script of `finish` yet, `fetch` comes first.
    """

    def __init__(self, keys: RedisKeys, finished: FinishRequest, now_s: float, wanted: FetchRequest) -> None:
        self._keys = keys
        self._wanted = wanted
        self._settling = FinishSteps(keys, finished, now_s)
        self.calls = [*self._settling.calls, fetch_call(keys, wanted)]

    def answers(
        self, replies: Sequence[Reply | StoreRefused]
    ) -> tuple[list[Code] | StoreRefused, FetchAnswer | StoreRefused]:
        """Return the answers of `finish` and `fetch` from the replies to `calls`, or the refusal that each met."""
        *settled, taken = replies
        codes: list[Code] | StoreRefused
        answer: FetchAnswer | StoreRefused
        try:
            codes = self._settling.read_replies(settled)
        except StoreRefused as error:
            codes = error
        try:
            answer = read_fetch(self._keys, self._wanted, taken)
        except StoreRefused as error:
            answer = error
        return codes, answer


def _read_counts(queues: Sequence[str], found: Reply) -> tuple[QueueCounts, ...]:
    numbers = [*map(integer, items(found))]
    return tuple(map(QueueCounts, queues, numbers[::3], numbers[1::3], numbers[2::3]))


def _naming_keys(error: StoreRefused, keys: RedisKeys, target: str) -> StoreRefused:
    """Return the error, with the keys to check if a type is wrong: Redis names the script, not the key."""
    if "WRONGTYPE" not in error.message:
        return error
    hint = (
        f"`restbroker check` names the key with the wrong type. A fetch needs the hashes {keys.pause(target)} "
        f"and {keys.in_flight(target)}, the string {keys.rate(target)}, the "
        f"sorted set {keys.sorted_set('dead')} and the set {keys.paused_queues}; with "
        f"FairBy or OrderBy, the sorted sets {keys.busy_keys(target)} and {keys.ready_keys('QUEUE')}, the hashes "
        f"{keys.stopped(target)} and {keys.fair('QUEUE')} and the string {keys.keys_made_by(target)}."
    )
    return StoreRefused(error.message, hint)


def mark(client: Client, identity: str, tickets: Sequence[str]) -> IdentityUnknown | list[bool]:
    """Record that these jobs are about to be sent. False: this job is no more in progress, and must not be sent.

    `IdentityUnknown`: no mark was made. Raise `StoreUnavailable`: they may be marked all the same; the same call again
    is right.
    """
    keys = client.keys
    place = [keys.heartbeats, keys.in_progress(identity), keys.send_marks(identity)]
    answer = client.run("mark", place, [identity, *tickets])
    return IdentityUnknown() if answer == b"FENCED" else [code == 1 for code in items(answer, len(tickets))]


def retire(client: Client, identity: str) -> bool:
    """Remove an identity that has no job in progress. False: it has one, and nothing was changed.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    # What retired before has no record, and nothing in progress either.
    target = text(client.command("HGET", keys.info(identity), "target") or b"")
    own = [keys.in_progress(identity), keys.send_marks(identity), keys.info(identity), keys.in_flight(target)]
    return client.run("retire", [keys.heartbeats, keys.fenced_identities, *own], [identity]) == 1


def _read_batches(
    request: FetchRequest, batches: Sequence[Reply], ends: Sequence[Reply], base: int
) -> tuple[FetchedJob, ...]:
    """Return the jobs. `ends`: of all, what their tickets end with; empty where no job has a key."""
    taken: list[FetchedJob] = []
    for batch in batches:
        position, queue_index, *jobs = items(batch, 2)
        queue, index = request.queues[integer(position) - 1], integer(queue_index)
        for number, job in enumerate(jobs, base + len(taken) + 1):
            ticket = f"{number}:{index}"
            if ends and (end := ends[len(taken)]) is not None:
                ticket = f"{ticket}:{text(end)}"
            # Of a job that is too large there is but its length.
            raw, size_bytes = (job, 0) if isinstance(job, bytes) else (b"", integer(job))
            taken.append(FetchedJob(ticket, number, queue, raw, size_bytes))
    return tuple(taken)
