"""Gathers the users whose refresh jobs wait, and refreshes them in batches when they are due.

The connector runs one per target and calls `refresh` for a job of one user, `refresh_all` for a job of many. Redis
decides whose turn it is: a user who was changed a moment ago waits until the changes calm down, and one whose refresh
is in progress elsewhere until that has ended. For the calm no job waits here: it gets `NotYet` for that user. Always
holds: no user has two refreshes in progress, since a slow old answer would undo a fast new one; a refresh begins after
each of its jobs was there, so that what they were pushed for is in it; a job that is cancelled ends no refresh.
"""

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import groupby, islice, takewhile
from typing import Final

import trio

from restbroker.errors import StoreRefused
from restbroker.job.outcome import Deferred, Delivered, Outcome, Reason, Rejected
from restbroker.light import define, field
from restbroker.rosters.in_redis import Claim, RostersInRedis
from restbroker.rosters.refresh.sender import Result
from restbroker.rosters.store import RefreshDelay
from restbroker.servers.contract import NotYet
from restbroker.transport.message import MaybeSent, NotSent

_GATHER_S: Final = 0.01
"""Seconds for which jobs gather for the same call of Redis and the same batch."""
_SOON_TRIES: Final = 3
"""How many tries of a job follow each other soon. A change meanwhile needs no job of its own; later it does."""
_SHORT_S: Final = 0.05
"""So many seconds, or less, a job waits for a user with its worker: to come again would cost as much."""
_NO_DELAY: Final = RefreshDelay(0, 0)
_ENDED: Final = NotSent("The broker stops.")


@define(eq=False)
class _Job:
    """What one job waits for: the refreshes of `left` users. `done` is set once none is left.

    `attempt`: which try of the job it is. `is_shared`: it is of many users, and does not come again for one of them.
    `at_once`: it does not wait for the debounce.
    """

    attempt: int = 1
    is_shared: bool = False
    at_once: bool = False
    left: int = 0
    done: trio.Event = field(factory=trio.Event)


@define(eq=False)
class _Part:
    """The part of a job that is about one user. `result`: None until there is one; `is_gone`: it was cancelled."""

    job: _Job
    result: Result | NotYet | None = None
    is_gone: bool = False

    def end(self, result: Result | NotYet) -> None:
        self.result = result
        self.job.left -= 1
        if not self.job.left:
            self.job.done.set()


@define(eq=False)
class _User:
    """A user to be refreshed, not before `due_s`, for `parts` of jobs that came after the last claim in Redis."""

    due_s: float
    parts: list[_Part]

    @property
    def at_once(self) -> bool:
        return any(part.job.at_once for part in self.parts)


