"""Reads the URL of a RabbitMQ.

Called when the configuration is judged, and again at each connect, since the URL may stand in a file. Always holds: no
message shows a password; a URL that could mean two places is refused.
"""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

import attrs

from restbroker.config.urls import BadUrl
from restbroker.config.values import is_plain

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_EXAMPLE: Final = "amqp://USER:PASSWORD@127.0.0.1:5672/%2F"


@attrs.frozen
class Address:
    """The address of one RabbitMQ and the login for it. `vhost`: its virtual host. `str` of it shows no login."""

    is_tls: bool
    host: str
    port: int
    vhost: str
    user: str
    password: str = attrs.field(repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'amqps' if self.is_tls else 'amqp'}://{host}:{self.port}"


def address(text: str) -> Address:
    """Return the address and login in a URL; raise `BadUrl` if it cannot be used.

    Without a login it is RabbitMQ's own guest; without a path the virtual host `/`.
    """
    if any(c.isspace() or not c.isprintable() for c in text):
        raise BadUrl("An address must not contain blanks or control characters.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadUrl(_wrong("its port or the [brackets] around an IPv6 address cannot be read")) from None
    if parts.scheme not in _PORTS:
        raise BadUrl(f"The URL begins with amqp:// or amqps:// (TLS), as {_EXAMPLE}.")
    if parts.query or parts.fragment:
        raise BadUrl(_wrong('it must not have a "?" or "#" part'))
    host = parts.hostname or ""
    if not _HOST.fullmatch(host) or port == 0:
        raise BadUrl(_wrong("it names no host, or port 0"))
    vhost = parts.path.removeprefix("/")
    if "/" in vhost:
        raise BadUrl(_wrong('a "/" within the name of a virtual host is written as %2F'))
    user, colon, password = parts.netloc.rpartition("@")[0].partition(":")
    if user and not colon:
        raise BadUrl(_wrong("the part before @ is USER:PASSWORD"))
    words = [unquote(word) for word in (vhost or "%2F", user or "guest", password if user else "guest")]
    if not all(is_plain(word) for word in words):
        raise BadUrl("An address must not contain control characters, percent-encoded or not.")
    return Address(parts.scheme == "amqps", host, port or _PORTS[parts.scheme], *words)


def _wrong(what: str) -> str:
    return f"The URL cannot be used: {what}. (A password with @ : / ? or # in it must be percent-encoded.)"
