"""The interface of one kind of event source. `registry` has the kinds; `webhook` and `app` use them.

A kind that servers post to is a `Hook`. A kind that fetches by itself (from a message broker's queue, or a stream of a
server) is an `EventReader`: it offers its events to an `Intake`, and confirms them to the server only when Redis has
them.
Always holds: no kind uses Redis itself; an event that Redis does not have is not confirmed.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Protocol, TypeAlias, runtime_checkable

from restbroker.config.events import EventSource
from restbroker.job.command import Command
from restbroker.job.event import ServerEvent
from restbroker.light import define, field, frozen, frozen_plain
from restbroker.telemetry.events import Report

if TYPE_CHECKING:  # the command line gets the kinds without Trio, Redis and HTTP
    import trio

    from restbroker.servers.contract import Ports
    from restbroker.servers.in_redis import LeasesInRedis, ProgressInRedis, StatesOfSource

Verdict = Literal["accepted", "duplicate", "own", "ignored"]
"""What became of an event.

`accepted`: Redis has its job. `duplicate`: Redis had one already (`DropDuplicates`). `own`: it reports what this broker
sent (`DropOwn`). `ignored`: the source does not want it (`Only`, `Except`, `Routes`).
"""


@frozen_plain
class Delivery:
    """What became of an event that was posted, and the id of its job if one was pushed."""

    verdict: Verdict
    jid: str | None = None


class Offer(Protocol):
    """Events that were offered together."""

    async def wait(self) -> None:
        """Wait until all of the events are decided, however long Redis is away."""
        ...

    async def withdraw(self) -> None:
        """Withdraw the events that are not yet being sent to Redis; return within seconds, when the rest is decided."""
        ...

    def verdicts(self) -> list[Verdict | Exception | None]:
        """Return the present result for each event, in their order: a verdict, an error, or None while undecided.

        An error that is not the store's is the event's own: it can become no job (`UsageError`: a too large one).
        """
        ...


class Intake(Protocol):
    """Takes events of readers, and pushes their jobs to Redis."""

    def offer(self, source: EventSource, events: Sequence[ServerEvent], /) -> Offer:
        """Have these events pushed in this order, without waiting."""
        ...

    async def add_dead_jobs(self, jobs: Sequence[bytes], /) -> None:
        """Put these jobs into the dead set; return when they are there, however long Redis is away."""
        ...


ANY_TYPE: Final = "*/*"
"""The `CONTENT_TYPE` of a hook that looks at the type itself."""


class MalformedEvent(ValueError):
    """The body of a request is no event of the server; the text says why, and repeats nothing of the body."""

    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST


class OtherShape(MalformedEvent):
    """The body is an event of another shape than the source takes."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class UnknownMediaType(MalformedEvent):
    """No body of this media type is read."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


@frozen_plain
class HookRequest:
    """One request that was posted; `headers` are keyed by their names in lower case.

    `path` is decoded; `raw_path` and `query` are as they came. `secrets`: the present values of the source's `secrets`,
    if its requests are signed. `below` is what follows the source's path, decoded and without its secret. In both,
    bytes that are not UTF-8 are as Python's `surrogateescape` has them.
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    below: str = ""


@frozen
class PostAnswer:
    """An HTTP answer: its status, and its body of this type if there is one."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(factory=dict)


@define(eq=False)
class Forbidden(Exception):
    """The sender of a request may not post here; `why` repeats nothing of the request, and `answer` is for them."""

    why: str
    answer: PostAnswer


@frozen_plain
class PostedEvent:
    """An event that was posted. `asks`: its sender waits for an answer, which a queue cannot give.

    `source`: whose queue and class count, if the event itself says so; None: those of the source that it was posted to.
    `unmapped`: the members that the source's map did not find.
    """

    event: ServerEvent
    asks: bool = False
    source: EventSource | None = None
    unmapped: tuple[str, ...] = ()


@frozen
class PostAnswers:
    """How requests of one kind are answered.

    `probe`: OPTIONS, GET or HEAD, by which a server looks whether the source exists. `accepted`: an event that Redis
    has, or that the source does not want. `refused`: one whose sender waits for an answer that no one is going to give.
    `not_now`: one that cannot be accepted, which may be sent again after so many seconds. `problem`: a request that is
    no event, by status and detail; None: by a problem document (RFC 9457).
    """

    probe: PostAnswer = PostAnswer(200)
    accepted: Callable[[], PostAnswer] = lambda: PostAnswer(202)
    refused: Callable[[PostedEvent], PostAnswer] = lambda _: PostAnswer(202)
    not_now: Callable[[PostedEvent, int], PostAnswer] = lambda _, after_s: PostAnswer(
        503, headers={"Retry-After": str(after_s)}
    )
    problem: Callable[[HTTPStatus, str], PostAnswer | None] = lambda *_: None


USUAL_ANSWERS: Final = PostAnswers()


class Hook(Protocol):
    """One kind of webhook: pure functions."""

    @property
    def CONTENT_TYPE(self) -> str:  # noqa: N802  a module's constant
        """The media type that a body must have, or `ANY_TYPE`."""
        ...

    def read(self, posted: HookRequest, source: str, now_s: float) -> PostedEvent:
        """Return the event that was posted to the source of this name at `now_s` (epoch seconds).

        Raise `MalformedEvent`, and `Forbidden` if the requests of this kind are signed.
        """
        ...

    @property
    def answers(self) -> PostAnswers:
        """How requests are answered."""
        ...


@runtime_checkable
class SignedHook(Hook, Protocol):
    """A hook whose requests are signed, so that no secret is asked for before they are read."""

    def check_head(self, headers: Mapping[bytes, bytes], now_s: float) -> None:
        """Raise `Forbidden` if the headers alone show that the sender may not post, so that the body is not read."""
        ...


@frozen
class Parties:
    """The sender and the receiver of a message that tests whether events come; empty where the operator names none."""

    sender: str = ""
    receiver: str = ""


@frozen(eq=False)
class Emission:
    """The command that makes a server report a test message, or another `what`, as an event.

    `look_at`: what to check at the server if no event comes, as a sentence for people. `members`: what the event has.
    `trial`: a command that a server with the module for such events refuses for its arguments, before anything is done.
    `subscriber`: one of those whom the answer to the command is to name; it asks who hears the room `what`, and makes
    no event.
    """

    command: Command
    look_at: str
    what: str = "message"
    members: Mapping[str, str] = field(factory=dict)
    trial: Command | None = None
    subscriber: str = ""


Deliver: TypeAlias = Callable[[EventSource, ServerEvent], Awaitable[Delivery]]
"""A function that pushes an event's job to Redis, and returns what became of it once that is decided.

It raises `StoreUnavailable` or `StoreRefused`, after some seconds at most.
"""


@frozen
class ReaderPorts:
    """All that a reader may use; `target` is None unless its options name a target.

    `target`: what that target's connector may use. The reader closes the others that it uses, and what `target` has.
    """

    intake: Intake
    report: Report
    leases: "LeasesInRedis"
    progress: "ProgressInRedis"
    states: "StatesOfSource"
    target: "Ports | None" = None


class EventReader(Protocol):
    """One source of a kind that fetches events itself."""

    async def run(self, *, task_status: "trio.TaskStatus[None]") -> None:
        """Fetch until cancelled; call `task_status.started()` when it is up, whether or not the server is there.

        What was delivered when the process stops is still to be confirmed, within a second or so.
        """
        ...
