"""Asks Redis' sentinels which server is the master now. Used by `store.client` whenever it connects.

Always holds: sentinels are asked in their order until one of them leads to a server that calls itself the master, since
one that was cut off still names the old one; and a sentinel sees no password but its own.
"""

import re
from collections.abc import Sequence

import attrs

from restbroker.errors import ConfigError, StoreUnavailable
from restbroker.light import define, frozen
from restbroker.store.failures import ErrorReply, describe_failure, translate
from restbroker.store.redis import RedisLink, Steps, answers, connect
from restbroker.store.settings import Endpoint, StoreSettings, endpoint_of

SENTINEL_TIMEOUT_S = 0.5
"""Seconds for connecting to a sentinel, and for its answer: the wait for a lost machine must not hold up the others."""
_LOOK_TIMEOUT_S = 1.0
_PORTS = 65_536


@frozen
class Address:
    """The host and port of a server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@define(eq=False, repr=False)
class Sentinels:
    """The sentinels of the master `name`. All clients of a process share one: what one learns counts for all.

    `master` is the master that was found last; a client whose connection leads elsewhere closes that connection.
    """

    name: str
    _places: Sequence[Address]
    _asking: Endpoint
    _joining: Endpoint
    master: Address | None = None

    def connect(self, endpoint: Endpoint) -> Steps[tuple[RedisLink, Address]]:
        """Connect to the master as `endpoint` says, but for its address, and return that address too. Can be cancelled.

        Raise `StoreUnavailable`, which says what each sentinel answered; that or `StoreRefused` if the named server
        refuses the login, or the user may not ask for its role. Takes up to 2 s for each sentinel that does not answer
        or names a server that does not; beyond that the connection's own time-out counts, for a server that accepts and
        stays silent.
        """
        reports = []
        for sentinel in self._places:
            found = yield from self._ask(sentinel)
            if isinstance(found, Address):
                joined = yield from _join(endpoint, found)
                if isinstance(joined, RedisLink):
                    self.master = found
                    return joined, found
                found = f"names {found}, which {joined}"
            reports.append(f"{sentinel} {found}")
        raise StoreUnavailable(
            f"No sentinel leads to the Redis master {self.name}: {'; '.join(reports)}.",
            "After a failover wait for the new master. Otherwise check RedisSentinels, RedisMaster and the sentinels.",
        )

    def check_master(self) -> Steps[None]:
        """Ask the first sentinel that answers; if it names another server by now, and that is a master, note it.

        After a failover that an operator started, the old master takes writes for about 10 s more (Redis 7.0.15), and
        then forgets them; this ends it sooner. Raise what `connect` does. Can be cancelled.
        """
        for sentinel in self._places:
            found = yield from self._ask(sentinel)
            if isinstance(found, Address):
                if found != self.master:
                    link, _ = yield from self.connect(self._joining)
                    link.close()
                return

    def _ask(self, sentinel: Address) -> Steps[Address | str]:
        """Return the address that this sentinel names as the master's, or a text that says what it answered instead."""
        try:
            link = yield from connect(attrs.evolve(self._asking, host=sentinel.host, port=sentinel.port))
            (answer,) = yield from answers(link, [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)])
            link.close()
        except (OSError, ErrorReply) as error:
            return describe_failure(error, self._asking.password)
        match answer:
            case [bytes() as host, bytes() as port] if re.fullmatch(rb"[0-9]{1,5}", port) and int(port) < _PORTS:
                return Address(host.decode("ascii", "backslashreplace"), int(port))
            case None:
                return "knows no master of this name"
            case _:
                return "answers unlike a sentinel"


def open_sentinels(settings: StoreSettings) -> Sentinels | None:
    """Return the sentinels of the settings; None if there are none. Nothing is connected.

    TLS counts for them too, user and password of Redis do not. Raise `ConfigError` if the settings cannot be used.
    """
    if not settings.sentinels:
        return None
    joining = endpoint_of(settings, _LOOK_TIMEOUT_S)
    if settings.master is None or joining.path is not None:
        raise ConfigError(
            "RedisSentinels needs the name of their master, and a RedisURL that is not a socket.",
            "Add RedisMaster, e.g. mymaster; RedisURL gives user, database and TLS: redis://sentinels/0.",
        )
    asking = Endpoint(
        password=settings.sentinel_password,
        tls=joining.tls,
        timeout_s=SENTINEL_TIMEOUT_S,
        connect_timeout_s=SENTINEL_TIMEOUT_S,
    )
    return Sentinels(settings.master, [Address(*place) for place in settings.sentinels], asking, joining)


def _join(endpoint: Endpoint, place: Address) -> Steps[RedisLink | str]:
    """Connect to a server that should be the master, or return why it is of no use. Raise what waiting cannot cure."""
    try:
        link = yield from connect(attrs.evolve(endpoint, host=place.host, port=place.port))
        (role,) = yield from answers(link, [("ROLE",)])
    except (OSError, ErrorReply) as error:
        if isinstance(error, ErrorReply) and (error.is_login or not error.is_away):
            raise translate(error, str(place), password=endpoint.password) from error
        return describe_failure(error, endpoint.password)
    match role:
        case [b"master", *_]:
            return link
        case _:
            link.close()
            return "is a replica"
