"""Free loopback ports for servers that must be told their port. Used by the servers of this folder."""

import socket


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago; whoever loses the race for it must ask again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether somebody listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
