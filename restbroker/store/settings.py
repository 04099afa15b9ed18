"""Where Redis is, and the settings of a connection to it. Used by `client`, `redis` and `sentinel`.

Always holds: a setting that cannot be read is refused before anything connects; no password is in a text or repr.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from restbroker.light import frozen

SENTINELS_CONNECT_S = 1.0
"""Seconds for connecting to the master that sentinels named: meanwhile they may know another one."""
_SCHEMES: Final = ("redis", "rediss", "unix")
_TLS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
_NO: Final = frozenset({"", "0", "F", "FALSE", "N", "NO"})

Verification: TypeAlias = Literal["required", "optional", "none"]
_VERIFICATIONS: Final[Mapping[str, Verification]] = {"required": "required", "optional": "optional", "none": "none"}


@frozen
class StoreSettings:
    """Where Redis is. `url` is redis://, rediss:// or unix://; `password` replaces the one in the URL.

    `sentinels` (host and port of each) say where the server `master` is; the URL's host does not count then.
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


@frozen
class Tls:
    """How a server proves its identity, and we ours to it; files in PEM."""

    authorities: str | None = None
    certificate: str | None = None
    key: str | None = None
    verification: Verification = "required"
    checks_name: bool = True


@frozen
class Endpoint:
    """All that a connection is made of. `path`: that of a socket, which counts instead of `host` and `port`."""

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    database: int = 0
    username: str | None = None
    password: Secret | None = None
    client_name: str | None = None
    tls: Tls | None = None
    timeout_s: float = 3.0
    connect_timeout_s: float = 3.0

    @property
    def address(self) -> str:
        """The name of the server for messages: `host:port`, or the path of its socket."""
        return f"{self.host}:{self.port}" if self.path is None else self.path

    @property
    def last_password(self) -> str:
        """The password as it was read last; "" if there is none."""
        return "" if self.password is None else self.password.last_text

    @property
    def greeting(self) -> Sequence[Sequence[str | int]]:
        """The commands that a connection begins with: login, client name, database."""
        password = self.last_password
        login = (self.username, password) if self.username else (password,) if password else ()
        commands: list[Sequence[str | int]] = [("AUTH", *login)] if login else []
        if self.client_name:
            commands.append(("CLIENT", "SETNAME", self.client_name))
        if self.database:
            commands.append(("SELECT", self.database))
        return commands


def endpoint_of(settings: StoreSettings, timeout_s: float) -> Endpoint:
    """Return the endpoint of these settings; sentinels replace its host and port. Raise `ConfigError`."""
    try:
        return _endpoint(settings, timeout_s)
    except (ValueError, LookupError):
        # Without the cause: its text may be a part of the password.
        raise ConfigError(
            "RedisURL cannot be read.", "Write redis://HOST:PORT/DB, rediss://… or unix:///PATH?db=DB; escape / as %2F."
        ) from None


def _endpoint(settings: StoreSettings, timeout_s: float) -> Endpoint:
    parts = urlsplit(settings.url)
    if parts.scheme not in _SCHEMES or not settings.url.startswith(f"{parts.scheme}://"):
        raise ValueError
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if query.keys() - {"db"} - (_TLS if parts.scheme == "rediss" else frozenset()):
        raise ValueError
    is_socket = parts.scheme == "unix"
    return Endpoint(
        host=unquote(parts.hostname or "localhost"),
        port=parts.port or 6379,
        path=unquote(parts.path) if is_socket else None,
        database=_database(parts, query.get("db")),
        username=unquote(parts.username or "") if settings.username is None else settings.username,
        password=Secret(unquote(parts.password or "")) if settings.password is None else settings.password,
        client_name=settings.client_name,
        tls=_tls(settings, query) if parts.scheme == "rediss" else None,
        timeout_s=timeout_s,
        connect_timeout_s=min(timeout_s, SENTINELS_CONNECT_S) if settings.sentinels else timeout_s,
    )


def _database(parts: SplitResult, in_query: str | None) -> int:
    if in_query is not None:
        return int(in_query)
    in_path = "" if parts.scheme == "unix" else unquote(parts.path).replace("/", "")
    # As other clients of Redis read it: a path that is no number names none.
    return int(in_path) if in_path.isdecimal() else 0


def _tls(settings: StoreSettings, query: dict[str, str]) -> Tls:
    verification = _VERIFICATIONS[query.get("ssl_cert_reqs", "required") if settings.verify else "none"]
    checks_name = query.get("ssl_check_hostname", "yes").upper() not in _NO
    return Tls(
        authorities=_file(settings.ca_file, query.get("ssl_ca_certs")),
        certificate=_file(settings.cert_file, query.get("ssl_certfile")),
        key=_file(settings.key_file, query.get("ssl_keyfile")),
        verification=verification,
        checks_name=checks_name and verification != "none",
    )


def _file(path: Path | None, in_url: str | None) -> str | None:
    return in_url if path is None else str(path)
