"""Where Redis is, and redis-py's connection to it, set up as this project wants it. Used by `client` and `sentinel`.

Always holds: redis-py never repeats anything; and no password is in a text or repr.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import attrs
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, ConnectionPool, parse_url
from redis.retry import Retry

from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from restbroker.store.reading import GivingWay

SENTINELS_CONNECT_S = 1.0
"""With sentinels, for connecting to the master: meanwhile they may know another one."""


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


def connection_options(settings: StoreSettings, timeout_s: float) -> dict[str, Any]:
    """What redis-py makes a connection of. Raises `ConfigError`."""
    try:
        # Not ConnectionPool.from_url: there the URL's own options (?socket_timeout=…) would win over ours.
        return {**_parsed(settings.url), **_options(settings, timeout_s)}
    except (ValueError, TypeError):
        # Without the cause: its text may be a part of the password.
        raise _unreadable() from None


def connection_of(options: Mapping[str, Any]) -> AbstractConnection:
    """A connection that is not open yet. Raises `ConfigError`."""
    try:
        return cast("AbstractConnection", untyped(ConnectionPool(**options), "make_connection")())
    except (ValueError, TypeError):
        raise _unreadable() from None


def address_of(options: Mapping[str, Any]) -> str:
    """What names the server, without its password."""
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def password_of(connection: AbstractConnection) -> str | None:
    """What it logs in with."""
    found: str | None = getattr(connection, "password", None)
    return found


def untyped(owner: object, name: str) -> Callable[..., Any]:
    """A method that redis-py leaves without types."""
    found: Callable[..., Any] = getattr(owner, name)
    return found


def _unreadable() -> ConfigError:
    return ConfigError(
        "RedisURL cannot be read.", "Write redis://HOST:PORT/DB, rediss://… or unix:///PATH?db=DB; escape / as %2F."
    )


def _options(settings: StoreSettings, timeout_s: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(timeout_s, SENTINELS_CONNECT_S) if settings.sentinels else timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "parser_class": GivingWay,
        "decode_responses": False,
        "client_name": settings.client_name,
        # Its own name and version, for which it reads a file at each connect: there may be no descriptor left.
        "driver_info": None,
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
