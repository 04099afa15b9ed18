"""What Prosody's configuration needs for any of its modules. Used by `suggest` of both of its kinds. Pure."""

from collections.abc import Iterator

from restbroker.config.target import Target
from restbroker.config.urls import is_loopback


def listener_lines(target: Target) -> Iterator[str]:
    """Yield lines that have Prosody's web server listen where this target's URL leads; on loopback only, if that is."""
    url = target.url
    used = "https" if url.scheme == "https" else "http"
    yield "-- This applies to all that Prosody's web server offers, not only to this target."
    if is_loopback(url.host):
        yield f'{used}_interfaces = {{ "127.0.0.1" }}'
    else:
        yield "-- Others must not reach this port: give it an address that only restbroker reaches."
        yield f'{used}_interfaces = {{ "THE ADDRESS THAT RESTBROKER REACHES" }}'
    yield f"{used}_ports = {{ {url.port} }}"
