"""Rosters in Redis, and the marks of changes to refresh: writes and reads them, and assigns refreshes to processes.

Used by `in_redis` for connectors, the roster service and `rosters.operate`. Always holds: a change, the rise of its
version, the user's mark and the user's refresh job are one step (`roster_change.lua`), so that no crash comes between;
no process refreshes a user while another one does; a change during a refresh has another one follow.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

import attrs

from restbroker.light import frozen
from restbroker.rosters.rules import MOST_BYTES, MOST_CONTACTS
from restbroker.store.client import (
    Argument,
    Client,
    Reply,
    ScriptCall,
    integer,
    items,
    mapping,
    microseconds,
    pair,
    raw,
    text,
)
from restbroker.store.keys import RedisKeys

_AT_ONCE: Final = 100
"""The most rosters that are read or written in one go: each may be large."""
_SCANNED_AT_ONCE: Final = 1000
_MARKED_AT_ONCE: Final = 1000
"""The most users who are marked in one step; Redis does nothing else for 17 ms then (measured)."""


@frozen
class RosterChange:
    """The change of one user's roster. `put`: JID → contact, as `rosters.rules.as_stored` writes it.

    `drop`: JIDs to remove. `whole`: `put` replaces all contacts. `forget`: roster and version are removed.
    """

    user: str
    put: Mapping[str, bytes] = attrs.Factory(dict)
    drop: tuple[str, ...] = ()
    whole: bool = False
    forget: bool = False


@frozen
class RosterVersions:
    """The changes were written. `versions`: user → version of their roster now; 0: it was forgotten."""

    versions: Mapping[str, int]


@frozen
class RosterUnchanged:
    """Nothing was written: the roster of this user would be too large."""

    user: str


@frozen
class RefreshDelay:
    """When a marked user is due: `debounce_ms` after their last change, and `longest_ms` after the first at most."""

    debounce_ms: int
    longest_ms: int


@frozen
class RefreshJobs:
    """How users are refreshed: the queue, and for each user a complete job."""

    queue: str
    payloads: Mapping[str, bytes]


@frozen
class UserState:
    """The state of a user's roster: version (0: no roster), number of contacts, bytes.

    `dirty_s`: for how many seconds a change has waited for its refresh; `flying_s`: for how many seconds a refresh may
    still be under way. None: neither.
    """

    user: str
    version: int
    contacts: int
    size_bytes: int
    dirty_s: float | None = None
    flying_s: float | None = None

    @property
    def is_there(self) -> bool:
        """Whether the user has a roster. One that other programs wrote to Redis has contacts without a version."""
        return bool(self.version or self.contacts)


def change(
    client: Client, changes: Sequence[RosterChange], wanted: RefreshJobs | None
) -> RosterVersions | RosterUnchanged:
    """Do all changes or none, each of another user; users whose rosters differ then are marked and get their jobs.

    `wanted` None: no target refreshes. A change that alters nothing raises no version and pushes nothing, so that the
    same call again is right. Raise `StoreUnavailable` if Redis does not answer, though it may
    have been done, and ValueError for two changes of one user.
    """
    if len({change.user for change in changes}) < len(changes):
        raise ValueError("two changes of one user")
    if not changes:
        return RosterVersions({})
    keys = client.keys
    rosters = [keys.roster(change.user) for change in changes]
    arguments = [part for change in changes for part in _arguments(change, wanted)]
    code, *rest = items(_run(client, rosters, wanted, arguments))
    if code == b"OK":
        return RosterVersions({change.user: integer(version) for change, version in zip(changes, rest, strict=True)})
    return RosterUnchanged(changes[integer(rest[0]) - 1].user)


def mark(client: Client, users: Sequence[str], wanted: RefreshJobs) -> None:
    """Mark users for a refresh without a change; each who is not marked yet gets a job in the same step.

    Raise `StoreUnavailable` if Redis does not answer; it may have been done, for all or some, and the same call again
    is right.
    """
    for some in _in_pieces(users, _MARKED_AT_ONCE):
        arguments = [part for user in some for part in (user, wanted.payloads[user], "mark", 0, 0)]
        _run(client, [], wanted, arguments)


def read(client: Client, users: Sequence[str]) -> list[Mapping[bytes, bytes]]:
    """Return the roster of each of these users, JID → contact as stored; empty where there is none."""
    found: list[Mapping[bytes, bytes]] = []
    for some in _in_pieces(users):
        for reply in client.commands([("HGETALL", client.keys.roster(user)) for user in some]):
            flat = [raw(part) for part in items(reply)]
            found.append(dict(zip(flat[::2], flat[1::2], strict=True)))
    return found


def sizes(client: Client, users: Sequence[str]) -> list[int]:
    """Return how many contacts each of these users has."""
    return [integer(reply) for reply in client.commands([("HLEN", client.keys.roster(user)) for user in users])]


def claim_call(keys: RedisKeys, users: Sequence[str], holder: str, *, lease_ms: int, delay: RefreshDelay) -> ScriptCall:
    """Return the script call that begins the refreshes of those users who are due, and removes their marks.

    `holder` is new for each claim. Sent twice with the same `holder` it answers the same, and no other process gets
    these users until `lease_ms` are over.
    """
    arguments: list[Argument] = [holder, lease_ms, delay.debounce_ms, delay.longest_ms, *users]
    return "roster_claim", [keys.roster_dirty, keys.roster_refreshes], arguments


def read_claims(users: Sequence[str], reply: Reply) -> Mapping[str, int]:
    """Return what each user's claim came to, from the reply to `claim_call`.

    0: the refresh begins now. Else the milliseconds to wait: until the user is due, or, negative, as long as another
    process may refresh them.
    """
    return {user: integer(claim) for user, claim in zip(users, items(reply), strict=True)}


def end_call(keys: RedisKeys, holder: str, done: Collection[str], again: Collection[str]) -> ScriptCall:
    """Return the script call that ends refreshes which `holder` began; it answers how many of them it still held.

    `again`: these failed, and their jobs come again. They are marked again, so that changes until then push no further
    jobs.
    """
    users = {**dict.fromkeys(done, "0"), **dict.fromkeys(again, "1")}
    arguments = [holder, *(part for pair in users.items() for part in pair)]
    return "roster_end", [keys.roster_dirty, keys.roster_refreshes], arguments


def users(client: Client) -> set[str]:
    """Return all users who have a roster; one who has it all the while is not left out."""
    found, cursor = set[str](), ""
    while cursor != "0":
        position, page = pair(client.command("HSCAN", client.keys.rosters, cursor or "0", "COUNT", _SCANNED_AT_ONCE))
        found.update(mapping(page))
        cursor = text(position)
    return found


def user_states(client: Client, names: Sequence[str]) -> list[UserState]:
    """Return the state of each of these users' rosters."""
    return [state for some in _in_pieces(names) for state in _user_states(client, some)]


