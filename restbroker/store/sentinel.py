"""Asks Redis' sentinels which server is the master now. Used by `store.client` whenever it connects.

Always holds: sentinels are asked in their order until one of them leads to a server that calls itself the master, since
one that was cut off still names the old one; each is asked over a connection of its own, which sees no password but its
own; and nothing is asked twice.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import attrs
from redis.connection import AbstractConnection, ConnectionPool
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, TimeoutError  # noqa: A004 - redis-py's

from restbroker.errors import StoreUnavailable
from restbroker.store.failures import briefly, translate

SENTINEL_TIMEOUT_S = 0.5
"""For connecting to a sentinel, and for its answer: those of a lost machine must not hold up the others'."""
CONNECT_TIMEOUT_S = 1.0
"""For connecting to the master: meanwhile the sentinels may know another one."""
_NOT_THEIRS = ("username", "password", "db", "client_name")


@attrs.frozen
class Place:
    """Where a server is."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.define(eq=False, repr=False)
class Sentinels:
    """Those who watch the master `name`: where each is, and a connection that is open only while it is asked."""

    name: str
    _connections: Sequence[tuple[Place, AbstractConnection]]

    def connect(self, connection: AbstractConnection) -> Place:
        """Connects to the master, and returns where it is.

        Raises `StoreUnavailable`, which says what each sentinel answered; that or `StoreRefused` if the server that was
        named refuses the login, or the user may not ask for its role. Takes up to 2 s for each sentinel that does not
        answer or names a server that does not; beyond that the connection's own time-out counts, for a server that
        accepts and stays silent.
        """
        answers = []
        for where, sentinel in self._connections:
            found = _ask(sentinel, self.name)
            if isinstance(found, Place):
                problem = _join(connection, found)
                if problem is None:
                    return found
                found = f"names {found}, which {problem}"
            answers.append(f"{where} {found}")
        raise StoreUnavailable(
            f"No sentinel leads to the Redis master {self.name}: {'; '.join(answers)}.",
            "After a failover wait for the new master. Otherwise check RedisSentinels, RedisMaster and the sentinels.",
        )


def open_sentinels(
    name: str, places: Sequence[tuple[str, int]], password: str | None, options: Mapping[str, Any]
) -> Sentinels:
    """`options` are those of the connection to Redis; TLS counts for sentinels too, user and password do not."""
    shared = {key: value for key, value in options.items() if key not in _NOT_THEIRS}
    shared |= {"socket_timeout": SENTINEL_TIMEOUT_S, "socket_connect_timeout": SENTINEL_TIMEOUT_S}
    if password is not None:
        shared["password"] = password
    found = []
    for host, port in places:
        pool = ConnectionPool(**{**shared, "host": host, "port": port})
        found.append((Place(host, port), cast("AbstractConnection", _untyped(pool, "make_connection")())))
    return Sentinels(name, found)


def _ask(sentinel: AbstractConnection, name: str) -> Place | str:
    """Where this sentinel says that the master is, or what it said instead."""
    try:
        answer = _call(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
    except RedisError as error:
        return briefly(error)
    finally:
        _untyped(sentinel, "disconnect")()
    match answer:
        case [bytes() as host, bytes() as port] if port.isdigit():
            return Place(host.decode("ascii", "backslashreplace"), int(port))
        case None:
            return "knows no master of this name"
        case _:
            return "answers what no sentinel would"


def _join(connection: AbstractConnection, place: Place) -> str | None:
    """Connects to a server that should be the master; says why it is of no use. Raises what waiting does not cure."""
    setattr(connection, "host", place.host)  # noqa: B010 - sockets have none, says redis-py's base class
    setattr(connection, "port", place.port)  # noqa: B010
    try:
        role = _call(connection, "ROLE")
    except RedisError as error:
        _untyped(connection, "disconnect")()
        if isinstance(error, AuthenticationError) or not isinstance(error, ConnectionError | TimeoutError):
            raise translate(error, str(place)) from error
        return briefly(error)
    match role:
        case [b"master", *_]:
            return None
        case _:
            _untyped(connection, "disconnect")()
            return "is a replica"


def _call(connection: AbstractConnection, *command: str) -> object:
    _untyped(connection, "connect")()
    _untyped(connection, "send_command")(*command)
    return _untyped(connection, "read_response")()


def _untyped(owner: object, name: str) -> Callable[..., Any]:
    """A method that redis-py leaves without types."""
    return cast("Callable[..., Any]", getattr(owner, name))
