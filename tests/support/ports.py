"""Free loopback ports for servers that must be told their port. Used by the servers of this folder.

Always holds: where the system leaves room for it, they lie below those that it gives out by itself, to connections as
to servers without a port of their own. So nobody else gets one between choosing and binding, nor while its server is
down for a while; and who asks for a closed one is refused, where a connection that was given the same port would have
reached itself. No test process gets a port that it or another one of this run was given before: a server of another
test that is down for a while, or not up yet, keeps its own.
"""

import itertools
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_OURS: Final = range(10_000, 32_000)
_GIVEN: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    while True:
        port = next(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def _shuffled() -> Iterator[int]:
    """Every port that this process may use, in an order of its own, and then again."""
    first_given = int(_GIVEN.read_text(encoding="ascii").split()[0])
    below = [port for port in _OURS if port < first_given] or list(_OURS)
    # pytest-xdist's names of the processes of one run: gw0, gw1, …
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    mine = below[number :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    # Not Python's common generator: a seeded one would give the ports of an earlier run.
    return itertools.cycle(random.SystemRandom().sample(mine, len(mine)))


_PORTS: Final = _shuffled()


def accepts(port: int) -> bool:
    """Whether a process listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
