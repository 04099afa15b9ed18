"""What one kind of event source has to offer. `registry` has the kinds, `webhook` and `app` use them.

A kind that servers post to is a `Hook`. A kind that fetches by itself (a broker's queue, a stream of a server) is a
`Reader`, which offers what it got to an `Intake` and tells the server only then that it has it. Always holds: no
kind knows Redis; an event that nobody took is not confirmed.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import attrs

from restbroker.config.events import EventSource
from restbroker.errors import RestbrokerError
from restbroker.job.command import Command
from restbroker.job.event import ServerEvent
from restbroker.light import light
from restbroker.telemetry.events import Report

if TYPE_CHECKING:  # the command line gets the kinds without Trio, Redis and HTTP
    import trio

    from restbroker.servers.contract import Logins
    from restbroker.store.leases import Lease
    from restbroker.transport.message import Transport

Verdict = Literal["accepted", "duplicate", "own", "ignored"]
"""Redis has its job; it had one already (`DropDuplicates`); it tells of what this broker sent (`DropOwn`); nobody wants
it (`Only`, `Except`, `Routes`)."""


class Offer(Protocol):
    """Events that were offered together."""

    async def done(self) -> None:
        """Returns when all of them are decided; however long Redis is away."""
        ...

    async def leave(self) -> None:
        """Nobody waits any more: what is not on its way is not pushed. Returns when the rest is decided, in seconds."""
        ...

    def verdicts(self) -> list[Verdict | RestbrokerError | None]:
        """Of each, in the order of the events: what became of it, or why not, by now; None: nothing yet."""
        ...


class Intake(Protocol):
    """The way to Redis."""

    def offer(self, source: EventSource, events: Sequence[ServerEvent], /) -> Offer:
        """They are pushed in this order. Raises `ValueError` for what no JSON can hold."""
        ...

    async def park(self, jobs: Sequence[bytes], /) -> None:
        """Returns when these jobs are in the dead set; however long Redis is away."""
        ...


class MalformedEvent(ValueError):
    """What was posted is none of the server's events. The text says why, and repeats nothing of it."""


@light
class HookRequest:
    """One request. `headers`: by their names in lower case. `path` is decoded, `raw_path` and `query` as they came.

    `secrets`: what the source's `secrets` are now, where its requests are signed.
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    secrets: tuple[bytes, ...] = attrs.field(default=(), repr=False)


@attrs.frozen
class Answer:
    """What is answered: a status, and a body of this type, if there is one."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Forbidden(Exception):
    """What was posted is of nobody who may. `why` repeats nothing of it."""

    why: str
    answer: Answer


@light
class IncomingEvent:
    """What was posted. `asks`: its sender waits for an answer, which a queue cannot give.

    `source`: whose queue and class count, where the event itself says so; None: those of the one that was posted to.
    """

    event: ServerEvent
    asks: bool = False
    source: EventSource | None = None


class Hook(Protocol):
    """One kind of webhook: pure functions."""

    @property
    def CONTENT_TYPE(self) -> str:  # noqa: N802  a module's constant
        """What a body must be."""
        ...

    def read(self, posted: HookRequest, source: str, now_s: float) -> IncomingEvent:
        """The event. Raises `MalformedEvent`, and `Forbidden` where the requests of this kind are signed."""
        ...

    def answer_probe(self) -> Answer:
        """To a question whether anybody is there (OPTIONS)."""
        ...

    def answer_taken(self, told: IncomingEvent) -> Answer:
        """To an event that is in good hands, or that nobody wants."""
        ...

    def answer_refused(self, told: IncomingEvent) -> Answer:
        """To one that asks, where nobody answers."""
        ...

    def not_now(self, told: IncomingEvent, retry_after_s: int) -> Answer:
        """To one that could not be taken: its sender should know."""
        ...

    def problem(self, status: HTTPStatus, detail: str) -> Answer | None:
        """To a request that is none of an event; None: a problem as RFC 9457 has it."""
        ...


@runtime_checkable
class SignedHook(Hook, Protocol):
    """One whose requests are signed, so that nobody is asked for a secret before they are read."""

    def judge_head(self, headers: Mapping[bytes, bytes], now_s: float) -> None:
        """Raises `Forbidden` for a request that nobody made who may, as its head shows: its body need not be read."""
        ...


@attrs.frozen
class Parties:
    """Between whom a message goes that tests whether events come, as its operator names them; "": nobody is named."""

    sender: str = ""
    receiver: str = ""


@attrs.frozen
class Emission:
    """What makes a server tell of such a message. `look_at`: what to look at there, where it does not."""

    command: Command
    look_at: str


class Deliver(Protocol):
    """Has Redis take an event."""

    async def __call__(self, source: EventSource, event: ServerEvent, /) -> Verdict:
        """Returns when Redis has its job. Raises `StoreUnavailable` or `StoreRefused`, in some seconds at most."""
        ...


class Leases(Protocol):
    """Which of the processes does what: `store.leases`, for one reader in one process."""

    async def hold(self, names: Sequence[str], lease_s: float) -> "Mapping[str, Lease]":
        """Takes or renews these, for so long. Raises `StoreUnavailable` or `StoreRefused`."""
        ...

    async def end(self, names: Sequence[str]) -> None:
        """Ends these, and has whoever holds one know that somebody was late. Never raises, and gives up soon."""
        ...

    async def aclose(self) -> None:
        """Closes the connection; a later call opens a new one."""
        ...


class Problem(Protocol):
    """Why nothing is read; no secret is in it."""

    @property
    def code(self) -> str:
        """Of the warning."""
        ...

    @property
    def message(self) -> str:
        """What is wrong, a sentence."""
        ...

    @property
    def cure(self) -> str:
        """What to do about it."""
        ...


@attrs.frozen
class StreamFacts:
    """What is known of a user's stream: the end of the id of the login under which it was opened, "" where none is
    needed; when it was opened and brought its last event and heartbeat (epoch seconds; 0: never).
    """

    login: str = ""
    opened_s: float = 0.0
    event_s: float = 0.0
    heartbeat_s: float = 0.0


class States(Protocol):
    """Where a reader says how its reading stands, for whoever looks at it: `events.states`."""

    def put(self, problem: Problem | None, user: str = "") -> None:
        """It is so from now on, or still; None: it is read. With an empty code nothing is wrong, and nothing there to
        read, for which the message is a word or two. `user`: whose stream it is, "" for the whole source.
        """
        ...

    def watch(self, user: str, facts: Callable[[], StreamFacts]) -> None:
        """What is known of his stream: asked for whenever his state is written, until `end`."""
        ...

    def end(self, user: str) -> None:
        """This process reads no stream of this user any more."""
        ...


@attrs.frozen
class ReaderPorts:
    """What a reader may use. `leases`, `logins` and `http` are there where its options name a target.

    `http`: what the logins use. The reader closes these three. `states`: None where nobody looks.
    """

    inlet: Intake
    report: Report
    leases: Leases | None = None
    logins: "Logins | None" = None
    http: "Transport | None" = None
    states: States | None = None


class Reader(Protocol):
    """One source of a kind that fetches by itself."""

    async def run(self, *, task_status: "trio.TaskStatus[None]") -> None:
        """Fetches until cancelled; `task_status.started()` when it is up, whether or not the server is there.

        What was delivered when the process stops is still to be confirmed, within a second or so.
        """
        ...
