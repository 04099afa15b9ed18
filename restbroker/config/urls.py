"""Read the addresses of Redis and of targets the same way for every library behind them.

Called by `config.redis` and `config.check_targets`. Always holds: what could mean two places or two credentials to two
clients is refused, and the error names the explicit forms; no message shows a password, and a password leaves a URL as
a `Secret`.
"""

import re
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Url
from restbroker.config.values import is_plain, without_logins
from restbroker.light import frozen

_REDIS_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix"}
_CERT_REQS = ("none", "optional", "required")
_REDIS_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?")


class BadUrl(ValueError):
    """An address that cannot be used; the text says why and what to write instead, without its credentials."""


@frozen
class RedisAddress:
    """The address of Redis: `url` keeps a user's name but never has a password; `database` is None if none is named.

    `names_host`: it was written with a host.
    """

    url: str
    password: Secret | None
    database: int | None
    names_host: bool = True


@frozen
class RestAddress:
    """The address of a target, the credentials that stood in its URL, and whether the scheme was missing."""

    url: Url
    credentials: Basic | None = None
    assumed_http: bool = False


def redis_address(text: str, database: int | None = None, *, password_beside: bool = False) -> RedisAddress:
    """Read `redis://`, `rediss://`, `unix://` and, as the same, `valkey://`, `valkeys://` and a bare socket path.

    `database` (the key `RedisDatabase`) counts if the URL names none. With `password_beside` the password is configured
    elsewhere, so that a single word before `@` can only be the user's name. Raise `BadUrl` if the address cannot be
    used or is ambiguous. The clients disagree on these (measured: redis-client 7, redis-rb 4, redis-py 8):
    `redis://secret@host` is a password to one and a user name to the others; a database that is no number is an error
    to one and silently 0 to the others.
    """
    whole = f"unix://{quote(text)}" if text.startswith("/") else text
    parts = split(whole)
    scheme = _REDIS_SCHEMES.get(parts.scheme)
    if scheme is None or "://" not in whole:
        raise BadUrl(
            "RedisURL begins with redis://, rediss:// (TLS) or unix:// (a socket), e.g. redis://127.0.0.1:6379/0;"
            " Sentinels are named in RedisSentinels, and Cluster is not supported."
        )
    if parts.fragment:
        raise BadUrl('RedisURL must not have a "#" part; write a "#" in a password as %23.')
    host, port = host_of(parts, "RedisURL"), port_of(parts, "RedisURL")
    user, password = _redis_user(parts, password_beside=password_beside)
    query = _redis_query(parts, scheme)
    named = _database(parts, scheme, query)
    if named is not None and database is not None and named != database:
        raise BadUrl(f"RedisURL names database {named} and RedisDatabase {database}; keep one of them.")
    chosen = database if named is None else named
    if scheme == "unix":
        if not parts.path.startswith("/") or len(parts.path) < 2 or host:
            raise BadUrl("A socket is written with its whole path: unix:///run/redis/redis.sock.")
        place = parts.path
        query["db"] = str(chosen or 0)
    else:
        place = f"{host or 'localhost'}:{port or 6379}/{chosen or 0}"
    who = f"{quote(user, safe='')}@" if user else ""
    tail = f"?{urlencode(query)}" if query else ""
    return RedisAddress(f"{scheme}://{who}{place}{tail}", password, chosen, bool(host))


def redis_host(text: str) -> str:
    """Return the URL for a `RedisHost`: `host`, `host:port`, `[::1]:6379` or a bare IPv6 address.

    Raise `BadUrl` for anything else.
    """
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    parts = split(f"redis://{text}")
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc or not parts.hostname:
        raise BadUrl("RedisHost is a host name with or without a port, e.g. localhost:6379; use RedisURL for more.")
    return f"redis://{host_of(parts, 'RedisHost')}:{port_of(parts, 'RedisHost') or 6379}"


def rest_address(text: str) -> RestAddress:
    """Read `http(s)://host[:port][/path]`, or `http+unix://%2Frun%2Fserver.sock[/path]` for a socket.

    A missing scheme means http, since the flat default used to be `localhost:5281`. Raise `BadUrl` if the address
    cannot be used.
    """
    if text.startswith("unix:"):
        raise BadUrl("For a unix socket write http+unix:// with its path percent-encoded: http+unix://%2Frun%2Fx.sock.")
    assumed = "://" not in text
    parts = split(f"http://{text}" if assumed else text)
    if parts.scheme not in ("http", "https", "http+unix"):
        raise BadUrl("The URL begins with http://, https:// or http+unix://, e.g. http://127.0.0.1:5281/api.")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise BadUrl('The URL must not have a "?" or "#" part: the command\'s name is appended to its path.')
    path = parts.path.rstrip("/")
    # No "@" in the path: after an unescaped "/" in a password, the path is the rest of the login.
    if not re.fullmatch(r"(/[A-Za-z0-9._~!$&'()*+,;=:%-]+)*", path) or any(s in (".", "..") for s in path.split("/")):
        raise BadUrl("The URL's path must be plain segments, percent-encoded where needed, without . or .. or //.")
    credentials = _rest_user(parts)
    if parts.scheme == "http+unix":
        socket = decode(parts.netloc.rpartition("@")[2])
        if not socket.startswith("/"):
            raise BadUrl("The socket in the URL is a whole path, percent-encoded: http+unix://%2Frun%2Fx.sock/api.")
        return RestAddress(Url("http", "localhost", 80, path=path, socket=socket), credentials)
    host = parts.hostname
    if not host:
        raise BadUrl("The URL names no host; write e.g. http://127.0.0.1:5281/api.")
    host_of(parts, "The URL")
    port = port_of(parts, "The URL") or (443 if parts.scheme == "https" else 80)
    return RestAddress(Url(parts.scheme, host, port, path), credentials, assumed)


