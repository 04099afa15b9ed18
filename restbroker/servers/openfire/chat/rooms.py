"""Delivers the commands of users in rooms, each on the stream of their login, and creates rooms.

The connector uses it. Always holds: a post is sent only by a login whose join of that room was answered with 200, or by
one of which nothing is known if rooms are not to be joined; one process at a time has a user join or leave a room, and
the others wait; a command is sent again within a delivery only after a 400, which means that it was not done. No user
joins, or says anything in, a room that the server does not know: the plugin would make one that no one else can enter
(measured), or answer 200 to a message that no one receives.

The plugin remembers each room that a stream asked for, and from then on answers 200 to what is said there: even if the
room refused or banned the user, or they left (measured). So Redis has to know who is in a room. A service that is not
there gets 500 (read), as does a server that is unhealthy; it counts as missing only if the same question in the usual
service shows that the server is well.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias, assert_never

from restbroker.config.target import Target
from restbroker.errors import StoreRefused
from restbroker.job.jid import fold_case
from restbroker.job.json_types import Json
from restbroker.job.outcome import Denied, Outcome, Reason, Rejected
from restbroker.job.settle import before_sending
from restbroker.light import field, frozen
from restbroker.servers.api.connector import PreparedCall
from restbroker.servers.api.request import unsent
from restbroker.servers.api.texts import parse_json
from restbroker.servers.in_redis import LoginsInRedis
from restbroker.servers.openfire.chat.catalogue import ChatEntry, for_target, table
from restbroker.servers.openfire.chat.forms import user_name
from restbroker.servers.openfire.chat.logins import bounded, new_lock, until_free
from restbroker.servers.openfire.chat.options import Options
from restbroker.servers.openfire.chat.outcomes import CHECK_URL, NOT_IN_ROOM, classify, no_such_room
from restbroker.servers.openfire.chat.request import (
    LOOK_AT_ROOM,
    ChatRequest,
    join_request,
    named_room,
    room_of,
    room_question,
)
from restbroker.servers.openfire.new_rooms import DEFAULT_SERVICE, Found, NewRoom, RoomCreator
from restbroker.store import rooms
from restbroker.store.logins import LoginGranted, LoginLock
from restbroker.store.rooms import Need, RoomMembership, State
from restbroker.transport.message import Request, Response

TRIES: Final = 3
"""The tries: with the stream known here, with the one in Redis, and after a login.

The first two may be older than the server's last start. It is also how often a user joins a room that has them leave at
once.
"""


Job: TypeAlias = PreparedCall[ChatEntry, ChatRequest]


@frozen
class RoomAnswer:
    """One answer. `is_join`: it answers the join before the command, which was not sent then.

    `has_joined`: the user joined just before the command.
    """

    response: Response
    is_join: bool = False
    has_joined: bool = False


class NoRoom(Exception):
    """The command must not be sent to this room. `outcome`: the job's."""

    def __init__(self, outcome: Rejected) -> None:
        super().__init__("The command was not sent.")
        self.outcome = outcome


