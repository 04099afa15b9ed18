"""What the broker asks of a server's connector, and what a connector may ask of the broker. Public: packages of others
are written to it (docs/write-a-server-kind.md).

What changes here, in `servers.parts` or in what else that page lets a package import is in CHANGELOG.md. What a kind of
before can go on without raises the version of restbroker alone: a kind that uses it names that version among what it
depends on. What every kind has to follow raises `CONTRACT_VERSION` in `servers.parts`: a kind that was written for
another is refused, with what to do.

`broker/delivery` calls `deliver` for a job, and `probe` as the target's prober does; `app` opens connectors through
the registry. Always holds: a connector touches Redis through its `Ports` only, tells people something only by
`Ports.report`, and lets `NotSent` and `MaybeSent` pass unless it knows better.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs
import trio

from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.outcome import Outcome, Probe
from restbroker.servers.roster_change import Change, Pace, RosterUnchanged, RosterVersions
from restbroker.store.logins import AskingOnly, Ending, How, Known, LoggedIn, LoginBusy, LoginGranted, LoginTurn, Taken
from restbroker.store.logins import Claimed as Noted
from restbroker.store.rooms import Need, RoomMembership, State
from restbroker.telemetry.events import Report
from restbroker.transport.message import Request, Response, Transport


class Link(Protocol):
    """The way to the target for one delivery. Made by the worker."""

    async def ask(self, request: Request) -> Response:
        """Preparation (a login, a look-up): must be harmless to repeat. Any failure leaves the job unsent."""
        ...

    async def send(self, request: Request) -> Response:
        """The effect. Raises `NotSent` or `MaybeSent`.

        One that is sent behind another, whose answer was a success, says that the other took effect: from then on the
        job's calls have `maybe_run`, whatever becomes of this one.
        """
        ...


@attrs.frozen
class Direct:
    """A `Link` without a job behind it, for what changes nothing, and for tests."""

    http: Transport

    async def ask(self, request: Request) -> Response:
        """As `Link`."""
        return await self.http.send(request)

    async def send(self, request: Request) -> Response:
        """As `Link`."""
        return await self.http.send(request)


class Connector(Protocol):
    """Speaks one server's dialect. One per target and process."""

    @property
    def catalogue(self) -> Catalogue:
        """The commands of the server's version as far as known; the newest before the first probe."""
        ...

    def spec(self, endpoint: str) -> CommandSpec | None:
        """The command of this endpoint; None for one outside the catalogue (it is passed through)."""
        ...

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """Sends one command and judges the answer. Safe to cancel: the link knows whether it was sent."""
        ...

    async def probe(self, link: Link) -> Probe:
        """Asks the target something harmless. Raises `NotSent` or `MaybeSent` when it cannot be reached."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Background work for as long as the lane lives; may just start and sleep."""
        ...


@attrs.frozen
class Claim:
    """Whose refresh begins: `flying`, until `landed` is told of `holder`. `wait_s`: when to ask for the others."""

    holder: str
    flying: tuple[str, ...]
    wait_s: Mapping[str, float] = attrs.Factory(dict)


class Rosters(Protocol):
    """The rosters in Redis, and whose refresh is due. Waits while Redis is away; raises `StoreRefused`. Safe to cancel.

    Users are local parts. A change or a mark pushes one refresh job for each user who has none waiting.
    """

    async def change(self, changes: Sequence[Change]) -> RosterVersions | RosterUnchanged:
        """Makes all these changes or none."""
        ...

    async def mark(self, users: Sequence[str]) -> bool:
        """Has these users refreshed, changed or not. False: no target refreshes."""
        ...

    async def read(self, users: Sequence[str]) -> Sequence[Mapping[bytes, bytes]]:
        """Of each user the contacts as they are stored."""
        ...

    async def claim(self, users: Sequence[str], pace: Pace) -> Claim:
        """Begins the refreshes of those who are due, and whom nobody else refreshes, for `lease_s` at most."""
        ...

    async def end_refreshes(self, holder: str, done: Sequence[str], again: Sequence[str]) -> None:
        """Ends refreshes of this holder; the jobs of those in `again` come again. Never raises, and gives up soon."""
        ...

    @property
    def lease_s(self) -> float:
        """For how long a claim holds."""
        ...

    async def aclose(self) -> None:
        """Closes the connection; a later call opens a new one."""
        ...