def without_login(text: str) -> str:
    """Return the text of an address without its login; a single word before the `@` counts as a login too."""
    return without_logins(re.sub(r"^([a-z+]+://)?.*@", r"\1…@", text, flags=re.DOTALL | re.IGNORECASE))


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name or address; no name is looked up."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split(text: str) -> SplitResult:
    """Return the parts of an address; raise `BadUrl` if it cannot be read."""
    # urlsplit drops tabs and line breaks silently, so that "ho\nst" would become another host.
    if any(c.isspace() or not c.isprintable() for c in text):
        raise BadUrl("An address must not contain blanks or control characters.")
    try:
        return urlsplit(text)
    except ValueError as error:  # unbalanced brackets; the error's text may show the credentials
        raise BadUrl("The address cannot be read: check the [brackets] around an IPv6 address.") from error


def port_of(parts: SplitResult, key: str) -> int | None:
    """Return the port of the address at `key`, None if it has none; raise `BadUrl` if it is no port."""
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        unread = "(A password with @ : / ? or # in it must be percent-encoded.)"
        raise BadUrl(f"{key}'s port is not a number from 1 to 65535. {unread}")
    return port


def host_of(parts: SplitResult, key: str) -> str:
    """Return the host of the address at `key`, "" if it has none; raise `BadUrl` if it is no host."""
    host = parts.hostname or ""
    if host and not _HOST.fullmatch(host):
        raise BadUrl(f"{key}'s host is not a host name or address; write a name outside ASCII in its xn-- form.")
    return f"[{host}]" if ":" in host else host


def _redis_user(parts: SplitResult, *, password_beside: bool) -> tuple[str, Secret | None]:
    who = parts.netloc.rpartition("@")[0]
    if not who:
        return "", None
    user, colon, password = who.partition(":")
    if password_beside and not password:
        return decode(user), None
    if not colon:
        raise BadUrl(
            "Clients disagree whether a single word before @ in RedisURL is a password or a user name; write "
            "redis://:PASSWORD@host for a password, or redis://USER:PASSWORD@host; a user's name may stand "
            "alone where RedisPass or RedisPassFile gives the password."
        )
    return decode(user), Secret(decode(password))


def _rest_user(parts: SplitResult) -> Basic | None:
    who = parts.netloc.rpartition("@")[0]
    if not who:
        return None
    user, colon, password = who.partition(":")
    if not user or not colon:
        raise BadUrl("The URL's part before @ is USER:PASSWORD; it is better to keep the login out of the URL.")
    return Basic(decode(user), Secret(decode(password)))


def decode(encoded: str) -> str:
    """Return a percent-encoded part of an address as text; raise `BadUrl` if it has a control character."""
    decoded = unquote(encoded)
    if not is_plain(decoded):
        raise BadUrl("An address must not contain control characters, percent-encoded or not.")
    return decoded


def _redis_query(parts: SplitResult, scheme: str) -> dict[str, str]:
    allowed = ("db", *_REDIS_TLS) if scheme == "rediss" else ("db",)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if any(name not in allowed for name, _ in pairs):
        # The name is not shown: after an unescaped "?" in a password it is a piece of the password.
        raise BadUrl(f'RedisURL takes only {", ".join(allowed)} after "?"; write a "?" in a password as %3F.')
    query = dict(pairs)
    if (written := query.get("ssl_cert_reqs")) is not None:
        # Celery and Heroku write CERT_NONE, others None or the number of Python's constant.
        word = written.lower().rpartition(".")[2].removeprefix("cert_")
        value = dict(zip("012", _CERT_REQS, strict=True)).get(word, word)
        if value not in _CERT_REQS:
            raise BadUrl(f"RedisURL's ssl_cert_reqs is one of {', '.join(_CERT_REQS)} (or CERT_NONE, …).")
        query["ssl_cert_reqs"] = value
    return query


def _database(parts: SplitResult, scheme: str, query: dict[str, str]) -> int | None:
    in_path = "" if scheme == "unix" else parts.path.strip("/")
    in_query = query.pop("db", "")
    if in_path and in_query:
        raise BadUrl("RedisURL names the database twice (path and ?db=); keep one of them.")
    named = in_path or in_query
    if not named:
        return None
    if not re.fullmatch(r"\d{1,9}", named, re.ASCII):
        raise BadUrl("RedisURL's database is not a number; write e.g. redis://127.0.0.1:6379/0.")
    return int(named)
