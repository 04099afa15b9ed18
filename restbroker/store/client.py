"""One connection to Redis, and its answers with types. Used by every file of the store; opened by `app` and the CLI.

Always holds: no command is sent twice unless the caller does so, since one that was not answered may have been done.
The one repetition is after NOSCRIPT, where Redis ran nothing. A connection that ended in the middle of a call is an
error, and the call is not repeated over another one. An answer of another shape than expected raises `StoreRefused`, so
that a proxy or a fork that answers differently is named instead of crashing far from the cause.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, TypeAlias, cast

from restbroker.errors import ConnectionEnded, RestbrokerError, StoreRefused
from restbroker.light import define, field
from restbroker.store.failures import ErrorReply, translate
from restbroker.store.keys import RedisKeys
from restbroker.store.redis import Argument, Commands, RedisLink, Replies, Reply, Steps, connect, run_blocking
from restbroker.store.scripts import script
from restbroker.store.settings import Endpoint, StoreSettings, endpoint_of

if TYPE_CHECKING:  # of use to few, or when something is wrong
    from restbroker.store.sentinel import Address, Sentinels

__all__ = ["LONGEST_BLOCK_S", "Argument", "Client", "Reply", "StoreSettings", "check_replies", "open_client"]

_LOADS = 5
"""How often a script is loaded for one call: another client may flush all scripts again and again."""
LONGEST_BLOCK_S = 2.0
"""The longest blocking command in seconds: it must end before the socket times out, or its answer is lost."""

ScriptKeys: TypeAlias = Sequence[str | bytes]
ScriptCall: TypeAlias = tuple[str, ScriptKeys, Sequence[Argument]]
"""A script, its keys and its arguments."""


@define(eq=False, repr=False)
class Client:
    """One connection to Redis, for one thread or task at a time; it connects when first used.

    Any error closes it, and so does an answer that the server is no longer the master; the next call opens a new one.
    `address` names the server; with sentinels, it is the last master that they led to. Methods that return `Steps` are
    for Trio's loop (`connection.on_trio`); the others block.
    """

    keys: RedisKeys
    address: str
    _endpoint: Endpoint
    _sentinels: "Sentinels | None" = None
    _place: "Address | None" = None
    _link: RedisLink | None = None
    tell: Callable[[int, int | None, str], None] = lambda *_: None
    """Is told how far a walk through a set is (how many were read, of how many, words), for who waits at a terminal."""
    timeout_s: float = field(init=False)
    """The seconds that an answer may take."""
    opened: int = field(init=False, default=0)
    """How many times it connected."""

    @timeout_s.default
    def _find_timeout(self) -> float:
        return self._endpoint.timeout_s

    def command(self, *arguments: Argument) -> Reply:
        """Send one command and return its reply. Raise `StoreUnavailable` or `StoreRefused`."""
        return self.commands([arguments])[0]

    def commands(self, commands: Commands) -> list[Reply]:
        """Send commands in one go, not atomically, and return their replies.

        Raise `StoreUnavailable` or `StoreRefused`; an error that Redis answers is raised once all were answered.
        """
        return self._check(run_blocking(self._exchange(commands)))

    def transaction(self, commands: Commands) -> list[Reply]:
        """Send commands as one MULTI and return their replies.

        Raise `StoreUnavailable` or `StoreRefused`; Redis rolls nothing back when one of them fails.
        """
        replies = self._check(run_blocking(self._exchange([("MULTI",), *commands, ("EXEC",)])))
        return self._check(cast("Replies", items(replies[-1], len(commands))))

    def run_when_full(self, commands: Commands) -> list[Reply]:
        """Run small commands, each of one key, in one step and on a Redis that is full, too; return their replies.

        Raise `StoreUnavailable` or `StoreRefused`; Redis rolls nothing back when one of them fails.
        """
        arguments = [word for name, _, *rest in commands for word in (len(rest) + 1, name, *rest)]
        keys = cast("ScriptKeys", [key for _, key, *_ in commands])
        return items(self.run("run_when_full", keys, arguments), len(commands))

    def run(self, name: str, keys: ScriptKeys, arguments: Sequence[Argument]) -> Reply:
        """Run a script and return its reply. Raise `StoreUnavailable` or `StoreRefused`."""
        return self.run_many(name, [(keys, arguments)])[0]

    def run_many(self, name: str, calls: Sequence[tuple[ScriptKeys, Sequence[Argument]]]) -> list[Reply]:
        """Run one script several times in one go, and return a reply for each call (its keys and arguments).

        Raise `StoreUnavailable` or `StoreRefused`; an error that Redis answers is raised once all were answered.
        """
        return self._check(run_blocking(self._run([(name, keys, arguments) for keys, arguments in calls])))

    def connect(self) -> None:
        """Connect, unless it is connected. Raise `StoreUnavailable` or `StoreRefused`."""
        run_blocking(self.steps_to_connect())

    def steps_to_run(self, calls: Sequence[ScriptCall]) -> Steps[list[Reply | RestbrokerError]]:
        """Return the steps that run scripts in one go, to each one's reply, or the error that Redis answered to it.

        Those that Redis does not know yet run last. The steps can be cancelled while they connect, and raise
        `StoreUnavailable` if Redis does not answer: any of the scripts may have been done.
        """
        replies: list[Reply | RestbrokerError] = []
        for reply in (yield from self._run(calls)):
            try:
                replies += self._check([reply])
            except RestbrokerError as error:
                replies.append(error)
        return replies

    def steps_to_connect(self) -> Steps[None]:
        """Return the steps that do what `connect` does; they can be cancelled."""
        yield from self._exchange(())

    def steps_to_load(self, name: str) -> Steps[None]:
        """Return the steps that connect and have Redis know a script, for `send`; they can be cancelled."""
        self._check((yield from self._exchange([("SCRIPT", "LOAD", script(name).source)])))

    @property
    def is_open(self) -> bool:
        """Whether it is connected, to the present master as far as is known; an end may not have been noticed yet."""
        strays = self._sentinels is not None and self._sentinels.master != self._place
        return self._link is not None and not strays

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is still to come."""
        return self._link is not None and self._link.expected > 0

    @property
    def descriptor(self) -> int:
        """The file descriptor to watch for an answer; -1 while not connected."""
        return -1 if self._link is None else self._link.socket.fileno()

    @property
    def has_ended(self) -> bool:
        """Whether it ended while no answer was due, or never began."""
        return self._link is None or self._link.has_ended()

    def send(self, commands: Commands, most_bytes: float = math.inf) -> bool:
        """Send commands without waiting for their replies, which `replies` returns; nothing else may be sent meanwhile.

        Return False, and send nothing, if they are longer than `most_bytes`, or the connection is not open, or has not
        answered all that was sent before. Never blocks. Raise `StoreUnavailable`: then none of them will be done.
        Neither closes the connection: the caller has to if one raises, once it is not watched any more.
        """
        link = self._link
        strays = self._sentinels is not None and self._sentinels.master != self._place
        if link is None or strays or link.expected:
            return False
        try:
            return link.ask(commands, most_bytes)
        except OSError as error:
            raise self._translated(error) from error

    def replies(self) -> list[Reply | RestbrokerError] | None:
        """Return the replies to what `send` sent, or for each the error that Redis answered; None until all have come.

        Never blocks. Raise `StoreUnavailable` or `StoreRefused`; see `send`.
        """
        assert self._link is not None  # noqa: S101 - it is watched
        try:
            replies = self._link.receive()
        except (OSError, ErrorReply) as error:
            raise self._translated(error) from error
        if replies is None:
            return None
        read = cast("list[Reply | RestbrokerError]", replies)
        for place, reply in enumerate(replies):
            if isinstance(reply, ErrorReply):
                read[place] = self._translated(reply)
        return read

    @property
    def received_bytes(self) -> int:
        """How many bytes have come of answers that have not all come yet."""
        return 0 if self._link is None else self._link.received_bytes

    def abandon(self) -> RestbrokerError:
        """Close the connection because an answer is overdue, and return the `StoreUnavailable` to raise."""
        self.close()
        return translate(TimeoutError(), self.address)

    def close(self) -> None:
        """Close the connection; a later call opens a new one."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _run(self, calls: Sequence[ScriptCall]) -> Steps[Replies]:
        replies = yield from self._exchange([evalsha(call) for call in calls])
        for _ in range(_LOADS):
            # Only these again: the answers of the others would say that there is nothing left to do.
            unknown = [
                place
                for place, reply in enumerate(replies)
                if isinstance(reply, ErrorReply) and reply.code == "NOSCRIPT"
            ]
            if not unknown:
                break
            sources = {script(calls[place][0]).source for place in unknown}
            again = [
                *(("SCRIPT", "LOAD", source) for source in sources),
                *(evalsha(calls[place]) for place in unknown),
            ]
            answers = yield from self._exchange(again)
            refused = next((answer for answer in answers[: len(sources)] if isinstance(answer, ErrorReply)), None)
            for place, reply in zip(unknown, answers[len(sources) :], strict=True):
                is_unknown = isinstance(reply, ErrorReply) and reply.code == "NOSCRIPT"
                replies[place] = refused if refused is not None and is_unknown else reply
            if refused is not None:
                break
        return replies

    def _exchange(self, commands: Commands) -> Steps[Replies]:
        link = self._require_alive()
        try:
            if link is None:
                link = yield from self._connect()
            return (yield from link.exchange(commands))
        except BaseException as error:  # noqa: BLE001 - raised again
            self._fail(error)

    def _connect(self) -> Steps[RedisLink]:
        if self._sentinels is None:
            self._link = yield from connect(self._endpoint)
        else:
            self._link, self._place = yield from self._sentinels.connect(self._endpoint)
            self.address = str(self._place)
        self.opened += 1
        return self._link

    def _require_alive(self) -> RedisLink | None:
        """Return the connection, or None; raise `ConnectionEnded`, before anything is sent, if it is of no use.

        That is: it ended while it was idle, an answer was left unread, or its server is no longer the master. An outage
        cuts all connections, and a quiet one learns of it when it is used again, after the others are back: that is no
        second outage. It is raised all the same, since Redis may have lost its last second meanwhile.
        """
        link = self._link
        if link is None:
            return None
        if self.is_waiting:
            self.close()
            message = f"The connection to Redis at {self.address} was closed: it still had an unread reply."
            raise ConnectionEnded(message, "Try again.")
        if not self.is_open:
            self.close()
            raise ConnectionEnded(f"Redis at {self.address} is no longer the master.", "Try again.")
        if link.has_ended():
            self.close()
            raise ConnectionEnded(f"The connection to Redis at {self.address} ended while it was idle.", "Try again.")
        return link

    def _fail(self, error: BaseException) -> NoReturn:
        """Close the connection and raise the error that ended a call, as callers know it."""
        # Also after a KeyboardInterrupt: a reply left unread would be taken for the next command's.
        self.close()
        if isinstance(error, OSError | ErrorReply):
            raise self._translated(error) from error
        raise error

    def _translated(self, error: OSError | ErrorReply) -> RestbrokerError:
        return translate(error, self.address, self._endpoint.password)

    def _check(self, replies: Replies) -> list[Reply]:
        for reply in replies:
            if isinstance(reply, ErrorReply):
                if reply.is_demotion:
                    self.close()
                # Without the cause: Redis' own words may repeat what was sent.
                raise self._translated(reply) from None
        return cast("list[Reply]", list(replies))


def open_client(settings: StoreSettings, timeout_s: float = 3.0, sentinels: "Sentinels | None" = None) -> Client:
    """Return a client that connects when first used. `timeout_s` (seconds) bounds connecting, and each answer.

    `sentinels`: those that all clients of one process share; without them, the client makes its own if the settings
    name any. Raise `ConfigError` if the settings cannot be used.
    """
    endpoint = endpoint_of(settings, timeout_s)
    if sentinels is None and settings.sentinels:
        from restbroker.store.sentinel import open_sentinels

        sentinels = open_sentinels(settings)
    address = endpoint.address if sentinels is None else f"the master {sentinels.name}"
    return Client(RedisKeys(settings.namespace), address, endpoint, sentinels)


def check_replies(replies: Sequence[Reply | RestbrokerError]) -> list[Reply | StoreRefused]:
    """Return replies as they are, for the scripts of one caller; raise a `StoreUnavailable` among them."""
    own: list[Reply | StoreRefused] = []
    for reply in replies:
        if isinstance(reply, RestbrokerError) and not isinstance(reply, StoreRefused):
            raise reply
        own.append(reply)
    return own


def evalsha(call: ScriptCall) -> Sequence[Argument]:
    """Return the command that runs this script, if Redis knows it."""
    name, keys, arguments = call
    return "EVALSHA", script(name).sha, len(keys), *keys, *arguments


_LONGEST_NUMBER = 20
"""The most characters of a number of 64 bits, with its sign."""


def integer(reply: Reply) -> int:
    """Return a number, also one that is stored as text; nil is 0. Raise `StoreRefused` for anything else."""
    match reply:
        case int():
            return reply
        case None:
            return 0
        case bytes() if len(reply) <= _LONGEST_NUMBER and reply.removeprefix(b"-").isdigit():
            return int(reply)
        case _:
            raise unexpected_reply("a number", reply)


def text(reply: Reply) -> str:
    """Return bytes as text, with escapes for bytes that are no UTF-8. Raise `StoreRefused` for anything but bytes."""
    return raw(reply).decode("utf-8", "backslashreplace")


def visible(words: str, longest: int) -> str:
    """Return the beginning of a text that is to be shown, with a blank for each character that cannot be seen."""
    return "".join(char if char.isprintable() else " " for char in words[:longest])


def raw(reply: Reply) -> bytes:
    """Return bytes, unchanged. Raise `StoreRefused` for anything else."""
    if isinstance(reply, bytes):
        return reply
    raise unexpected_reply("bytes", reply)


def items(reply: Reply, least: int = 0) -> list[Reply]:
    """Return a list of at least `least` items. Raise `StoreRefused` for anything else."""
    if isinstance(reply, list) and len(reply) >= least:
        return reply
    raise unexpected_reply(f"a list of {least} or more" if least else "a list", reply)


def number(reply: Reply) -> float:
    """Return a score, as Redis writes it; it may be infinite. Raise `StoreRefused` for anything else."""
    try:
        return float(raw(reply))
    except ValueError:
        raise unexpected_reply("a number", reply) from None


def members(reply: Reply) -> list[tuple[bytes, float]]:
    """Return the members of a sorted set with their scores, from a list that has each score behind its member.

    Raise `StoreRefused` for anything else.
    """
    flat = items(reply)
    if len(flat) % 2:
        raise unexpected_reply("members and scores", reply)
    return [(raw(member), number(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]


def pair(reply: Reply) -> tuple[Reply, Reply]:
    """Return the two items of a list. Raise `StoreRefused` for anything else."""
    match reply:
        case [first, second]:
            return first, second
        case _:
            raise unexpected_reply("a list of 2", reply)


def microseconds(reply: Reply) -> int:
    """Return the server's clock (epoch microseconds) from an answer to TIME. Raise `StoreRefused` for others."""
    seconds, micros = pair(reply)
    return integer(seconds) * 1_000_000 + integer(micros)