def counts(client: Client) -> tuple[int, int]:
    """Return how many users have a roster, and how many changes wait for their refresh."""
    rosters, dirty = client.commands([("HLEN", client.keys.rosters), ("HLEN", client.keys.roster_dirty)])
    return integer(rosters), integer(dirty)


def _user_states(client: Client, names: Sequence[str]) -> Iterator[UserState]:
    keys = client.keys
    time, versions, marks, flights, *sizes = client.commands(
        [
            ("TIME",),
            *(("HMGET", key, *names) for key in (keys.rosters, keys.roster_dirty, keys.roster_refreshes)),
            *(("HLEN", keys.roster(user)) for user in names),
        ]
    )
    now_ms = microseconds(time) / 1000
    for n, user in enumerate(names):
        version, size_bytes = _numbers(items(versions, len(names))[n], 2)
        since_ms, _ = _numbers(items(marks, len(names))[n], 2)
        until_ms, _ = _numbers(items(flights, len(names))[n], 2)
        dirty_s = max(0.0, now_ms - since_ms) / 1000 if since_ms else None
        flying_s = (until_ms - now_ms) / 1000 if until_ms > now_ms else None
        yield UserState(user, version, integer(sizes[n]), size_bytes=size_bytes, dirty_s=dirty_s, flying_s=flying_s)


def _numbers(value: Reply, count: int) -> list[int]:
    """Return the first numbers of a text; 0 for what is missing or something else."""
    parts = raw(value).split(b" ")[:count] if value is not None else []
    found = [int(part) if part.isdigit() and len(part) < 20 else 0 for part in parts]
    return found + [0] * (count - len(found))


def _run(client: Client, rosters: Sequence[str], wanted: RefreshJobs | None, arguments: Sequence[Argument]) -> Reply:
    keys = client.keys
    queue = "" if wanted is None else wanted.queue
    fixed = [keys.rosters, keys.roster_dirty, keys.queues, keys.queue(queue)]
    return client.run("roster_change", [*fixed, *rosters], [MOST_CONTACTS, MOST_BYTES, queue, *arguments])


def _arguments(one: RosterChange, wanted: RefreshJobs | None) -> Iterator[Argument]:
    what = "forget" if one.forget else "whole" if one.whole else "write"
    job = b"" if wanted is None else wanted.payloads[one.user]
    fixed: Sequence[Argument] = one.user, job, what, len(one.drop), len(one.put)
    yield from (*fixed, *one.drop)
    for jid, contact in one.put.items():
        yield jid
        yield contact


def _in_pieces(names: Sequence[str], size: int = _AT_ONCE) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]


def in_batches(
    users: Sequence[str], contacts: Callable[[str], int], most: int, most_users: int = _AT_ONCE
) -> Iterator[list[str]]:
    """Yield the users in batches whose rosters have at most so many `contacts` together, or are of a single user."""
    batch: list[str] = []
    count = 0
    for user in users:
        if batch and (len(batch) >= most_users or count + contacts(user) > most):
            yield batch
            batch, count = [], 0
        batch.append(user)
        count += contacts(user)
    if batch:
        yield batch
