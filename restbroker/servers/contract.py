"""The interface between the broker and a server's connector: what each may use of the other.

Public: packages of others are written to it (docs/write-a-server-kind.md). A change here, in `servers.parts` or in
anything else that the page lets a package import goes into CHANGELOG.md. If an older kind can go on without the
change, only the version of restbroker rises: a kind that uses the change names that version among its dependencies. If
every kind has to follow, `CONTRACT_VERSION` in `servers.parts` rises: a kind that was written for another version is
refused, with what to do about it.

`broker/processor` calls `deliver` for a job, and `probe` for the target's prober; `app` opens connectors through the
registry. Always holds: a connector touches Redis only through its `Ports`, tells people something only by
`Ports.report`, and lets `NotSent` and `MaybeSent` pass unless it knows better.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import attrs
import trio

from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome, Probe
from restbroker.servers.roster_change import Change, RefreshDelay, RosterUnchanged, RosterVersions
from restbroker.store.logins import (
    AskingOnly,
    ClaimResult,
    LoggedIn,
    LoginBusy,
    LoginGranted,
    LoginLock,
    LoginState,
    LogoffReason,
    LogoffStart,
    PutResult,
    TakeResult,
)
from restbroker.store.rooms import Need, RoomMembership, State
from restbroker.telemetry.events import Report
from restbroker.transport.message import Request, Response, Transport


class Link(Protocol):
    """Sends the requests of one delivery to the target. The worker makes one for each."""

    async def ask(self, request: Request) -> Response:
        """Send a request that prepares the delivery, such as a login or a look-up, and return the answer.

        It must be harmless to repeat. Any failure leaves the job unsent.
        """
        ...

    async def send(self, request: Request) -> Response:
        """Send the request that has the command's effect, and return the answer; raise `NotSent` or `MaybeSent`.

        A request that is sent after another one whose answer was a success says that the other took effect: from then
        on the job's calls have `maybe_run`, even if this request fails.
        """
        ...


@attrs.frozen
class DirectLink:
    """A `Link` without a job behind it, for requests that change nothing, and for tests."""

    http: Transport

    async def ask(self, request: Request) -> Response:
        """Send the request over `http`, and return the answer; raise `NotSent` or `MaybeSent`."""
        return await self.http.send(request)

    async def send(self, request: Request) -> Response:
        """Send the request over `http`, and return the answer; raise `NotSent` or `MaybeSent`."""
        return await self.http.send(request)


class NotYet(Exception):
    """The job is not to be sent yet: `deliver` raises it before anything of the job was sent.

    The job is delivered again after `wait_s` seconds. Until then it takes no worker, uses up no try, and goes back to
    its queue if the process stops.
    """

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"The job is to wait {wait_s:.3f} s.")
        self.wait_s = wait_s


class Connector(Protocol):
    """Delivers commands to one target, in its server's dialect; a process has one for each target."""

    @property
    def catalogue(self) -> Catalogue:
        """The commands of the server's version, as far as it is known; of the newest version before the first probe."""
        ...

    def spec(self, endpoint: str) -> CommandSpec | None:
        """Return the command of this endpoint; None if it is not in the catalogue.

        `deliver` then passes it on as it is, or refuses it.
        """
        ...

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """Send one command, and return the outcome of its answer; raise `NotSent` or `MaybeSent` if there is none.

        Raise `NotYet` if it is to wait. Safe to cancel: the link knows whether it was sent.
        """
        ...

    async def probe(self, link: Link) -> Probe:
        """Send a harmless request, and return whether the target works.

        Raise `NotSent` or `MaybeSent` if there was no answer.
        """
        ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Do background work while the connector is in use; without any, call `task_status.started()` and sleep."""
        ...


@attrs.frozen
class Plan:
    """How to deliver the plain calls of one endpoint, exactly as `deliver` would.

    `request`: method, path, query and headers of each. `body` returns the body of a call with these arguments; None for
    a call that `deliver` would send otherwise, refuse, or send more than one request for. `outcome` returns the outcome
    of an answer with this status and whole body; None if `deliver` would need more than these, or find another outcome
    than `Delivered`. `note_delivered` is called after each answer that has an outcome.
    """

    request: Request
    body: Callable[[Mapping[str, Json]], bytes | None]
    outcome: Callable[[int, bytes], Delivered | None]
    note_delivered: Callable[[], None] = lambda: None


@runtime_checkable
class Planner(Protocol):
    """A connector whose plain calls the broker sends by itself, by a plan, at less than half the cost."""

    def plan(self, endpoint: str) -> Plan | None:
        """Return the plan for this endpoint; the same object until it changes. None: each call goes to `deliver`.

        The broker calls it for each job. A plain call is one without an earlier sending that may have run, of a token
        that may make it, without a `traceparent`; to all of these, `deliver` must do exactly what the plan says.
        """
        ...


@attrs.frozen
class Claim:
    """Claimed refreshes: those of `users` are under way until `Rosters.end_refreshes` gets `holder`.

    `wait_s`: for each of the other users, after how many seconds to claim them again.
    """

    holder: str
    users: tuple[str, ...]
    wait_s: Mapping[str, float] = attrs.Factory(dict)


class Rosters(Protocol):
    """The rosters in Redis, and whose refresh is due; users are local parts.

    Each call waits while Redis is away, raises `StoreRefused` if Redis refuses it, and is safe to cancel. A change or a
    mark pushes one refresh job for each user who has none waiting.
    """

    async def change(self, changes: Sequence[Change]) -> RosterVersions | RosterUnchanged:
        """Make all these changes, each of another user, or none; return the new versions, or why none was made."""
        ...

    async def mark(self, users: Sequence[str]) -> bool:
        """Have these users refreshed, whether or not their rosters changed; return False if no target refreshes."""
        ...

    async def read(self, users: Sequence[str]) -> Sequence[Mapping[bytes, bytes]]:
        """Return the contacts of each user, in the order of `users`: JID → contact, as they are stored."""
        ...

    async def claim(self, users: Sequence[str], delay: RefreshDelay) -> Claim:
        """Begin the refreshes of those users who are due and whom no other claim has, for at most `lease_s` seconds."""
        ...

    async def end_refreshes(self, holder: str, done: Sequence[str], again: Sequence[str]) -> None:
        """End refreshes of this holder: those in `done` are over, and the jobs of those in `again` come again.

        Never raises, and gives up soon.
        """
        ...

    @property
    def lease_s(self) -> float:
        """For how many seconds a claim holds."""
        ...

    async def aclose(self) -> None:
        """Close the connection; a later call opens a new one."""
        ...


class SentMessages(Protocol):
    """Records the messages that this broker sends, so that they do not become events (`DropOwn`)."""

    async def remember(self, sender: str, receiver: str, body: str) -> None:
        """Remember a message. Never raises.

        To be called before it is sent: some servers report it before they answer.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection; a later call opens a new one."""
        ...


class LoginStore(Protocol):
    """A target's logins and its users' rooms in Redis, as `store.logins` and `store.rooms` keep them.

    Each call waits while Redis is away, and raises `StoreRefused` if Redis refuses it.
    """

    async def take(self, user: str, lock: LoginLock, *, stale: str = "", stays_off: bool = False) -> TakeResult:
        """Return the user's login, unless its stream is `stale`; else the server's lock, for logging them in.

        `stays_off`: a user whom a job logged off is returned as `LoggedOff`, and not logged in. `AskingOnly`: the name
        has a connection because it asks a question. `LoginBusy`: another holder has the lock.
        """
        ...

    async def put(self, user: str, holder: str, stream: str) -> PutResult:
        """Release the holder's lock with the stream of the login; return what became of it.

        An empty stream: they could not be logged in. A stream with a blank, which no id has: it is not known whether
        they were; it is noted as `SessionUncertain` if nothing else is known, and the lock stays. It stays, too, if the
        stream is `shared`: another user has it, and must be logged in anew as well.
        """
        ...

    async def start_logoff(self, user: str, lock: LoginLock, how: LogoffReason) -> LogoffStart:
        """Return the lock for ending the stream that is known of the user; None if none is known.

        With the lock: log off the stream `LoginGranted.ends`, call `end` once it is over, and then `put` with an empty
        stream. `LoggedOff`: they are off already. `LoginBusy`: another holder has the lock.
        """
        ...

    async def read_states(self, users: Sequence[str]) -> list[LoginState]:
        """Return the recorded state of each user's login, in the order of `users`; None if there is none."""
        ...

    async def ask(self, user: str, lock: LoginLock) -> ClaimResult:
        """Claim the name for a question, if it is not logged in, and take the lock.

        The lock's holder is the claim. `LoginGranted`: it is noted. `LoggedOff`: the user was to be logged off, and
        it is not known whether that was done.
        """
        ...

    async def end(self, user: str, what: LoggedIn | AskingOnly) -> bool:
        """Remove the record of this stream or these claims, which are over; return False if another record is there."""
        ...

    async def take_room(self, stay: RoomMembership, lock: LoginLock, need: Need) -> State | LoginGranted | LoginBusy:
        """Return whether the user is in the room ("in", "out"), or the lock (`LoginGranted`) to let them join or leave.

        Release the lock with `put_room`. A `need` of "look" gets no lock, and "" if nothing is known; "need" gets the
        lock unless they are in the room; "again" gets it in any case. `LoginBusy`: another process has the lock.
        """
        ...

    async def put_room(self, stay: RoomMembership, holder: str, state: State) -> bool:
        """Release the holder's lock with the user's state ("": not known); return False if nothing changed by it."""
        ...

    async def forget_room(self, room: str, user: str, *, is_out: bool) -> None:
        """Record that the user, or every user (""), is out of the room; without `is_out`, that it is not known.

        It holds for each of their logins. The result of a join that is under way is not recorded.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection; a later call opens a new one."""
        ...


