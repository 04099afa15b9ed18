"""Asks Redis' sentinels which server is the master now. Used by `store.client` whenever it connects.

Always holds: sentinels are asked in their order until one of them leads to a server that calls itself the master, since
one that was cut off still names the old one; and a sentinel sees no password but its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from redis.connection import AbstractConnection
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, TimeoutError  # noqa: A004 - redis-py's

from restbroker.errors import ConfigError, StoreUnavailable
from restbroker.store.failures import briefly, translate
from restbroker.store.settings import StoreSettings, connection_of, connection_options, password_of, untyped

SENTINEL_TIMEOUT_S = 0.5
"""For connecting to a sentinel, and for its answer: those of a lost machine must not hold up the others'."""
_LOOK_TIMEOUT_S = 1.0
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
    """Those who watch the master `name`. All clients of a process share one: what one learns counts for all.

    `named` is the master that was found last; a client whose connection leads elsewhere leaves it.
    """

    name: str
    _places: Sequence[Place]
    _asking: Mapping[str, Any]
    _joining: Mapping[str, Any]
    named: Place | None = None

    def connect(self, connection: AbstractConnection) -> Place:
        """Connects to the master, and returns where it is.

        Raises `StoreUnavailable`, which says what each sentinel answered; that or `StoreRefused` if the server that was
        named refuses the login, or the user may not ask for its role. Takes up to 2 s for each sentinel that does not
        answer or names a server that does not; beyond that the connection's own time-out counts, for a server that
        accepts and stays silent.
        """
        answers = []
        for sentinel in self._places:
            found = self._ask(sentinel)
            if isinstance(found, Place):
                problem = _join(connection, found)
                if problem is None:
                    self.named = found
                    return found
                found = f"names {found}, which {problem}"
            answers.append(f"{sentinel} {found}")
        raise StoreUnavailable(
            f"No sentinel leads to the Redis master {self.name}: {'; '.join(answers)}.",
            "After a failover wait for the new master. Otherwise check RedisSentinels, RedisMaster and the sentinels.",
        )

    def look(self) -> None:
        """Looks whether the first sentinel that answers names another master by now, and whether that is one.

        After a failover that an operator asked for, the old master takes writes for about 10 s more (Redis 7.0.15),
        and then forgets them; this ends it sooner. Raises what `connect` does.
        """
        found = next((place for place in map(self._ask, self._places) if isinstance(place, Place)), None)
        if found is not None and found != self.named:
            connection = connection_of(self._joining)
            try:
                self.connect(connection)
            finally:
                untyped(connection, "disconnect")()

    def _ask(self, sentinel: Place) -> Place | str:
        """Where this sentinel says that the master is, or what it said instead."""
        connection = connection_of({**self._asking, "host": sentinel.host, "port": sentinel.port})
        try:
            answer = _call(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        except RedisError as error:
            return briefly(error, self._asking.get("password"))
        finally:
            untyped(connection, "disconnect")()
        match answer:
            case [bytes() as host, bytes() as port] if port.isdigit():
                return Place(host.decode("ascii", "backslashreplace"), int(port))
            case None:
                return "knows no master of this name"
            case _:
                return "answers what no sentinel would"


def open_sentinels(settings: StoreSettings) -> Sentinels | None:
    """Those of the settings; None if there are none. TLS counts for them too, user and password of Redis do not.

    Raises `ConfigError`. Nothing is connected.
    """
    if not settings.sentinels:
        return None
    joining = connection_options(settings, _LOOK_TIMEOUT_S)
    if settings.master is None or "path" in joining:
        raise ConfigError(
            "RedisSentinels needs the name of their master, and a RedisURL that is no socket.",
            "Add RedisMaster, e.g. mymaster; RedisURL gives user, database and TLS: redis://sentinels/0.",
        )
    asking = {key: value for key, value in joining.items() if key not in _NOT_THEIRS}
    asking |= {"socket_timeout": SENTINEL_TIMEOUT_S, "socket_connect_timeout": SENTINEL_TIMEOUT_S}
    if settings.sentinel_password is not None:
        asking["password"] = settings.sentinel_password.reveal()
    return Sentinels(settings.master, [Place(*place) for place in settings.sentinels], asking, joining)


def _join(connection: AbstractConnection, place: Place) -> str | None:
    """Connects to a server that should be the master; says why it is of no use. Raises what waiting does not cure."""
    setattr(connection, "host", place.host)  # noqa: B010 - sockets have none, says redis-py's base class
    setattr(connection, "port", place.port)  # noqa: B010
    password = password_of(connection)
    try:
        role = _call(connection, "ROLE")
    except RedisError as error:
        untyped(connection, "disconnect")()
        if isinstance(error, AuthenticationError) or not isinstance(error, ConnectionError | TimeoutError):
            raise translate(error, str(place), password=password) from error
        return briefly(error, password)
    match role:
        case [b"master", *_]:
            return None
        case _:
            untyped(connection, "disconnect")()
            return "is a replica"


def _call(connection: AbstractConnection, *command: str) -> object:
    untyped(connection, "connect")()
    untyped(connection, "send_command")(*command)
    return untyped(connection, "read_response")()
