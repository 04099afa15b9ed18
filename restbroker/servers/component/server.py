"""What differs between the servers whose component restbroker can be: data in `servers.toml`, by `Options.server`."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import attrs


@attrs.frozen
class Server:
    """One server, and what people are told of it.

    `looks_up`: while the component is away, it looks for its name in DNS. `no_answer`, `no_tls`: what to do then.
    `faults`: by the name of the stream's error, what it means and what to do. `lines`: of its own configuration.
    """

    name: str
    looks_up: bool
    no_answer: str
    no_tls: str
    faults: Mapping[str, Sequence[str]]
    lines: Mapping[str, str]


_FILE: Final = Path(__file__).with_name("servers.toml")
SERVERS: Final[Mapping[str, Server]] = MappingProxyType(
    {name: Server(**row) for name, row in tomllib.loads(_FILE.read_text("utf-8")).items()}
)
