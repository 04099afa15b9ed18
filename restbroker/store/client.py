"""One connection to Redis, with types. Used by every file of the store; opened by `app` and the command line.

Always holds: nothing is ever sent twice behind the caller's back. By default redis-py 8.1 sends a command again up to
10 times when its reply is lost (measured): a fetch then takes jobs that nobody knows of. The one repetition here is
after NOSCRIPT, where Redis ran nothing.
"""

import socket
from collections.abc import Sequence
from typing import TypeAlias, TypeVar, cast

import attrs
import hiredis
from redis.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as NotInTime

from restbroker.errors import ConnectionEnded, RestbrokerError, StoreRefused
from restbroker.store.failures import is_demoted, is_wrong_type, translate
from restbroker.store.keys import Keys
from restbroker.store.misuse import met
from restbroker.store.replies import Argument, Reply
from restbroker.store.scripts import ScriptName, script
from restbroker.store.sentinel import Place, Sentinels, open_sentinels
from restbroker.store.settings import StoreSettings, address_of, connection_of, connection_options, password_of, untyped

__all__ = ["LONGEST_BLOCK_S", "Client", "StoreSettings", "needs_scripts", "open_client"]

_LOADS = 5
"""So often a script is loaded for one call; somebody may flush all scripts again and again."""
LONGEST_BLOCK_S = 2.0
"""A blocking command must end before the socket gives up, or its answer is lost."""

_SHARE_OF_BUFFER = 4
"""So large a part of its buffer a socket takes without waiting, when all that was sent before has been answered: what
the kernel keeps of each piece beside its bytes counts too."""
_SENT_AT_ONCE_LETTERS = 65536
"""No more than that in any case: who sends on Trio's loop holds up the others."""

T = TypeVar("T")
Commands: TypeAlias = Sequence[Sequence[Argument]]
ScriptKeys: TypeAlias = Sequence[str | bytes]
ScriptCall: TypeAlias = tuple[ScriptName, ScriptKeys, Sequence[Argument]]
"""A script, its keys and its arguments."""