class SentMessages(Protocol):
    """Keeps what is sent from coming back as an event (`DropOwn`)."""

    async def remember(self, sender: str, receiver: str, body: str) -> None:
        """To be called before the message is sent: some servers tell of it before they answer. Never raises."""
        ...

    async def aclose(self) -> None:
        """As `Rosters`."""
        ...


class LoginBook(Protocol):
    """What Redis knows of a target's logins and of its users' rooms, as `store.logins` and `store.rooms`.

    Waits while Redis is away; raises `StoreRefused`.
    """

    async def take(self, user: str, turn: LoginTurn, *, stale: str = "", stays_off: bool = False) -> Taken:
        """See `store.logins`."""
        ...

    async def put(self, user: str, holder: str, stream: str) -> bool:
        """See `store.logins`."""
        ...

    async def start_logoff(self, user: str, turn: LoginTurn, how: How) -> Ending:
        """See `store.logins`."""
        ...

    async def read_states(self, users: Sequence[str]) -> list[Known]:
        """See `store.logins`."""
        ...

    async def ask(self, user: str, claim: str) -> Noted:
        """See `store.logins`."""
        ...

    async def end(self, user: str, what: LoggedIn | AskingOnly) -> bool:
        """See `store.logins`."""
        ...

    async def room_take(self, stay: RoomMembership, turn: LoginTurn, need: Need) -> State | LoginGranted | LoginBusy:
        """See `store.rooms`."""
        ...

    async def room_put(self, stay: RoomMembership, holder: str, state: State) -> bool:
        """See `store.rooms`."""
        ...

    async def room_lose(self, room: str, user: str, *, is_out: bool) -> None:
        """See `store.rooms`."""
        ...

    async def aclose(self) -> None:
        """As `Rosters`."""
        ...


class NoLogin(Exception):
    """A user could not be logged in: the server said no, or not now. `outcome` is that of a job that needs him."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("The user could not be logged in.")
        self.outcome = outcome


class Logins(Protocol):
    """One login of each of a target's users, shared by all processes. Users are bare names or JIDs.

    All raise `NoLogin`, `NotSent`, `MaybeSent` and `StoreRefused`, and wait while Redis is away. What they give is as
    good as the user's password: it is shown nowhere.
    """

    async def stream(self, user: str) -> str:
        """The id of his stream as far as is known; he is logged in where there is none, also after a logoff."""
        ...

    async def renew(self, user: str, stale: str) -> str:
        """The same, where `stale` was refused: what others know by now, or he is logged in again.

        The same id again: the server knows it, so that it was refused for another reason.
        """
        ...

    async def open_watched(self, user: str, stale: str = "", *, afresh: bool = False) -> str | None:
        """As `stream`, or as `renew` with a stale one; but None, and no login, for who was logged off by a job or asks.

        `afresh`: the stale one leads nowhere although the server knows it, and is logged off first.
        """
        ...

    async def read_states(self, users: Sequence[str]) -> list[Known]:
        """What Redis has of each: another than before, and a stream that was opened before gets nothing any more."""
        ...

    async def present(self, user: str) -> None:
        """Makes him available: the server knows nothing of that after a login."""
        ...

    async def note_expelled(self, user: str, room: str) -> None:
        """Notes that he is out of a room (`balcony@conference`), as the room told him: he joins it before a post."""
        ...

    async def aclose(self) -> None:
        """As `Rosters`."""
        ...


@attrs.frozen
class Ports:
    """What a connector may use of the outside. `http`: the lane's way to the target, for what no single job sends.

    `rosters` and `logins` are None for a kind that has none. `sent`: None where no source of events wants to know.
    """

    report: Report
    now_s: Callable[[], float]
    http: Transport | None = None
    rosters: Rosters | None = None
    sent: SentMessages | None = None
    logins: LoginBook | None = None
