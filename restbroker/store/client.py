"""One connection to Redis, with types. Used by every file of the store; opened by assembly and the command line.

Always holds: nothing is ever sent twice behind the caller's back. By default redis-py 8.1 sends a command again up to
10 times when its reply is lost (measured): a fetch then takes jobs that nobody knows of. The one repetition here is
after NOSCRIPT, where Redis ran nothing.
"""

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, ConnectionPool, parse_url
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from restbroker.config.secret import Secret
from restbroker.errors import ConfigError, ConnectionEnded
from restbroker.store.failures import is_demoted, translate
from restbroker.store.keys import Keys
from restbroker.store.replies import Argument, Reply, integer
from restbroker.store.scripts import ScriptName, script
from restbroker.store.sentinel import CONNECT_TIMEOUT_S, Sentinels, open_sentinels

LONGEST_BLOCK_S = 2.0
"""A blocking command must end before the socket gives up, or its answer is lost."""

T = TypeVar("T")


@attrs.frozen
class StoreSettings:
    """Where Redis is. `url` is redis://, rediss:// or unix://; `password` replaces the one in the URL.

    With `sentinels` (host and port of each) they say where the server `master` is; the URL's host does not count then.
    """

    url: str
    namespace: str = ""
    username: str | None = None
    password: Secret | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    verify: bool = True
    client_name: str = "restbroker"
    sentinels: tuple[tuple[str, int], ...] = ()
    master: str | None = None
    sentinel_password: Secret | None = None


