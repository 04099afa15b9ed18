"""The host names under which the pages answer: the defence against DNS rebinding.

A web page may name its own host, let that name point to 127.0.0.1 later, and then read what is served there as if it
were its own. It cannot change what its requests carry: the name, in `Host`. Hence only addresses, `localhost`, the name
that the operator bound to and those of `StatsHosts` are answered.
"""

import ipaddress
from collections.abc import Collection

_PORT_DIGITS = 5


def is_own(host: str, bind: str, names: Collection[str] = ()) -> bool:
    """Tell whether `host` (a Host header, "" without one) names an address, `localhost`, `bind` or one of `names`."""
    name = _without_port(host).lower()
    own = {"localhost", bind.lower(), *(one.lower() for one in names)}
    return name in own - {""} or _is_address(name)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS and not name.endswith(":"):
        return name
    return host


def _is_address(name: str) -> bool:
    bracketed = name.startswith("[") and name.endswith("]")
    try:
        address = ipaddress.ip_address(name[1:-1] if bracketed else name)
    except ValueError:
        return False
    return bracketed == (address.version == 6)