@frozen
class Rooms:
    """Sends the commands of one target that users do in rooms, and creates rooms. Its methods raise what a link does.

    All that are given a job raise `NoRoom` if it must not be sent, and `StoreRefused`.
    """

    _target: Target
    _store: LoginsInRedis
    _now_s: Callable[[], float]
    _creator: RoomCreator = field(factory=RoomCreator)

    def need(self, entry: ChatEntry) -> Need:
        """Return what a command that a user does in a room needs to know of the two."""
        if entry.effect != "speaks":
            return "again"
        return "need" if self._target.options_as(Options).joins else "look"

    async def send(self, job: Job, stream: str, need: Need) -> RoomAnswer:
        """Send the command once on this stream, after a join if that is needed."""
        stay = RoomMembership(room_of(job.request), user_name(job.request.user), stream)
        command, has_joined = job.request.for_stream(stream), False
        for _ in range(TRIES):
            match await self._claim_room(job, stay, "need" if has_joined else need):
                case LoginLock() as lock if job.entry.effect != "speaks":
                    return RoomAnswer(await self._send_with_lock(job, stay, lock, command))
                case LoginLock() as lock:
                    join = join_request(job.call, job.request, self._target).for_stream(stream)
                    response = await self._send_with_lock(job, stay, lock, join)
                    if not 200 <= response.status < 300:
                        return RoomAnswer(response, is_join=True)
                    # Asked once more: others may have had them leave meanwhile, or the room lets no one stay.
                    has_joined = True
                case "out":
                    raise NoRoom(NOT_IN_ROOM)
                case "":
                    await self._require_room(job)
                    return RoomAnswer(await job.link.send(command))
                case "in":
                    # Others may have deleted it since they joined: what they say there would be answered with 200, too.
                    if not has_joined:
                        await self._require_room(job)
                    return RoomAnswer(await job.link.send(command), has_joined=has_joined)
                case other:
                    assert_never(other)
        raise NoRoom(NOT_IN_ROOM)

    async def _claim_room(self, job: Job, stay: RoomMembership, need: Need) -> State | LoginLock:
        """Return what is known of the user and the room, or the lock for a join or leave, once no one else has it."""
        lock = new_lock(job.call.timeout_s)
        known: State | LoginGranted = await until_free(partial(self._store.call_room, rooms.take, stay, lock, need))
        return lock if isinstance(known, LoginGranted) else known

    async def _send_with_lock(self, job: Job, stay: RoomMembership, lock: LoginLock, request: Request) -> Response:
        """Send the join or leave, note its result in Redis, and return the answer. Raise `NoRoom` if there is no room.

        When it is cancelled or fails, the lock is released, if Redis takes it within a second.
        """
        try:
            if job.entry.effect != "leaves":
                await self._require_room(job)
            # What comes before a post or an invitation has no effect that would count.
            response = await (job.link.ask if job.entry.effect == "speaks" else job.link.send)(request)
        except BaseException:
            # The next one need not wait until the lease ends.
            with bounded():
                await self._store.call_room(rooms.put, stay, lock.holder, "")
            raise
        is_done = 200 <= response.status < 300
        done: State = "out" if job.entry.effect == "leaves" else "in"
        state: State = done if is_done else "out" if response.status == 400 else ""
        await self._store.call_room(rooms.put, stay, lock.holder, state)
        return response

    async def _require_room(self, job: Job) -> None:
        """Ask whether the room is there. Raise `NoRoom` if the server says that it is not."""
        response = await self._ask_for_room(job)
        missing = no_such_room(response, named_room(job.request))
        if missing is not None:
            # No one is in one of that name that comes later.
            with suppress(StoreRefused):
                await self._store.call_room(rooms.forget, room_of(job.request), "", is_out=False)
            raise NoRoom(missing)

    async def expel(self, job: Job) -> Response:
        """Send a command that may have users leave a room, and return the answer.

        The rooms are recorded as left before the command, so that a lost answer does no harm, and again afterwards,
        since a user may join in between. Raise `StoreRefused` only if the command was not sent.
        """
        await self._note(job, is_done=True)
        try:
            response = await job.link.send(job.request.for_stream(""))
        except BaseException:
            with bounded():
                await self._note(job, is_done=True)
            raise
        with suppress(StoreRefused):
            await self._note(job, is_done=200 <= response.status < 300)
        return response

    async def create(self, job: Job) -> Outcome:
        """Create the room unless it exists, and return the job's outcome."""

        async def send(_kept: Sequence[bool]) -> Outcome:
            response = await self.expel(job)
            return classify(job.call, job.entry, job.spec, response=response, now_s=self._now_s(), stream="")

        room = NewRoom(room_of(job.request), partial(self._look_for_room, job))
        return await self._creator.create(job.call, [room], send)

    async def _look_for_room(self, job: Job) -> Found:
        """Ask for the room that a job creates; one of a service that is not there is not there."""
        response = await self._ask_for_room(job)
        is_there = _is_there(response, job.request)
        if is_there is not None:
            return is_there
        service = room_of(job.request).rpartition("@")[2]
        if response.status == 500 and service != DEFAULT_SERVICE:
            usual = await self._ask_for_room(job, DEFAULT_SERVICE)
            if _is_there(usual, job.request) is not None:
                return False
        if 200 <= response.status < 300:
            message = f"Status {response.status}, but the answer is not the requested room."
            return Denied(Reason("NotTheApi", message, CHECK_URL, response.status))
        entry = table(self._target.options_as(Options).paths)[LOOK_AT_ROOM]
        spec = for_target(self._target, None).commands[LOOK_AT_ROOM]
        return before_sending(classify(job.call, entry, spec, response=response, now_s=self._now_s(), stream=""))

    async def _ask_for_room(self, job: Job, service: str | None = None) -> Response:
        return await job.link.ask(unsent(lambda: room_question(job.call, job.request, self._target, service)))

    async def _note(self, job: Job, *, is_done: bool) -> None:
        for jid in _departures(job.entry, job.request.arguments):
            _, at, host = jid.partition("/")[0].rpartition("@")
            if not at or fold_case(host) == fold_case(self._target.default_host or host):
                await self._store.call_room(rooms.forget, room_of(job.request), user_name(jid), is_out=is_done)


def _departures(entry: ChatEntry, given: Mapping[str, Json]) -> Iterator[str]:
    """Yield the JIDs of the users whom a command may have leave the room; "" means all of them."""
    if entry.effect == "sets_room":
        if given.get("membersOnly") or given.get("outcastGroups"):
            yield ""
        outcasts = given.get("outcasts")
        for outcast in outcasts if isinstance(outcasts, list) else ():
            yield str(outcast)
    else:
        yield str(given.get("jid", ""))


def _is_there(response: Response, request: ChatRequest) -> bool | None:
    """Tell by the answer to the question for the room whether it exists; None if the answer does not say."""
    if no_such_room(response, named_room(request)) is not None:
        return False
    if response.status != 200:
        return None
    wanted = room_of(request).rpartition("@")[0]
    match parse_json(response.parsable):
        case {"roomName": str(name)} if name.casefold() == wanted.casefold():
            return True
        case None if response.note:
            return True
        case _:
            return None
