"""Gathers requests for rosters that come at the same time, and reads all from Redis in one call.

A service; `rosters.service` calls `roster`. Always holds: while Redis answers, a roster is read after it was
requested, never before, so that a change which was made earlier is in it; a user who got an older copy, since Redis did
not answer, is refreshed as soon as it does; what was read earlier is never answered after what was read later, since
Prosody would keep what comes last. Redis gets one call at a time, for small rosters first;
where it does not answer for `bound_s`, no request waits for it any longer, and one that waits for its turn gets its
roster late rather than not at all, since Prosody ends the session without it; an outage is reported once. A user whose
key or entries have another form than restbroker's affects no other user's roster, and an entry that cannot be read is
left out: with it Prosody would answer neither its user's login nor a refresh. Copies are in this process's memory, and
nowhere else.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, islice
from typing import Final, TypeAlias

import trio

from restbroker.config.values import duration_text
from restbroker.errors import RestbrokerError, StoreRefused, StoreUnavailable
from restbroker.light import define, field, frozen
from restbroker.rosters import store
from restbroker.rosters.rules import BadRoster, as_prosody, roster_of
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import OperatorWarning, Report

BOUND_S: Final = 1.8
MOST: Final = 500
"""The most users that are read with one call."""
_MOST_CONTACTS: Final = 10_000
"""The most contacts that are read with one call: Redis and this process take some 10 ms for them."""
_CONTACTS: Final = 1000
"""About how many contacts are written at once, before their users are answered: some milliseconds."""
_AGAIN_S: Final = 1.0
"""Seconds between two tries to push the refreshes of users who got older copies."""
_OVERHEAD_BYTES: Final = 400
"""The bytes that Python needs for a copy beside its text."""
_STOPPING: Final = StoreUnavailable("Rosters are no longer served: the process is stopping.", "Ask again.")

RosterHash: TypeAlias = Mapping[bytes, bytes]
"""A roster as it lies in Redis."""


@frozen
class PreparedRoster:
    """A roster as JSON, and an error for each of its entries that was left out."""

    body: bytes
    bad: tuple[BadRoster, ...] = ()


@frozen
class RosterCopy:
    """A roster as it was answered, and when it was read, on Trio's clock."""

    body: bytes
    read_s: float


@define(eq=False)
class Copies:
    """The rosters that were read last, by user, to answer with while Redis is away. `longest_s` 0: none are kept.

    Together they take no more than `most_bytes`, and none is used that was read longer than `longest_s` ago. Those that
    were read first go first.
    """

    longest_s: float
    most_bytes: int
    size_bytes: int = 0
    _copies: OrderedDict[str, RosterCopy] = field(factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._copies)

    def keep(self, user: str, copy: RosterCopy) -> None:
        """Keep this copy of the user's roster, unless the one that is kept was read later."""
        before = self._copies.get(user)
        if not self.longest_s or (before is not None and before.read_s > copy.read_s):
            return
        if before is not None:
            self._forget(user)
        self._copies[user] = copy
        self.size_bytes += _size(user, copy)
        while self.size_bytes > self.most_bytes:
            self._forget(next(iter(self._copies)))

    def get(self, user: str, now_s: float) -> RosterCopy | None:
        """Return the user's copy, or None if there is none that may be used at `now_s`; those that are too old go."""
        while self._copies:
            oldest, copy = next(iter(self._copies.items()))
            if copy.read_s + self.longest_s > now_s:
                break
            self._forget(oldest)
        found = self._copies.get(user)
        return found if found is not None and found.read_s + self.longest_s > now_s else None

    def _forget(self, user: str) -> None:
        self.size_bytes -= _size(user, self._copies.pop(user))


@frozen
class ServedRoster:
    """A roster as JSON. `age_s`: for how many seconds it may have been outdated; None: it was just read."""

    body: bytes
    age_s: float | None = None


@define(eq=False)
class _PendingRead:
    """One user's roster, for all requests that came before it was read."""

    read: trio.Event = field(factory=trio.Event)
    done: trio.Event = field(factory=trio.Event)
    answer: PreparedRoster | RestbrokerError = _STOPPING

    def end(self, answer: PreparedRoster | RestbrokerError = _STOPPING) -> None:
        """Answer all who wait."""
        self.answer = answer
        self.read.set()
        self.done.set()


