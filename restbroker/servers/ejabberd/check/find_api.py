"""Finds where on a target's host ejabberd's API would answer, for an operator whose RestURL is not right.

Called by `check` after a failure. Always holds: credentials are never sent to an address that the operator did not
write, and nothing is executed: an argument that no command has is refused before anything runs (measured on 23.01 and
24.12, on all their commands).
"""

from collections.abc import Sequence
from typing import Final

import attrs
import trio

from restbroker.config.target import Target, Url
from restbroker.servers.api.checks import open_client
from restbroker.servers.ejabberd.answer import read
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response

PORTS: Final = (("http", 5281), ("http", 5280), ("https", 5443))
"""Where restbroker expects ejabberd, and where ejabberd's own sample configuration has it."""

PATHS: Final = ("/api", "", "/rest")
TIMEOUT_S: Final = 1.5
CONNECT_TIMEOUT_S: Final = 0.7
"""The limit in seconds for TCP, and again for TLS; together they are less than TIMEOUT_S.

httpcore 1.0 leaves the socket open when it is cancelled within a TLS handshake, as happens when the request's own time
is up first (measured).
"""
UNKNOWN_ARGUMENT: Final = b'{"zz_probe":1}'


async def find_api(target: Target, ports: Sequence[tuple[str, int]] = PORTS) -> list[Url]:
    """Return the URLs that answer as ejabberd's API does, the target's own address first; takes 5 seconds at most."""
    own = target.url
    origins = [(own.scheme, own.port)]
    if own.socket is None:
        origins += [("https" if own.scheme == "http" else "http", own.port)]
        origins += [place for place in ports if place not in origins]
    found: list[tuple[int, Url]] = []
    async with trio.open_nursery() as nursery:
        for rank, (scheme, port) in enumerate(origins):
            nursery.start_soon(_try_origin, target, attrs.evolve(own, scheme=scheme, port=port), rank, found)
    return [url for _, url in sorted(found, key=lambda pair: pair[0])]


async def _try_origin(target: Target, origin: Url, rank: int, found: list[tuple[int, Url]]) -> None:
    there = attrs.evolve(target, url=origin, credentials=None, connect_timeout_s=CONNECT_TIMEOUT_S)
    try:
        async with open_client(there) as http:
            for path in dict.fromkeys((*PATHS, target.url.path)):
                request = Request("POST", f"{path}/status", TIMEOUT_S, body=UNKNOWN_ARGUMENT, body_limit_bytes=65_536)
                if is_api(await http.send(request)):
                    found.append((rank, attrs.evolve(origin, path=path)))
    except (NotSent, MaybeSent):
        return  # no one there, or someone who does not speak HTTP


def is_api(response: Response) -> bool:
    """Tell whether this is what ejabberd answers to `status` with an unknown argument, or with a wrong login."""
    answer = read(response)
    complains = response.status == 400 and "unknown argument" in answer.raw_message
    # 10: not logged in, 32: no right to do it.
    return answer.is_own and (complains or (response.status in (401, 403) and answer.code in ("10", "32")))