def names(reply: Reply) -> frozenset[str]:
    """Return a set of texts. Raise `StoreRefused` for anything else."""
    return frozenset(text(item) for item in items(reply))


def mapping(reply: Reply) -> Mapping[str, bytes]:
    """Return field → value, from the list of both in turn that RESP2 has. Raise `StoreRefused` for anything else."""
    flat = items(reply)
    if len(flat) % 2:
        raise unexpected_reply("fields and values", reply)
    return {text(field): raw(value) for field, value in zip(flat[::2], flat[1::2], strict=True)}


def counts(reply: Reply) -> Mapping[str, int]:
    """Return a mapping of field to number from a RESP2 reply `[field, number, field, number, …]`.

    Raise `StoreRefused` for anything else.
    """
    return {field: integer(value) for field, value in mapping(reply).items()}


def as_fields(values: Mapping[str, Argument]) -> Sequence[Argument]:
    """Return fields and values in turn, for a command's arguments: the reverse of `mapping`."""
    return [part for pair in values.items() for part in pair]


def unexpected_reply(wanted: str, reply: Reply) -> StoreRefused:
    """Return the error to raise for an answer that is not what `wanted` describes."""
    found = f"a list of {len(reply)}" if isinstance(reply, list) else type(reply).__name__
    return StoreRefused(
        f"Redis answered {found} where {wanted} was expected.",
        "Check that RedisURL names a Redis >= 7.0 or Valkey >= 7.2, and that its keys are not used for other things.",
    )


def as_score(at_s: float) -> str:
    """Return a time (epoch seconds) as Sidekiq writes it.

    It has 16 digits: Sidekiq Web names entries by score, which must survive its printing.
    """
    return f"{at_s:.6f}"
