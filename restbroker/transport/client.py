"""Opens the HTTP client of one target. `app` calls it for worker pools and connectors, `check` for itself.

Always holds: nothing outside this room knows which engine is inside; one test suite runs over both.
"""

import ssl
from typing import assert_never

from restbroker.config.target import Target
from restbroker.config.tls import context_of
from restbroker.transport.lean import LeanClient
from restbroker.transport.message import Transport
from restbroker.transport.upkeep import Upkeep


def open_transport(target: Target, *, tls: ssl.SSLContext | None = None, shared: Upkeep | None = None) -> Transport:
    """Return the client of this target, which connects only when something is sent.

    The server's certificate is checked against `target.tls.ca`, or else the system's authorities; restbroker's own
    certificate, if configured, is shown to a server that requests it. `tls` replaces all of that. `shared` does the
    upkeep of several clients; its `run` must run beside theirs. Raise OSError if a file of a certificate or key cannot
    be read any more.
    """
    if tls is None:
        # Loading the system's authorities takes time, so one context serves all connections, and plain HTTP gets none.
        https = target.url.scheme == "https"
        tls = context_of(target.tls) if https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    match target.engine:
        case "lean":
            return LeanClient(target, tls, shared)
        case "httpx":
            # Loading httpx takes as long as everything else together.
            from restbroker.transport.httpx_client import HttpxClient

            return HttpxClient(target, tls)
        case _:
            assert_never(target.engine)
