"""Servers, rosters and logins in memory, for a connector that is asked what it makes of an answer."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import attrs
import trio

from restbroker.rosters.in_redis import Claim, RostersInRedis
from restbroker.rosters.store import Change, RefreshDelay, RosterUnchanged, RosterVersions
from restbroker.servers.in_redis import LoginsInRedis
from restbroker.store.logins import (
    AskingOnly,
    ClaimResult,
    LoggedIn,
    LoginGranted,
    LoginLock,
    LoginState,
    LogoffReason,
    LogoffStart,
    PutResult,
    TakeResult,
)
from restbroker.store.rooms import Need, RoomMembership, State
from restbroker.transport.message import Request, Response, Sender

STREAM: Final = "ofchat1"
Questions: TypeAlias = Mapping[str, tuple[int, bytes]] | Response | Exception
"""What is answered to what: status and body by a text of the question, or the same to all."""


@attrs.define(eq=False)
class Memory:
    """A link and a transport in one. `answer`: to the command. `questions`: to whatever else is asked.

    `through`: a text in the path of a request by the transport that is the command's own.
    """

    answer: Response | Exception
    questions: Questions
    through: str = ""
    sent: int = 0
    asked: int = 0

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        """The command, by a link."""
        self.sent += 1
        return self._given(self.answer)

    async def ask(self, request: Request) -> Response:
        """A question. Raises as a transport."""
        self.asked += 1
        if not isinstance(self.questions, Mapping):
            return self._given(self.questions)
        text = f"{request.path} {request.body.decode()}"
        for words, (status, body) in self.questions.items():
            if words in text:
                return Response(status, {}, body, 0.0)
        raise AssertionError(f"nothing is known to answer to {request.method} {text}")

    @staticmethod
    def _given(answer: Response | Exception) -> Response:
        if isinstance(answer, Exception):
            raise answer
        return answer


@attrs.frozen
class Way:
    """The transport of a connector's own: its questions, and what is the command's."""

    memory: Memory

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        """One request."""
        memory = self.memory
        is_own = memory.through != "" and memory.through in request.path
        return await (memory.send(request) if is_own else memory.ask(request))

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Has nothing to do."""
        task_status.started()

    async def keep_none(self) -> None:
        """Keeps none."""

    async def aclose(self) -> None:
        """Has nothing to close."""


@attrs.frozen
class FreeRosters:
    """Rosters that anybody may refresh at once."""

    async def change(self, changes: Sequence[Change]) -> RosterVersions | RosterUnchanged:
        """All of them."""
        return RosterVersions({change.user: 1 for change in changes})

    async def mark(self, users: Sequence[str]) -> bool:
        """All of them."""
        return True

    async def read(self, users: Sequence[str]) -> Sequence[Mapping[bytes, bytes]]:
        """Nobody has contacts."""
        return [{} for _ in users]

    async def claim(self, users: Sequence[str], delay: RefreshDelay) -> Claim:
        """All of them."""
        return Claim("holder", tuple(users))

    async def end_refreshes(self, holder: str, done: Sequence[str], again: Sequence[str]) -> None:
        """Is not noted."""

    @property
    def lease_s(self) -> float:
        """As the store's."""
        return 30.0

    async def aclose(self) -> None:
        """Has nothing to close."""


@attrs.frozen
class OneLogin:
    """Everybody is logged in, on one stream, and in each room; a stream that is refused is followed by a login."""

    async def take(self, user: str, lock: LoginLock, *, stale: str = "", stays_off: bool = False) -> TakeResult:
        """The stream, or the lock where it is stale."""
        return LoggedIn(STREAM) if stale != STREAM and not stale else LoginGranted()

    async def put(self, user: str, holder: str, stream: str) -> PutResult:
        """Is not noted."""
        return "noted"

    async def start_logoff(self, user: str, lock: LoginLock, how: LogoffReason) -> LogoffStart:
        """The lock for ending the one stream."""
        return LoginGranted(STREAM)

    async def read_states(self, users: Sequence[str]) -> list[LoginState]:
        """All are logged in."""
        return [LoggedIn(STREAM) for _ in users]

    async def ask(self, user: str, lock: LoginLock) -> ClaimResult:
        """Everybody may."""
        return LoginGranted()

    async def end(self, user: str, what: LoggedIn | AskingOnly) -> bool:
        """Is not noted."""
        return True

    async def take_room(self, stay: RoomMembership, lock: LoginLock, need: Need) -> State | LoginGranted:
        """In, or the lock where it is wanted again."""
        return LoginGranted() if need == "again" else "in"

    async def put_room(self, stay: RoomMembership, holder: str, state: State) -> bool:
        """Is not noted."""
        return True

    async def forget_room(self, room: str, user: str, *, is_out: bool) -> None:
        """Is not noted."""

    async def aclose(self) -> None:
        """Has nothing to close."""


SERVICES: Final[Mapping[type, object]] = {RostersInRedis: FreeRosters(), LoginsInRedis: OneLogin()}
