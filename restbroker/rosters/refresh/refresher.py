"""Gathers the users whose refresh jobs wait, and has them flown in batches when it is their turn.

The connector runs one per target and calls `refresh` for a job of one user, `wanted_together` for a job of many. Redis
decides whose turn it is: a user who was changed a moment ago waits until the changes calm down, and one in flight
elsewhere until that has landed. Always holds: no user has two flights at once, since a slow old answer would undo a
fast new one; a flight begins after each of its jobs was there, so that what they were pushed for is in it; a job that
is cancelled takes no flight with it.
"""

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import attrs
import trio

from restbroker.errors import StoreRefused
from restbroker.job.outcome import Deferred, Delivered, Outcome, Reason, Rejected
from restbroker.rosters.refresh.posts import Result
from restbroker.servers.contract import Claim, Rosters
from restbroker.servers.roster_change import RefreshDelay
from restbroker.transport.errors import MaybeSent, NotSent

_GATHER_S: Final = 0.01
"""Seconds for which jobs gather for the same call of Redis and the same flight."""
_SOON_TRIES: Final = 3
"""How many tries of a job follow each other soon. A change meanwhile needs no job of its own; later it does."""
_ENDED: Final = NotSent("The broker stops.")


@attrs.define(eq=False)
class _Job:
    """One job that waits for the refresh of its user. `attempt`: which try it is.

    `is_shared`: it is of many users, and does not come again for this one. `is_gone`: it was cancelled.
    """

    attempt: int
    is_shared: bool = False
    result: Result = _ENDED
    is_gone: bool = False
    done: trio.Event = attrs.field(factory=trio.Event)

    def end(self, result: Result) -> None:
        self.result = result
        self.done.set()


@attrs.define(eq=False)
class _User:
    """A user to be refreshed, not before `due_s`; the `jobs` came after the last claim in Redis."""

    due_s: float
    jobs: list[_Job] = attrs.field(factory=list)


