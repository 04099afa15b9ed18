"""Gathers what is asked for at the same time, and reads it from Redis in one go. A service; `roster.service` asks it.

Always holds: a roster is read after it was asked for, never before, so that a change which was made earlier is in it;
Redis is asked by one call at a time; an outage is told once.
"""

from collections.abc import Sequence
from itertools import islice

import attrs
import trio

from restbroker.errors import ConnectionEnded, RestbrokerError, StoreRefused, StoreUnavailable
from restbroker.roster.reading import Found, read
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Report, Warned

MOST = 500
"""So many users are read with one call."""
_STOPPING = StoreUnavailable("Rosters are not served any more: the process stops.", "Ask again.")


@attrs.define(eq=False)
class _Wanted:
    """One user's roster, for all who asked before it was read."""

    done: trio.Event = attrs.field(factory=trio.Event)
    answer: Found | RestbrokerError = _STOPPING


@attrs.define(eq=False)
class Reader:
    """`calls` counts those of Redis."""

    connection: Connection
    report: Report
    calls: int = 0
    _wanted: dict[str, _Wanted] = attrs.field(factory=dict)
    _reading: dict[str, _Wanted] = attrs.field(factory=dict)
    _wake: trio.Event = attrs.field(factory=trio.Event)
    _is_stopping: bool = False
    _is_away: bool = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Reads whenever something is wanted, until cancelled; then closes the connection."""
        task_status.started()
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                while self._wanted:
                    await self._read_some()
        finally:
            self.stop()
            await self.connection.aclose()

    async def roster(self, user: str) -> bytes:
        """The user's roster as JSON. Raises `RestbrokerError` where it cannot be read. Who gives up only stops waiting.

        It waits for as long as Redis takes: bound it.
        """
        if self._is_stopping:
            raise _STOPPING
        wanted = self._wanted.setdefault(user, _Wanted())
        self._wake.set()
        await wanted.done.wait()
        if isinstance(wanted.answer, RestbrokerError):
            # A new one for each who waits.
            raise RestbrokerError(wanted.answer.message, wanted.answer.cure)
        return wanted.answer.body

    def stop(self) -> None:
        """Nobody waits any longer; all who ask from now on are told so."""
        self._is_stopping = True
        for wanted in (*self._wanted.values(), *self._reading.values()):
            wanted.done.set()
        self._wanted, self._reading = {}, {}

    async def _read_some(self) -> None:
        users = list(islice(self._wanted, MOST))
        self._reading = {user: self._wanted.pop(user) for user in users}
        answers = await self._asked(users)
        for user, wanted in self._reading.items():
            wanted.answer = answers[user]
            wanted.done.set()
            self._tell(user, wanted.answer)
        self._reading = {}

    async def _asked(self, users: Sequence[str]) -> dict[str, Found | RestbrokerError]:
        self.calls += 1
        try:
            try:
                found = await self.connection.call(read, users)
            except ConnectionEnded:  # since the last time; Redis itself may be well
                found = await self.connection.call(read, users)
        except RestbrokerError as error:
            return dict.fromkeys(users, self._away(error))
        # Others write to Redis too. Whatever a look stumbles over, a broker must not end for it.
        except Exception as error:  # noqa: BLE001
            return dict.fromkeys(users, _broken(error))
        self._is_away = False
        return {**found}

    def _away(self, error: RestbrokerError) -> RestbrokerError:
        if not self._is_away:
            self._is_away = True
            self.report(
                Warned("RostersUnread", f"Rosters are refused, as they cannot be read. {error.message}", error.cure)
            )
        return error

    def _tell(self, user: str, answer: Found | RestbrokerError) -> None:
        match answer:
            case StoreRefused():
                self._warn(f"The roster of {user} cannot be read. {answer.message}", answer.cure)
            case Found(bad=(first, *more)):
                left_out = f"and {len(more)} more are left out" if more else "is left out"
                what = f"In the roster of {user} a contact {left_out}: {first.entry} {first.why}."
                self._warn(what, "Somebody else wrote it. Take it out, or set it anew.")
            case _:
                pass

    def _warn(self, message: str, cure: str | None) -> None:
        self.report(Warned("RosterUnreadable", message, cure))


def _broken(error: Exception) -> RestbrokerError:
    return StoreRefused(f"Reading failed with {type(error).__name__}.", "Please report this.")