@attrs.define(eq=False, repr=False)
class Client:
    """One connection, for one thread at a time; only `abort` may come from another. Connects when first used.

    After an error the connection is closed, and the next call opens a new one; so it does when the server says that it
    is not the master any more. `address` is that of the last master where sentinels know it.
    """

    keys: Keys
    address: str
    _connection: AbstractConnection
    _sentinels: Sentinels | None = None
    _id: int | None = None

    @property
    def id(self) -> int | None:
        """What Redis calls this connection; None before `identify`, and after an error."""
        return self._id

    def identify(self) -> int:
        """Asks Redis for this connection's id, once per connection."""
        if self._id is None:
            self._id = integer(self.command("CLIENT", "ID"))
        return self._id

    def command(self, *arguments: Argument) -> Reply:
        """Sends one command. Raises `StoreUnavailable` or `StoreRefused`."""
        return self._checked(self._exchange([arguments]))[0]

    def commands(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Sends commands in one go; not atomic. Raises as `command`, after all of them were answered."""
        return self._checked(self._exchange(commands))

    def transaction(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Sends commands as one MULTI. Raises as `command`; Redis rolls nothing back when one of them fails."""
        replies = self._checked(self._exchange([("MULTI",), *commands, ("EXEC",)]))
        done = replies[-1]
        return self._checked(cast("list[Reply | ResponseError]", done))

    def run(self, name: ScriptName, keys: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        """Runs a script. Raises as `command`."""
        return self.run_many(name, [(keys, arguments)])[0]

    def run_many(self, name: ScriptName, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]) -> list[Reply]:
        """Runs a script several times in one go. Raises as `command`."""
        code = script(name)
        commands = [("EVALSHA", code.sha, len(keys), *keys, *arguments) for keys, arguments in calls]
        replies = self._exchange(commands)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            # All calls again: every script may be sent twice, and a flush may come between any two.
            replies = self._exchange([("SCRIPT", "LOAD", code.source), *commands])[1:]
        return self._checked(replies)

    def close(self) -> None:
        """Closes the connection; a later call opens a new one."""
        self._id = None
        _untyped(self._connection, "disconnect")()

    def abort(self) -> None:
        """Ends a call that another thread is in: it raises `StoreUnavailable` at once."""
        # redis-py's disconnect would also close the descriptor under the other thread's read.
        sock = cast("socket.socket | None", getattr(self._connection, "_sock", None))
        if sock is not None:
            with contextlib.suppress(OSError):
                # Not sock.shutdown: a TLS socket would drop its session object under the other thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _exchange(self, commands: Sequence[Sequence[Argument]]) -> list[Reply | ResponseError]:
        self._require_alive()
        clean = False
        try:
            self._find_master()
            send, pack = _untyped(self._connection, "send_packed_command"), _untyped(self._connection, "pack_commands")
            send(pack(commands))
            replies = [self._read() for _ in commands]
            clean = True
        except RedisError as error:
            raise translate(error, self.address) from error
        finally:
            # Also after a KeyboardInterrupt: a reply left unread would be taken for the next command's.
            if not clean:
                self.close()
        return replies

    def _find_master(self) -> None:
        if self._sentinels is not None and getattr(self._connection, "_sock", None) is None:
            self.address = str(self._sentinels.connect(self._connection))

    def _require_alive(self) -> None:
        """Raises `ConnectionEnded`, before anything is sent, if the connection ended while it was idle.

        An outage cuts all connections, and a quiet one learns of it when it is used again, after the others are back:
        that is no second outage. It is raised all the same, since Redis may have lost its last second meanwhile.
        """
        if getattr(self._connection, "_sock", None) is None:
            return
        try:
            # What can be read before anything was asked is no answer of ours.
            ended = bool(_untyped(self._connection, "can_read")(timeout=0))
        except RedisError:
            ended = True
        if ended:
            self.close()
            raise ConnectionEnded(f"The connection to Redis at {self.address} ended while it was idle.", "Try again.")

    def _read(self) -> Reply | ResponseError:
        try:
            return cast("Reply", _untyped(self._connection, "read_response")())
        except ResponseError as error:
            return error

    def _checked(self, replies: Sequence[Reply | ResponseError]) -> list[Reply]:
        for reply in replies:
            if isinstance(reply, ResponseError):
                if is_demoted(reply):
                    self.close()
                # Without the cause: Redis' own words may repeat what was sent.
                raise translate(reply, self.address) from None
        return cast("list[Reply]", list(replies))


def open_client(settings: StoreSettings, timeout_s: float = 3.0) -> Client:
    """A client that connects when first used. `timeout_s` bounds connecting, and each answer.

    Raises `ConfigError` when the URL cannot be read.
    """
    try:
        # Not ConnectionPool.from_url: there the URL's own options (?socket_timeout=…) would win over ours.
        options = {**_parsed(settings.url), **_options(settings, timeout_s)}
        connection = cast("AbstractConnection", _untyped(ConnectionPool(**options), "make_connection")())
        sentinels = _sentinels(settings, options)
    except (ValueError, TypeError):
        # Without the cause: its text may be a part of the password.
        raise ConfigError(
            "RedisURL cannot be read.", "Write redis://HOST:PORT/DB, rediss://… or unix:///PATH?db=DB; escape / as %2F."
        ) from None
    address = _address(options) if sentinels is None else f"the master {sentinels.name}"
    return Client(Keys(settings.namespace), address, connection, sentinels)


def _sentinels(settings: StoreSettings, options: Mapping[str, Any]) -> Sentinels | None:
    if not settings.sentinels:
        return None
    if settings.master is None or "path" in options:
        raise ConfigError(
            "RedisSentinels needs the name of their master, and a RedisURL that is no socket.",
            "Add RedisMaster, e.g. mymaster; RedisURL gives user, database and TLS: redis://sentinels/0.",
        )
    password = settings.sentinel_password
    return open_sentinels(settings.master, settings.sentinels, None if password is None else password.reveal(), options)


def _options(settings: StoreSettings, timeout_s: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(timeout_s, CONNECT_TIMEOUT_S) if settings.sentinels else timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "decode_responses": False,
        "client_name": settings.client_name,
    }
    if settings.username is not None:
        options["username"] = settings.username
    if settings.password is not None:
        options["password"] = settings.password.reveal()
    if settings.url.startswith("rediss://"):
        files = {"ssl_ca_certs": settings.ca_file, "ssl_certfile": settings.cert_file, "ssl_keyfile": settings.key_file}
        options |= {name: str(path) for name, path in files.items() if path is not None}
        options |= {} if settings.verify else {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    return options


def _parsed(url: str) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", parse_url(url))  # type: ignore[no-untyped-call]  # redis-py leaves it untyped


def _address(options: Mapping[str, Any]) -> str:
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def _untyped(owner: object, name: str) -> Callable[..., Any]:
    """A method that redis-py leaves without types."""
    return cast("Callable[..., Any]", getattr(owner, name))