@attrs.define(eq=False)
class Refresher:
    """The queue of users to refresh. `_fly` refreshes users and returns a result for each.

    `_most`: how many users may be in flight at once, which is the burst that the roster service sees. At least the
    debounce of `_pace` is between the beginnings of two flights of a user: producers may push refreshes themselves,
    which no mark in Redis gathers.
    """

    _rosters: Rosters
    _fly: Callable[[Sequence[str]], Awaitable[Mapping[str, Result]]]
    _batch_size: int
    _most: int
    _pace: RefreshDelay
    _wanted: dict[str, _User] = attrs.field(factory=dict)
    _flying: set[str] = attrs.field(factory=set)
    _began_s: dict[str, float] = attrs.field(factory=dict)
    """When the latest flight of a user began, as long as that keeps the next one waiting."""
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def refresh(self, user: str, attempt: int = 1) -> Outcome:
        """Wait for a flight of this user that begins after now; return its outcome, or raise `NotSent` or `MaybeSent`.

        When cancelled, the flight goes on for other jobs.
        """
        (outcome,) = await self._outcomes({user: _Job(attempt)})
        return outcome

    async def wanted_together(self, users: Sequence[str]) -> Mapping[str, Outcome]:
        """Wait as `refresh` does for all of these users, and return user → outcome; raise `NotSent` or `MaybeSent`.

        There is no task for each user, as there may be thousands.
        """
        outcomes = await self._outcomes({user: _Job(1, is_shared=True) for user in users})
        return dict(zip(users, outcomes, strict=True))

    async def _outcomes(self, jobs: Mapping[str, _Job]) -> list[Outcome]:
        for user, job in jobs.items():
            self._keep(user, [job])
        self._changed.set()
        try:
            for job in jobs.values():
                await job.done.wait()
        finally:
            for user, job in jobs.items():
                self._forget(user, job)
        return [_outcome(job.result) for job in jobs.values()]

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Fly until cancelled; what is in flight then is cut off, and its jobs go back to their queue."""
        async with trio.open_nursery() as flights:
            task_status.started()
            while True:
                await self._until_due()
                await trio.sleep(_GATHER_S)
                await self._take_off(flights)

    async def _until_due(self) -> None:
        while True:
            self._changed = trio.Event()
            now_s, due_s = trio.current_time(), math.inf
            if len(self._flying) < self._most:
                if any(self._due_s(user) <= now_s for user in self._wanted):
                    return
                due_s = min(map(self._due_s, self._wanted), default=math.inf)
            with trio.move_on_at(due_s):
                await self._changed.wait()

    async def _take_off(self, flights: trio.Nursery) -> None:
        now_s = trio.current_time()
        self._began_s = {user: at_s for user, at_s in self._began_s.items() if at_s + self._spacing_s > now_s}
        all_due = (user for user in self._wanted if self._due_s(user) <= now_s)
        due = list(islice(all_due, self._most - len(self._flying)))
        # A job that comes while Redis is asked waits for the next flight: it may stand for a change, and a mark, that
        # the claim knows nothing of. Were it done with this one, nobody would ever take that mark away.
        asked = {user: self._wanted.pop(user).jobs for user in due}
        try:
            claimed = await self._rosters.claim(due, self._pace) if due else Claim("", ())
        except trio.Cancelled:
            _end(asked, _ENDED)
            raise
        except StoreRefused as error:
            _end(asked, Deferred(Reason("RosterRefused", f"Redis refuses a refresh: {error.message}", error.cure)))
            return
        for user, jobs in asked.items():
            left = [job for job in jobs if not job.is_gone]
            if left and user in claimed.wait_s:
                self._keep(user, left, claimed.wait_s[user])
        for batch in self._batches({user: asked[user] for user in claimed.users}):
            self._flying.update(batch)
            self._began_s.update(dict.fromkeys(batch, trio.current_time()))
            flights.start_soon(self._flight, claimed.holder, batch)

    async def _flight(self, holder: str, batch: Mapping[str, Sequence[_Job]]) -> None:
        users, results = tuple(batch), dict[str, Result]()
        try:
            results.update(await self._fly(users))
        finally:
            again = [user for user in users if _comes_again(results.get(user, _ENDED), batch[user])]
            with trio.CancelScope(shield=True):
                await self._rosters.end_refreshes(holder, [user for user in users if user not in again], again)
            self._flying.difference_update(users)
            for user, jobs in batch.items():
                _end({user: jobs}, results.get(user, _ENDED))
            self._changed.set()

    def _batches(self, asked: Mapping[str, Sequence[_Job]]) -> Iterator[Mapping[str, Sequence[_Job]]]:
        """Yield the users of each flight; those who failed before fly alone.

        They may hold up others again, each time for two time-outs.
        """
        failed = {user: jobs for user, jobs in asked.items() if any(job.attempt > 1 for job in jobs)}
        fresh = [user for user in asked if user not in failed]
        for first in range(0, len(fresh), self._batch_size):
            yield {user: asked[user] for user in fresh[first : first + self._batch_size]}
        yield from ({user: jobs} for user, jobs in failed.items())

    @property
    def _spacing_s(self) -> float:
        return self._pace.debounce_ms / 1000

    def _keep(self, user: str, jobs: Sequence[_Job], wait_s: float = 0.0) -> None:
        due_s = trio.current_time() + wait_s
        one = self._wanted.setdefault(user, _User(due_s))
        one.jobs.extend(jobs)
        one.due_s = max(one.due_s, due_s) if wait_s else one.due_s

    def _due_s(self, user: str) -> float:
        """Return when to claim a waiting user; infinity while the user is in flight."""
        if user in self._flying:
            return math.inf
        return max(self._wanted[user].due_s, self._began_s.get(user, -math.inf) + self._spacing_s)

    def _forget(self, user: str, job: _Job) -> None:
        job.is_gone = True
        one = self._wanted.get(user)
        if one is not None and job in one.jobs:
            one.jobs.remove(job)
            if not one.jobs:
                del self._wanted[user]


def _comes_again(result: Result, jobs: Sequence[_Job]) -> bool:
    """Tell whether one of these jobs is soon delivered again, so that a change until then is in it."""
    match result:
        case Delivered() | Rejected():
            return False
        case Deferred():
            return any(job.attempt <= _SOON_TRIES and not job.is_shared and not job.is_gone for job in jobs)
        case _:
            return any(not job.is_gone for job in jobs)


def _outcome(result: Result) -> Outcome:
    """Return the outcome, or raise what is for the broker to judge, as a new exception for each caller."""
    match result:
        case NotSent() as problem:
            again = NotSent(problem.message, tls=problem.tls, timed_out=problem.timed_out)
            raise again from problem.__cause__
        case MaybeSent() as problem:
            raise MaybeSent(problem.message, timed_out=problem.timed_out)
        case outcome:
            return outcome


def _end(jobs_of: Mapping[str, Sequence[_Job]], result: Result) -> None:
    for jobs in jobs_of.values():
        for job in jobs:
            job.end(result)
