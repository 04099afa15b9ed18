"""The rosters in Redis for a connector: one `RostersInRedis` for each target of that kind, with its own connection.

Made by `app.build`. Always holds: nothing is connected before the first call; a call waits while Redis is away, which
the pool reports; a target that is not the one for changed rosters has marks of its own, as two servers may both have a
user of the same name.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import attrs
import trio

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.errors import ConfigError, StoreRefused
from restbroker.kinds import PROSODY_ROSTER
from restbroker.light import define, frozen
from restbroker.rosters import store as rosters
from restbroker.rosters.refresh_target import RefreshTarget
from restbroker.rosters.store import RefreshDelay, RefreshJobs, RosterChange, RosterUnchanged, RosterVersions
from restbroker.store.client import Client, Reply, ScriptCall
from restbroker.store.connection import Connection, until_answered
from restbroker.store.keys import RedisKeys

T = TypeVar("T")

LEASE_S: Final = 30.0
"""Seconds for which a refresh counts as in progress: two time-outs of Prosody and a test whether it answers fit in."""
_LANDING_S: Final = 1.0
_BUSY_MS: Final = 50
"""Milliseconds until a user who is refreshed elsewhere is claimed again: there is no signal when that is over."""


@frozen
class Claim:
    """Claimed refreshes: those of `users` are under way until `RostersInRedis.end_refreshes` gets `holder`.

    `wait_s`: for each of the other users, after how many seconds to claim them again.
    """

    holder: str
    users: tuple[str, ...]
    wait_s: Mapping[str, float] = attrs.Factory(dict)


@define(eq=False)
class RostersInRedis:
    """The rosters in Redis, and whose refresh is due, for one target; users are local parts.

    `_changed` makes the refresh jobs of changes, `_marked` those of marks. `_prefix`: the text before each user in the
    records of refreshes in Redis. Every call waits while Redis is away, raises `StoreRefused`, and is safe to cancel. A
    change or a mark pushes one refresh job for each user who has none waiting.
    """

    _connection: Connection
    _changed: RefreshTarget | None
    _marked: RefreshTarget | None
    _prefix: str = ""

    @property
    def lease_s(self) -> float:
        """Seconds for which a claim holds."""
        return LEASE_S

    async def change(self, changes: Sequence[RosterChange]) -> RosterVersions | RosterUnchanged:
        """Make all of these changes or none, with their refresh jobs; return the new versions, or why not."""
        return await until_answered(lambda: self._connection.call(_change, tuple(changes), self._changed))

    async def mark(self, users: Sequence[str]) -> bool:
        """Mark these users for a refresh, changed or not; return False if no target refreshes."""
        marked = self._marked
        if marked is None:
            return False
        await until_answered(lambda: self._connection.call(_mark, tuple(users), marked, self._prefix))
        return True

    async def read(self, users: Sequence[str]) -> Sequence[Mapping[bytes, bytes]]:
        """Return the contacts of each user as they are stored."""
        return await until_answered(lambda: self._connection.call(rosters.read, tuple(users)))

    async def claim(self, users: Sequence[str], delay: RefreshDelay) -> Claim:
        """Begin the refreshes of those who are due and not refreshed elsewhere, for `lease_s` at most.

        The result says how long each of the others has to wait.
        """
        holder = secrets.token_hex(8)
        names, lease_ms = self._user_keys(users), round(LEASE_S * 1000)
        reply = await self._run(lambda keys: rosters.claim_call(keys, names, holder, lease_ms=lease_ms, delay=delay))
        waits = rosters.read_claims(users, reply)
        wait_s = {user: (ms if ms > 0 else min(-ms, _BUSY_MS)) / 1000 for user, ms in waits.items() if ms}
        return Claim(holder, tuple(user for user, ms in waits.items() if not ms), wait_s)

    async def end_refreshes(self, holder: str, done: Sequence[str], again: Sequence[str]) -> None:
        """End refreshes of this holder; the jobs of those in `again` come again. Never raise; give up after 1 s."""
        with trio.move_on_after(_LANDING_S), contextlib.suppress(StoreRefused):
            # Sent twice it does no harm; not at all, these users wait until the lease ends.
            ended = self._user_keys(done), self._user_keys(again)
            await self._run(lambda keys: rosters.end_call(keys, holder, *ended))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()

    def _user_keys(self, users: Iterable[str]) -> tuple[str, ...]:
        return tuple(self._prefix + user for user in users)

    async def _run(self, call: Callable[[RedisKeys], ScriptCall]) -> Reply:
        return await until_answered(lambda: self._connection.run(call(self._connection.keys)))


def rosters_of(config: Config, target: Target, open_connection: Callable[[], Connection]) -> RostersInRedis | None:
    """Return the rosters for this target's connector; None for a target of another kind than `PROSODY_ROSTER`.

    Raise `ConfigError` if no token allows a refresh.
    """
    if target.kind != PROSODY_ROSTER:
        return None
    home = RefreshTarget.from_config(config)
    if target.is_local or (home is not None and target.name == home.target.name):
        return RostersInRedis(open_connection(), home, home)
    own = RefreshTarget.with_token(target, config.tokens)
    return RostersInRedis(open_connection(), home, own, f"{target.name}/")


def _change(
    client: Client, changes: Sequence[RosterChange], refreshing: RefreshTarget | None
) -> RosterVersions | RosterUnchanged:
    """Make these changes with their refresh jobs; call it in a thread, since it may read a token's file."""
    wanted = None if refreshing is None else _refresh_jobs(refreshing, [change.user for change in changes])
    return rosters.change(client, changes, wanted)


def _mark(client: Client, users: Sequence[str], refreshing: RefreshTarget, prefix: str) -> None:
    wanted = _refresh_jobs(refreshing, users)
    named = {prefix + user: payload for user, payload in wanted.payloads.items()}
    rosters.mark(client, tuple(named), attrs.evolve(wanted, payloads=named))


def _refresh_jobs(refreshing: RefreshTarget, users: Sequence[str]) -> RefreshJobs:
    try:
        return refreshing.jobs(users)
    except ConfigError as error:
        raise StoreRefused(error.message, error.hint) from error