@attrs.define(eq=False, repr=False)
class Client:
    """One connection, for one thread at a time. Connects when first used.

    After an error the connection is closed, and the next call opens a new one; so it does when the server says that it
    is not the master any more. `address` is that of the last master where sentinels know it.
    """

    keys: Keys
    address: str
    _connection: AbstractConnection
    _sentinels: Sentinels | None = None
    _place: Place | None = None
    _asked: Sequence[Sequence[Argument]] = ()
    _arrived: list[Reply | ResponseError] = attrs.field(factory=list)

    def command(self, *arguments: Argument) -> Reply:
        """Sends one command. Raises `StoreUnavailable` or `StoreRefused`."""
        return self.commands([arguments])[0]

    def commands(self, commands: Commands) -> list[Reply]:
        """Sends commands in one go; not atomic. Raises as `command`, after all of them were answered."""
        return self._checked(self._exchange(commands), commands)

    def transaction(self, commands: Commands) -> list[Reply]:
        """Sends commands as one MULTI. Raises as `command`; Redis rolls nothing back when one of them fails."""
        replies = self._checked(self._exchange([("MULTI",), *commands, ("EXEC",)]))
        return self._checked(cast("list[Reply | ResponseError]", replies[-1]), commands)

    def run(self, name: ScriptName, keys: ScriptKeys, arguments: Sequence[Argument]) -> Reply:
        """Runs a script. Raises as `command`."""
        return self.run_many(name, [(keys, arguments)])[0]

    def run_many(self, name: ScriptName, calls: Sequence[tuple[ScriptKeys, Sequence[Argument]]]) -> list[Reply]:
        """Runs a script several times in one go. Raises as `command`."""
        scripts = [(name, keys, arguments) for keys, arguments in calls]
        return self._checked(self._run(scripts), [_evalsha(call) for call in scripts])

    def run_each(self, calls: Sequence[ScriptCall]) -> list[Reply | StoreRefused]:
        """Runs scripts in one go, those that Redis does not know yet last; a refusal stands in the place of its answer.

        Raises `StoreUnavailable`: any of them may have been done.
        """
        return self._each(self._run(calls))

    @property
    def is_open(self) -> bool:
        """Whether it is connected, and to the master as far as is known; it may have ended unseen."""
        strays = self._sentinels is not None and self._sentinels.named != self._place
        return self._socket is not None and not strays

    @property
    def is_asked(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._asked)

    @property
    def descriptor(self) -> int:
        """What to watch for an answer; -1 while not connected."""
        return -1 if self._socket is None else self._socket.fileno()

    @property
    def patience_s(self) -> float | None:
        """How long an answer, or more of it, may take."""
        return None if self._socket is None else self._socket.gettimeout()

    def connect(self) -> None:
        """Connects, unless it is connected. Raises `StoreUnavailable` or `StoreRefused`."""
        self._exchange(())

    def ask(self, *arguments: Argument) -> None:
        """Sends one command without waiting for its reply, which `answer` has. Nothing else may be sent meanwhile.

        Never blocks when connected: what is sent before has been answered. Raises as `command`.
        """
        self._ask([arguments], _packed([arguments]))

    def answer(self) -> list[Reply]:
        """The reply to what was asked; nothing as long as it has not come. Never blocks. Raises as `command`."""
        asked = self._asked
        return self._checked(self.arrived(), asked, may_ask=False)

    def ask_scripts(self, calls: Sequence[ScriptCall]) -> bool:
        """As `ask`, for scripts, whose answers `arrived` has. False: sending might block; nothing was sent."""
        commands = [_evalsha(call) for call in calls]
        message = _packed(commands)
        if len(message) > self._sent_at_once:
            return False
        self._ask(commands, message)
        return True

    def arrived(self) -> list[Reply | ResponseError]:
        """The answers to what was asked, for `each`; nothing until all have come. Never blocks. Raises as `command`."""
        with _ClosedUnlessClean(self):
            try:
                while len(self._arrived) < len(self._asked):
                    self._arrived.append(self._read(timeout=0, disconnect_on_error=False))
            except NotInTime:
                return []
        replies, self._arrived, self._asked = self._arrived, [], ()
        return replies

    def each(self, calls: Sequence[ScriptCall], replies: Sequence[Reply | ResponseError]) -> list[Reply | StoreRefused]:
        """What `run_each` gives, where this came of the calls; runs what needs its script first: that may block."""
        return self._each(self._with_scripts(calls, list(replies)))

    def given_up(self) -> RestbrokerError:
        """Closes the connection, since an answer is overdue; what to raise."""
        self.close()
        return translate(NotInTime(), self.address)

    def close(self) -> None:
        """Closes the connection; a later call opens a new one."""
        self._asked, self._arrived = (), []
        untyped(self._connection, "disconnect")()

    @property
    def _socket(self) -> socket.socket | None:
        found: socket.socket | None = getattr(self._connection, "_sock", None)
        return found

    @property
    def _sent_at_once(self) -> int:
        if self._socket is None:
            return 0
        buffer_bytes = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        return min(_SENT_AT_ONCE_LETTERS, buffer_bytes // _SHARE_OF_BUFFER)

    def _ask(self, commands: Sequence[Sequence[Argument]], message: bytes) -> None:
        self._require_alive()
        # Before anything is sent: whatever interrupts it, an answer that may come is known of.
        self._asked = commands
        with _ClosedUnlessClean(self):
            self._send(message)

    def _run(self, calls: Sequence[ScriptCall]) -> list[Reply | ResponseError]:
        return self._with_scripts(calls, self._exchange([_evalsha(call) for call in calls]))

    def _with_scripts(
        self, calls: Sequence[ScriptCall], replies: list[Reply | ResponseError]
    ) -> list[Reply | ResponseError]:
        for _ in range(_LOADS):
            # Only these again: the answers of the others would say that there is nothing left to do.
            unknown = _unknown(replies)
            if not unknown:
                break
            sources = {script(calls[place][0]).source for place in unknown}
            again = [
                *(("SCRIPT", "LOAD", source) for source in sources),
                *(_evalsha(calls[place]) for place in unknown),
            ]
            for place, reply in zip(unknown, self._exchange(again)[len(sources) :], strict=True):
                replies[place] = reply
        return replies

    def _exchange(self, commands: Commands) -> list[Reply | ResponseError]:
        message = _packed(commands)
        self._require_alive()
        with _ClosedUnlessClean(self):
            self._find_master()
            self._send(message)
            return [self._read() for _ in commands]

    def _find_master(self) -> None:
        if self._sentinels is not None and self._socket is None:
            self._place = self._sentinels.connect(self._connection)
            self.address = str(self._place)

    def _require_alive(self) -> None:
        """Raises `ConnectionEnded`, before anything is sent, if the connection ended while idle, or leads elsewhere.

        An outage cuts all connections, and a quiet one learns of it when it is used again, after the others are back:
        that is no second outage. It is raised all the same, since Redis may have lost its last second meanwhile.
        """
        if self._socket is None:
            return
        if self._asked:
            self.close()
            raise ConnectionEnded(f"An answer of Redis at {self.address} was left unread.", "Try again.")
        if not self.is_open:
            self.close()
            raise ConnectionEnded(f"Redis at {self.address} is not the master any more.", "Try again.")
        try:
            # What can be read before anything was asked is no answer of ours.
            ended = bool(untyped(self._connection, "can_read")(timeout=0))
        except RedisError:
            ended = True
        if ended:
            self.close()
            raise ConnectionEnded(f"The connection to Redis at {self.address} ended while it was idle.", "Try again.")

    def _send(self, message: bytes) -> None:
        untyped(self._connection, "send_packed_command")([message])

    def _read(self, **how: object) -> Reply | ResponseError:
        try:
            reply: Reply = untyped(self._connection, "read_response")(**how)
        except ResponseError as error:
            return error
        return reply

    def _each(self, replies: Sequence[Reply | ResponseError]) -> list[Reply | StoreRefused]:
        answers: list[Reply | StoreRefused] = []
        for reply in replies:
            try:
                answers += self._checked([reply])
            except StoreRefused as error:
                answers.append(error)
        return answers

    def _checked(
        self, replies: Sequence[Reply | ResponseError], commands: Commands = (), *, may_ask: bool = True
    ) -> list[Reply]:
        for place, reply in enumerate(replies):
            if isinstance(reply, ResponseError):
                if is_demoted(reply):
                    self.close()
                is_told = is_wrong_type(reply) and len(commands) > place
                misused = met(commands[place], self.keys, self.commands if may_ask else None) if is_told else ()
                # Without the cause: Redis' own words may repeat what was sent.
                raise translate(reply, self.address, misused, password_of(self._connection)) from None
        return cast("list[Reply]", list(replies))


@attrs.define(eq=False)
class _ClosedUnlessClean:
    """Closes the connection unless what is done under it ends well; raises redis-py's errors as ours."""

    client: Client

    def __enter__(self) -> None:
        """Does nothing yet."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Also after a KeyboardInterrupt: a reply left unread would be taken for the next command's."""
        if error is not None:
            self.client.close()
        if isinstance(error, RedisError):
            password = password_of(self.client._connection)  # noqa: SLF001 - a part of the client
            raise translate(error, self.client.address, password=password) from error


def open_client(settings: StoreSettings, timeout_s: float = 3.0, sentinels: Sentinels | None = None) -> Client:
    """A client that connects when first used. `timeout_s` bounds connecting, and each answer.

    `sentinels`: what the clients of one process share; without it a client asks them for itself. Raises `ConfigError`
    when the settings cannot be used.
    """
    options = connection_options(settings, timeout_s)
    if sentinels is None:
        sentinels = open_sentinels(settings)
    address = address_of(options) if sentinels is None else f"the master {sentinels.name}"
    return Client(Keys(settings.namespace), address, connection_of(options), sentinels)


def needs_scripts(replies: Sequence[Reply | ResponseError]) -> bool:
    """Whether Redis did not know the script of one of these calls, and so did not run it."""
    return bool(_unknown(replies))


def _unknown(replies: Sequence[Reply | ResponseError]) -> list[int]:
    return [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]


def _packed(commands: Commands) -> bytes:
    """As they are sent. redis-py's way to the same bytes looks at each argument on the way, twice."""
    # hiredis 3.5 types its argument as a tuple of exactly one word.
    return b"".join(hiredis.pack_command(tuple(command)) for command in commands)  # type: ignore[arg-type]


def _evalsha(call: ScriptCall) -> Sequence[Argument]:
    name, keys, arguments = call
    return "EVALSHA", script(name).sha, len(keys), *keys, *arguments
