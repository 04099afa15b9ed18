"""The wait for a job in one queue, over a connection of its own, without a thread. Used by worker pools.

It is BLMOVE, which wakes as BRPOP does, one of all that wait, but no job leaves Redis. It comes with the script `stand`
behind it in the same message, or `fetch` where limits or keys are to be looked at: the job that comes goes to the
queue's *hand*, a list, and Redis runs the script as soon as the wait has ended, and answers both at once. Each fetch
begins with what is in the hand. So a job that comes to an idle pool is here after half a round trip, under a ticket as
ever, with all looked at by then that a fetch looks at. Where none runs behind, as its process died in between, the next
one of any process of that queue finds it, or a reaper (`queues.empty_hands`).

Always holds: a standing fetch may take jobs until it is answered, or its connection is closed; and if its answer is
lost it may have taken them, as any fetch.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

import trio

from restbroker.errors import RestbrokerError, StoreUnavailable
from restbroker.store.client import Client, Reply, ScriptCall, evalsha, unexpected_reply
from restbroker.store.connection import Watch, on_trio
from restbroker.store.in_progress import FetchedJob
from restbroker.store.jobs import (
    KNOWN_TARGETS,
    FetchAnswer,
    FetchRequest,
    FetchResult,
    NotPlain,
    fetch_call,
    read_fetch,
)
from restbroker.store.keys import RedisKeys
from restbroker.store.redis import Argument
from restbroker.store.settling import list_keys

BLOCK_S = 5.0
LATE_S = 1.0
"""Seconds that Redis holds a blocking command (`BLOCK_S`), and how late its answer may be on a live connection."""
MOST_BLOCK_S: Final = 30.0
"""How long Redis may hold it where most of many queues are idle: keepalive tells that the connection is alive."""
_WARY_S: Final = 600.0
_MOST_BYTES: Final = 4 * 1024 * 1024
"""How much of an answer is read: that of the wait has a whole job, of any size, which is not needed."""
_NONE: Final = frozenset[str]()

Answered: TypeAlias = Callable[[FetchRequest, FetchAnswer | None, float], None]
"""Is called with a standing fetch, its answer, and when it was sent (Trio's clock).

None: it was refused or lost; what it took, if anything, the next fetch tells. It may not wait or raise.
"""


class Waiter:
    """One queue's connection. `fetch`: the one that stands there, or None. `block_s`: for how long it may stand."""

    def __init__(self, open_client: Callable[[], Client]) -> None:
        self.fetch: FetchRequest | None = None
        self.block_s = BLOCK_S
        self._cut_s = self._cut_at_s = -math.inf
        """After how many seconds the connection was cut last, and when."""
        self._open = open_client
        self._client: Client | None = None
        self._sent_at_s = self._overdue_at_s = 0.0
        self._watch: Watch | None = None
        """What watches the connection now, if anything does."""
        self._answered: Answered | None = None
        self._move: list[Argument] = []
        self._is_plain = False
        """Whether what stands runs the script `stand`."""

    async def begin(self, watch: Watch, answered: Answered) -> bool:
        """Connect if it is not, and call `answered` for each fetch that stands from now on until `close`.

        Return False if that is not possible here. Raise `StoreUnavailable` or `StoreRefused`. Safe to cancel.
        """
        client = self._client
        if client is None or not client.is_open or (client.is_waiting and self.fetch is None):
            client = await self._connect()
        if not watch.is_kept:
            return False
        if self._watch is None:
            watch.watch(client.descriptor, self)
        self._watch, self._answered = watch, answered
        return True

    def stand(self, fetch: FetchRequest, queue: str | None) -> bool:
        """Have this fetch stand until `queue` holds a job, `block_s` seconds at most; None: it is answered at once.

        Return False if it was not sent: then the connection has ended. To be called between `begin` and `close`, while
        none stands.
        """
        client = self._client
        if client is None or self._watch is None:
            return False
        call = standing_call(client.keys, fetch)
        commands, is_plain = [evalsha(call)], call[0] == "stand"
        now_s, block_s = trio.current_time(), 0.0
        if queue is not None:
            block_s = self.block_s
            if now_s < self._cut_at_s + _WARY_S:
                # Perhaps by a proxy that cuts silent connections, which would do it each time.
                block_s = min(block_s, max(BLOCK_S, self._cut_s / 2))
            if not self._move:
                keys = client.keys
                self._move = ["BLMOVE", keys.queue(queue), keys.hand(queue), "RIGHT", "LEFT"]
            commands.insert(0, [*self._move, f"{block_s:.3f}"])
        try:
            was_sent = client.send(commands)
        except RestbrokerError:
            self.close()
            return False
        if was_sent:
            self.fetch, self._is_plain, self._sent_at_s = fetch, is_plain, now_s
            self._overdue_at_s = now_s + LATE_S + block_s
        return was_sent

    @property
    def can_answer(self) -> bool:
        """Whether what stands can still be answered, as far as known; True if nothing stands."""
        client = self._client
        in_time = self.fetch is None or trio.current_time() <= self._overdue_at_s
        return client is not None and client.is_open and self._watch is not None and in_time

    def on_readable(self) -> bool:
        """Read what came of the fetch that stands, and call `answered` once all has; False: none stands."""
        client, fetch, answered = self._client, self.fetch, self._answered
        if client is None or fetch is None or answered is None:
            return False
        answer: FetchAnswer | None = None
        try:
            replies = client.replies()
            if replies is None and client.received_bytes < _MOST_BYTES:
                return True
            self.fetch = None
            waited, fetched = (replies[0], replies[-1]) if replies else (None, None)
            if replies is None or isinstance(waited, RestbrokerError):
                # It is too large, or Redis refuses the wait itself, so that the next one would end at once.
                self.close()
            if isinstance(fetched, RestbrokerError):
                raise fetched
            if replies is not None:
                answer = read_plain(fetch, fetched) if self._is_plain else read_fetch(client.keys, fetch, fetched)
        except StoreUnavailable:
            self._cut_at_s = trio.current_time()
            self._cut_s = self._cut_at_s - self._sent_at_s
            self.close()
        except RestbrokerError:
            self.close()
        answered(fetch, answer, self._sent_at_s)
        return True

    def lose_watch(self) -> None:
        """Note that nothing watches it any more."""
        self._watch = None

    def close(self) -> None:
        """Close the connection, which ends what is blocked on it; no wait may be running.

        A fetch that stood may have taken jobs.
        """
        if self._watch is not None and self._client is not None:
            self._watch.forget(self._client.descriptor)
        self._watch = self.fetch = None
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _connect(self) -> Client:
        """Make and connect a new client: there is none, its connection ended, or it leads to an old master."""
        self.close()
        client = self._open()
        # Nothing else does, and without it a fetch that stands would be lost, and a usual one be sent for each job.
        await on_trio(client.steps_to_load("stand"))
        self._client = client
        return client


def standing_call(keys: RedisKeys, request: FetchRequest) -> ScriptCall:
    """Return the call of a fetch that stands: `stand` if it takes whatever job is next, else `fetch`.

    `stand` is cheaper. Only pauses and the dead set can keep jobs from it; then it answers `NotPlain`.
    """
    limits = request.limits
    if request.key_rules or limits.emission_us or limits.in_flight or not request.follows:
        return fetch_call(keys, request)
    most_bytes = min(request.most_bytes, request.limit_bytes)
    numbers = [request.base, request.count, request.hwm, limits.dead, most_bytes]
    names = _plain_keys(keys, request.identity, request.target, request.queues)
    return "stand", names, [request.identity, *numbers, *request.queues]


@lru_cache(KNOWN_TARGETS)
def _plain_keys(keys: RedisKeys, identity: str, target: str, queues: tuple[str, ...]) -> list[str]:
    fixed = [keys.heartbeats, keys.in_progress(identity), keys.info(identity), keys.sorted_set("dead")]
    rare = [keys.paused_queues, keys.pause(target), keys.busy_keys(target), keys.keys_made_by(target)]
    rare += [keys.stopped(target), *map(keys.ready_keys, queues)]
    return [*fixed, *rare, *list_keys(keys, queues), *map(keys.hand, queues)]


def read_plain(request: FetchRequest, reply: Reply) -> FetchResult | NotPlain:
    """Return the answer to a fetch that ran `stand`, from its reply. Raise `StoreRefused` for one of another shape."""
    # Straight on, without the readers of `client`: each job passes here.
    match reply:
        case [int(base), int(more), *found] if len(found) % 3 == 0:
            jobs: list[FetchedJob] = []
            number, queues = base, request.queues
            for position, index, job in zip(found[::3], found[1::3], found[2::3], strict=True):
                if not (isinstance(position, int) and 0 < position <= len(queues)):
                    raise unexpected_reply("the place of a queue", position)
                if not (isinstance(index, bytes) and isinstance(job, bytes)):
                    raise unexpected_reply("a job with its queue", [index, job])
                number += 1
                ticket = f"{number}:{index.decode('utf-8', 'backslashreplace')}"
                jobs.append(FetchedJob(ticket, number, queues[position - 1], job))
            return FetchResult(tuple(jobs), _NONE, _NONE, more == 1, base=base)
        case b"OTHER":
            return NotPlain()
        case _:
            raise unexpected_reply("a list of jobs", reply)