@define(eq=False)
class RosterReader:
    """The reader of rosters for requests. `domain`: the users'; None: it is not known.

    `refresh` pushes refreshes of users; None: there are none. `calls` counts the calls of Redis, `stale` the answers
    with older copies.
    """

    connection: Connection
    report: Report
    domain: str | None = None
    copies: Copies = field(factory=lambda: Copies(0, 0))
    refresh: Callable[[Client, Sequence[str]], object] | None = None
    bound_s: float = BOUND_S
    calls: int = 0
    stale: int = 0
    _wanted: dict[str, _PendingRead] = field(factory=dict)
    _open: set[_PendingRead] = field(factory=set)
    """Those that someone may wait for: wanted, under way, or being written."""
    _wake: trio.Event = field(factory=trio.Event)
    _writing: trio.Lock = field(factory=trio.Lock)
    """Batches are written one after the other, in the order in which they were read."""
    _thread: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1))
    _outdated: dict[str, float] = field(factory=dict)
    """Who got an older copy and is to be refreshed, and when that copy was read."""
    _any_outdated: trio.Event = field(factory=trio.Event)
    _is_stopping: bool = False
    _is_away: bool = False
    _heard_s: float = -math.inf

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read whenever a roster is requested, until cancelled; then close the connection."""
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                nursery.start_soon(self._refresh_stale)
                while True:
                    await self._wake.wait()
                    self._wake = trio.Event()
                    while self._wanted:
                        await self._read_some(nursery)
        finally:
            self.stop()
            await self.connection.aclose()

    async def roster(self, user: str) -> ServedRoster:
        """Wait for the user's roster and return it, or an older copy if Redis does not answer.

        Raise `RestbrokerError` if it cannot be read, and there is no copy. Cancelling it only ends the wait.
        """
        asked_s = trio.current_time()
        try:
            return ServedRoster(await self._read_roster(user))
        except StoreUnavailable:
            now_s = trio.current_time()
            copy = None if self._is_stopping else self.copies.get(user, now_s)
            if copy is None:
                raise
        if copy.read_s >= asked_s:  # for another who asked meanwhile
            return ServedRoster(copy.body)
        self.stale += 1
        if self.refresh is not None:
            self._outdated[user] = copy.read_s
            self._any_outdated.set()
        return ServedRoster(copy.body, now_s - copy.read_s)

    async def _read_roster(self, user: str) -> bytes:
        if self._is_stopping:
            raise _STOPPING
        wanted = self._wanted.setdefault(user, _PendingRead())
        self._open.add(wanted)
        self._wake.set()
        await self._read(wanted)
        await wanted.done.wait()
        if isinstance(wanted.answer, RestbrokerError):
            # A new one for each who waits.
            kind = StoreUnavailable if isinstance(wanted.answer, StoreUnavailable) else RestbrokerError
            raise kind(wanted.answer.message, wanted.answer.hint)
        return wanted.answer.body

    def stop(self) -> None:
        """End all waits with an error; later requests get it at once."""
        self._is_stopping = True
        for wanted in self._open:
            wanted.end()
        self._wanted, self._open = {}, set()

    async def _read(self, wanted: _PendingRead) -> None:
        """Wait until Redis has answered for this user; raise `StoreUnavailable` if it answers nothing for `bound_s`."""
        asked_s = trio.current_time()
        while not wanted.read.is_set():
            until_s = max(asked_s, self._heard_s) + self.bound_s
            if trio.current_time() >= until_s:
                raise StoreUnavailable("Redis takes too long.")
            with trio.move_on_at(until_s):
                await wanted.read.wait()

    async def _read_some(self, nursery: trio.Nursery) -> None:
        batch = {user: self._wanted.pop(user) for user in await self._choose()}
        read_s = trio.current_time()
        answers = await self._read_users(tuple(batch))
        stored: dict[str, RosterHash] = {}
        for user, wanted in batch.items():
            answer = answers[user]
            if isinstance(answer, RestbrokerError):
                self._end(user, wanted, answer)
            else:
                stored[user] = answer
                wanted.read.set()
        nursery.start_soon(self._write, batch, stored, read_s)

    async def _choose(self) -> Sequence[str]:
        """Return the users to read now, out of those that are requested."""
        users = tuple(islice(self._wanted, MOST))
        if len(users) == 1:
            return users
        try:
            found = await self.connection.call(choose_users, users, _MOST_CONTACTS)
        except RestbrokerError:
            return users  # `_asked` finds out, and tells
        self._heard_s = trio.current_time()
        return found

    async def _read_users(self, users: Sequence[str]) -> Mapping[str, RosterHash | RestbrokerError]:
        self.calls += 1
        try:
            found = await self.connection.ask(read, users)
        except RestbrokerError as error:
            return dict.fromkeys(users, self._report_outage(error))
        # Others write to Redis too. Whatever is stumbled over there, a broker must not end for it.
        except Exception as error:  # noqa: BLE001
            return dict.fromkeys(users, _failure(error))
        self._is_away = False
        self._heard_s = trio.current_time()
        return found

    async def _write(self, batch: Mapping[str, _PendingRead], stored: Mapping[str, RosterHash], read_s: float) -> None:
        async with self._writing:
            for piece in store.in_batches(list(stored), lambda user: len(stored[user]), _CONTACTS, MOST):
                given, found = {user: stored[user] for user in piece}, list[PreparedRoster | RestbrokerError]()
                try:
                    found += await trio.to_thread.run_sync(prepare_rosters, given, self.domain, limiter=self._thread)
                except Exception as error:  # noqa: BLE001  as above
                    found = [_failure(error)] * len(piece)
                for user, roster in zip(piece, found, strict=True):
                    if isinstance(roster, PreparedRoster):
                        self.copies.keep(user, RosterCopy(roster.body, read_s))
                    self._end(user, batch[user], roster)

    def _end(self, user: str, wanted: _PendingRead, answer: PreparedRoster | RestbrokerError) -> None:
        if wanted in self._open:
            self._open.remove(wanted)
            wanted.end(answer)
            self._tell(user, answer)

    def _report_outage(self, error: RestbrokerError) -> RestbrokerError:
        if not self._is_away:
            self._is_away = True
            kept = f"; users with a copy in memory ({len(self.copies)}) get the copy" if len(self.copies) else ""
            what = f"restbroker cannot read rosters from Redis, so Prosody gets none{kept}. {error.message}"
            self.report(OperatorWarning("RostersUnread", what, error.hint))
        return error

    async def _refresh_stale(self) -> None:
        """Push refreshes of all users who got an older copy, as soon as Redis takes the jobs.

        A job that is pushed twice, as its answer was lost, does no harm.
        """
        while self.refresh is not None:
            await self._any_outdated.wait()
            await trio.sleep(_AGAIN_S)
            given, self._outdated, self._any_outdated = self._outdated, {}, trio.Event()
            try:
                await self.connection.call(self.refresh, tuple(given))
            except RestbrokerError:
                self._outdated = {**given, **self._outdated}
                self._any_outdated.set()
                continue
            ago = duration_text(trio.current_time() - min(given.values()))
            what = (
                f"Users who got an older copy of their roster: {len(given)} (up to {ago} old). They are refreshed now."
            )
            self.report(OperatorWarning("OlderRosters", what, None))

    def _tell(self, user: str, answer: PreparedRoster | RestbrokerError) -> None:
        match answer:
            case StoreRefused():
                self._warn(f"The roster of {user} cannot be read. {answer.message}", answer.hint)
            case PreparedRoster(bad=(first, *more)):
                left_out = f"and {len(more)} more are left out" if more else "is left out"
                what = f"In the roster of {user} a contact {left_out}: {first.entry} {first.why}."
                self._warn(what, "Another program wrote it. Remove it, or set it again.")
            case _:
                pass

    def _warn(self, message: str, hint: str | None) -> None:
        self.report(OperatorWarning("RosterUnreadable", message, hint))


def _failure(error: Exception) -> RestbrokerError:
    return StoreRefused(f"Reading it failed with {type(error).__name__}.", "Please report this.")


def choose_users(client: Client, users: Sequence[str], most: int) -> list[str]:
    """Return the users to read first: those with the fewest contacts, up to `most` contacts together; at least one.

    Raise `StoreUnavailable` if Redis does not answer.
    """
    try:
        sizes = store.sizes(client, users)
    except StoreRefused:
        return list(users)  # `read` finds out whose key is of another type
    ordered = sorted(zip(sizes, users, strict=True))
    together = accumulate(size for size, _ in ordered)
    return [user for (_, user), sum_ in zip(ordered, together, strict=True) if sum_ <= most] or [ordered[0][1]]


def read(client: Client, users: Sequence[str]) -> dict[str, RosterHash | StoreRefused]:
    """Return the roster of each user, empty for one who has none, or the error that reading it raises.

    Raise `StoreUnavailable` if Redis does not answer.
    """
    try:
        stored = store.read(client, users)
    except StoreRefused as error:
        if len(users) == 1:
            return {users[0]: error}
        # Someone's key is of another type, say, and it is not told whose.
        half = len(users) // 2
        return {**read(client, users[:half]), **read(client, users[half:])}
    return dict(zip(users, stored, strict=True))


def prepare_rosters(stored: Mapping[str, RosterHash], domain: str | None) -> list[PreparedRoster]:
    """Return these users' rosters for Prosody, in the same order. `domain`: theirs, where it is known."""
    found: list[PreparedRoster] = []
    for user, contacts in stored.items():
        roster, bad = roster_of(contacts, user, domain)
        found.append(PreparedRoster(as_prosody(roster), bad))
    return found


def _size(user: str, copy: RosterCopy) -> int:
    return len(user) + len(copy.body) + _OVERHEAD_BYTES
