"""Servers, rosters and logins in memory, for a connector that is asked what it makes of an answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import trio

from restbroker.rosters.in_redis import Claim, RostersInRedis
from restbroker.rosters.store import RefreshDelay, RosterChange, RosterUnchanged, RosterVersions
from restbroker.servers.in_redis import LoginsInRedis
from restbroker.store import logins, rooms
from restbroker.store.logins import LoggedIn, LoginGranted
from restbroker.transport.message import Request, Response, Sender

STREAM: Final = "ofchat1"
Questions: TypeAlias = Mapping[str, tuple[int, bytes]] | Response | Exception
"""What is answered to what: status and body by a text of the question, or the same to all."""


@attrs.define(eq=False)
class Memory:
    """A link and a transport in one. `answer`: to the command. `questions`: to whatever else is asked.

    `through`: a text in the path of a request by the transport that is the command's own. `sent`: the commands.
    """

    answer: Response | Exception
    questions: Questions
    through: str = ""
    sent: list[Request] = attrs.field(factory=list)
    asked: int = 0

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        """The command, by a link."""
        self.sent.append(request)
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

    async def task(self) -> None:
        """Has one."""

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

    async def change(self, changes: Sequence[RosterChange]) -> RosterVersions | RosterUnchanged:
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


_IN_ROOMS: Final[Mapping[object, Callable[..., object]]] = {
    rooms.take: lambda _stay, _lock, need: LoginGranted() if need == "again" else "in",
    rooms.put: lambda *_: True,
    rooms.forget: lambda *_, **_flags: None,
}


@attrs.frozen
class OneLogin:
    """Everybody is logged in, on one stream, and in each room; a stream that is refused is followed by a login."""

    async def call(self, do: object, *given: Any, **named: Any) -> object:
        """As `do` would, but nothing is noted, and everybody may ask."""
        if do is logins.take:
            return LoggedIn(STREAM) if not named.get("stale") else LoginGranted()
        if do is logins.read_states:
            return [LoggedIn(STREAM) for _ in given[0]]
        results: dict[object, object] = {
            logins.put: "noted",
            logins.start_logoff: LoginGranted(STREAM),
            logins.ask: LoginGranted(),
        }
        return results.get(do, True)

    async def call_room(self, do: object, *given: Any, **named: Any) -> object:
        """In each room, or the lock where it is wanted again."""
        return _IN_ROOMS[do](*given, **named)

    async def aclose(self) -> None:
        """Has nothing to close."""


SERVICES: Final[Mapping[type, object]] = {RostersInRedis: FreeRosters(), LoginsInRedis: OneLogin()}
