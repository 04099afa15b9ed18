"""The lines of the server's own configuration that a source of its component needs. Pure.

`events.registry` calls `suggest`. Always holds: the lines are whole blocks that ejabberd 23.01 or Prosody 0.12 accepts
(tried); the password is not among them.
"""

from restbroker.config.events import EventSource
from restbroker.config.urls import is_loopback
from restbroker.servers.component.options import Options
from restbroker.servers.component.server import SERVERS


def suggest(source: EventSource) -> str:
    """Return the lines, with comments that say what to know about them."""
    options = source.options
    assert isinstance(options, Options)  # noqa: S101  as its options judged it
    host, port = options.address
    lines = SERVERS[options.server].lines
    return lines["plain"].format(
        source=source.name,
        name=options.name,
        most=options.limit_bytes,
        port=port,
        ip=host if is_loopback(host) and host != "localhost" else "THE ADDRESS",
        tls=lines["tls"].format(host=host) if options.is_tls else "",
        copies=lines["copies"].format(name=options.name) if set(options.takes) != {"push"} else "",
        push=lines["push"] if "push" in options.takes else "",
    )