class NoLogin(Exception):
    """The user could not be logged in: the server refuses it, or cannot do it now.

    `outcome` is that of a job that needs the login.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("The user could not be logged in.")
        self.outcome = outcome


class Logins(Protocol):
    """One login for each of a target's users, shared by all processes; users are bare names or JIDs.

    Each call may raise `NoLogin`, `NotSent`, `MaybeSent` and `StoreRefused`, and waits while Redis is away. The ids
    that they return are as good as the user's password: they are shown nowhere.
    """

    async def stream(self, user: str) -> str:
        """Return the id of the user's stream, as far as is known; log them in if there is none, also after a logoff."""
        ...

    async def renew(self, user: str, stale: str) -> str:
        """Return the id of the user's stream after the server refused `stale`: another process' login, or a new one.

        If it is the same id again, the server knows it, and refused the request for another reason.
        """
        ...

    async def stream_for_reader(self, user: str, stale: str = "", *, afresh: bool = False) -> str | None:
        """Return an id as `stream` does, or with a `stale` one as `renew` does; None for a user not to be logged in.

        That is a user whom a job logged off, or whose name asks a question. `afresh`: no events come over the stale
        stream although the server knows it; it is logged off first.
        """
        ...

    async def read_states(self, users: Sequence[str]) -> list[LoginState]:
        """Return the state of each user's login in Redis, in the order of `users`.

        If that is another login than before, a stream that was opened before gets nothing any more.
        """
        ...

    async def present(self, user: str) -> None:
        """Send the user's presence, as the server does not count a user as available for a login alone."""
        ...

    async def note_expelled(self, user: str, room: str) -> None:
        """Note that the room (`balcony@conference`) said that the user is out: they join it before their next post."""
        ...

    async def aclose(self) -> None:
        """Close the connection; a later call opens a new one."""
        ...


@attrs.frozen
class Ports:
    """All that a connector may use besides its arguments.

    `report` reports an event or a warning. `now_s` returns the time in epoch seconds. `http` sends requests to the
    target that belong to no single job. `rosters` and `logins` are None for a kind that has none; `sent_messages` is
    None if no source of events needs it.
    """

    report: Report
    now_s: Callable[[], float]
    http: Transport | None = None
    rosters: Rosters | None = None
    sent_messages: SentMessages | None = None
    logins: LoginStore | None = None