@define(eq=False)
class Refresher:
    """The queue of users to refresh. `_send` refreshes users and returns a result for each.

    `_most`: how many users may be in progress at once, which is the burst that the roster service sees. At least the
    debounce of `_delay` is between the beginning of a refresh and that of the user's next, unless a job of that one is
    `at_once`: producers may push refreshes themselves, which no mark in Redis gathers.
    """

    _rosters: RostersInRedis
    _send: Callable[[Sequence[str]], Awaitable[Mapping[str, Result]]]
    _batch_size: int
    _most: int
    _delay: RefreshDelay
    _wanted: dict[str, _User] = field(factory=dict)
    _in_progress: set[str] = field(factory=set)
    _spaced_s: dict[str, float] = field(factory=dict)
    """Until when the latest refresh of a user keeps the next one waiting."""
    _changed: trio.Event = field(factory=trio.Event)

    async def refresh(self, user: str, attempt: int = 1, *, at_once: bool = False) -> Outcome:
        """Wait for a refresh of this user that begins after now; return its outcome, or raise `NotSent` or `MaybeSent`.

        Raise `NotYet` if the user's turn does not come soon. `at_once`: it comes without the debounce. When cancelled,
        the refresh goes on for other jobs.
        """
        outcome = (await self._outcomes([user], _Job(attempt, at_once=at_once)))[user]
        if isinstance(outcome, NotYet):
            raise outcome
        return outcome

    async def refresh_all(self, users: Sequence[str], *, at_once: bool = False) -> Mapping[str, Outcome | NotYet]:
        """Wait as `refresh` does for all of these users, and return user → outcome; raise `NotSent` or `MaybeSent`.

        `NotYet`: this user's turn does not come soon, and no one waits for it here. There is no task for each user, as
        there may be thousands.
        """
        return await self._outcomes(users, _Job(is_shared=True, at_once=at_once))

    async def _outcomes(self, users: Sequence[str], job: _Job) -> Mapping[str, Outcome | NotYet]:
        parts, now_s = {user: _Part(job) for user in users}, trio.current_time()
        job.left = len(parts)
        for user, part in parts.items():
            self._enqueue(user, [part], now_s)
        self._changed.set()
        try:
            await job.done.wait()
        finally:
            for user, part in parts.items():
                if part.result is None:
                    self._forget(user, part)
        return {user: _outcome(part.result or _ENDED) for user, part in parts.items()}

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Refresh users until cancelled; refreshes in progress are cut off then, and their jobs are requeued."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                due = await self._wait_until_due()
                if len(due) < self._room:
                    await trio.sleep(_GATHER_S)
                    due = self._due()
                await self._start_batches(due, nursery)

    @property
    def _room(self) -> int:
        """How many more users may be refreshed at once."""
        return self._most - len(self._in_progress)

    def _due(self) -> list[str]:
        """Return the users who may be claimed now in one call, no more than may be refreshed at once."""
        now_s = trio.current_time()
        self._forget_spaced(now_s)
        all_due = (user for user in self._wanted if self._due_s(user) <= now_s)
        # A claim has one delay: that of the user who has waited longest.
        same_pace = next((users for _, users in groupby(all_due, lambda user: self._wanted[user].at_once)), ())
        return list(islice(same_pace, self._room))

    async def _wait_until_due(self) -> list[str]:
        """Wait until a user may be claimed, and return what `_due` does."""
        while True:
            self._changed = trio.Event()
            if due := self._due():
                return due
            due_s = min(map(self._due_s, self._wanted), default=math.inf) if self._room else math.inf
            with trio.move_on_at(due_s):
                await self._changed.wait()

    async def _start_batches(self, due: Sequence[str], nursery: trio.Nursery) -> None:
        # A job that comes while Redis is asked waits for the next batch: it may stand for a change, and a mark, that
        # the claim knows nothing of. Were it done with this one, no one would ever take that mark away.
        delay = _NO_DELAY if due and self._wanted[due[0]].at_once else self._delay
        asked = {user: self._wanted.pop(user).parts for user in due}
        try:
            claimed = await self._rosters.claim(due, delay) if due else Claim("", ())
        except trio.Cancelled:
            _end(asked, _ENDED)
            raise
        except StoreRefused as error:
            _end(asked, Deferred(Reason("RosterRefused", f"Redis refuses a refresh: {error.message}", error.hint)))
            return
        now_s = trio.current_time()
        for user, wait_s in claimed.wait_s.items():
            self._enqueue(user, asked[user], now_s, wait_s)
        for batch in self._batches({user: asked[user] for user in claimed.users}):
            self._in_progress.update(batch)
            for user in batch:
                self._spaced_s.pop(user, None)  # the oldest stay first
                self._spaced_s[user] = now_s + self._delay.debounce_ms / 1000
                if came_late := self._wanted.pop(user, None):
                    self._enqueue(user, came_late.parts, now_s)
            nursery.start_soon(self._run_batch, claimed.holder, batch)

    async def _run_batch(self, holder: str, batch: Mapping[str, Sequence[_Part]]) -> None:
        users, results = tuple(batch), dict[str, Result]()
        try:
            results.update(await self._send(users))
        finally:
            again = {user for user in users if _is_retried(results.get(user, _ENDED), batch[user])}
            with trio.CancelScope(shield=True):
                await self._rosters.end_refreshes(holder, [user for user in users if user not in again], tuple(again))
            self._in_progress.difference_update(users)
            for user, parts in batch.items():
                result = results.get(user, _ENDED)
                if not isinstance(result, Delivered | Rejected):
                    self._spaced_s.pop(user, None)  # its next try has a back-off of its own
                _end({user: parts}, result)
            self._changed.set()

    def _batches(self, requested: Mapping[str, Sequence[_Part]]) -> Iterator[Mapping[str, Sequence[_Part]]]:
        """Yield the users of each batch; those who failed before are alone in theirs.

        They may hold up others again, each time for two time-outs.
        """
        failed = {user: parts for user, parts in requested.items() if any(part.job.attempt > 1 for part in parts)}
        fresh = [user for user in requested if user not in failed]
        for first in range(0, len(fresh), self._batch_size):
            yield {user: requested[user] for user in fresh[first : first + self._batch_size]}
        yield from ({user: parts} for user, parts in failed.items())

    def _forget_spaced(self, now_s: float) -> None:
        """Forget the refreshes that keep no one waiting any more: the oldest are first."""
        spaced_s = self._spaced_s
        for user in tuple(takewhile(lambda user: spaced_s[user] <= now_s, spaced_s)):
            del spaced_s[user]

    def _enqueue(self, user: str, parts: Sequence[_Part], now_s: float, wait_s: float = 0.0) -> None:
        """Have these parts wait here for `wait_s` seconds; end those whose wait, for the debounce too, is long."""
        spaced_s = self._spaced_s.get(user, -math.inf) - now_s
        here: list[_Part] = []
        for part in parts:
            part_s = wait_s if part.job.at_once else max(wait_s, spaced_s)
            if part_s > _SHORT_S:
                part.end(NotYet(part_s))
            elif not part.is_gone:
                here.append(part)
        if here:
            one = self._wanted.setdefault(user, _User(now_s, []))
            one.parts.extend(here)
            one.due_s = max(one.due_s, now_s + wait_s)

    def _due_s(self, user: str) -> float:
        """Return when to claim a waiting user; infinity while a refresh is in progress."""
        if user in self._in_progress:
            return math.inf
        one = self._wanted[user]
        return one.due_s if one.at_once else max(one.due_s, self._spaced_s.get(user, -math.inf))

    def _forget(self, user: str, part: _Part) -> None:
        part.is_gone = True
        one = self._wanted.get(user)
        if one is not None and part in one.parts:
            one.parts.remove(part)
            if not one.parts:
                del self._wanted[user]


def _is_retried(result: Result, parts: Sequence[_Part]) -> bool:
    """Tell whether a job of one of these is soon delivered again, so that a change until then is in it."""
    match result:
        case Delivered() | Rejected():
            return False
        case Deferred():
            return any(part.job.attempt <= _SOON_TRIES and not (part.job.is_shared or part.is_gone) for part in parts)
        case _:
            return any(not part.is_gone for part in parts)


def _outcome(result: Result | NotYet) -> Outcome | NotYet:
    """Return the outcome, or raise what the broker is to classify, as a new exception for each caller."""
    match result:
        case NotSent() as problem:
            again = NotSent(problem.message, tls=problem.tls, timed_out=problem.timed_out, hint=problem.hint)
            raise again from problem.__cause__
        case MaybeSent() as problem:
            raise MaybeSent(problem.message, timed_out=problem.timed_out)
        case outcome:
            return outcome


def _end(parts_of: Mapping[str, Sequence[_Part]], result: Result) -> None:
    for parts in parts_of.values():
        for part in parts:
            part.end(result)
