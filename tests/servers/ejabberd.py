"""Our side of the run's ejabberd, and accounts that no test used before. For the tests of this folder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

import attrs

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Credentials, Target, Url
from restbroker.job.json_types import Json
from restbroker.servers.ejabberd.options import Options
from tests.servers import sides
from tests.servers.sides import Side
from tests.support.ejabberd import PASSWORD, Ejabberd

_NUMBERS: Final = count(1)
HOST: Final = "example.org"
NOBODY: Final[dict[str, Json]] = {"user": "nobody", "host": HOST}


def new_user() -> str:
    """A name that no test used before."""
    return f"user{next(_NUMBERS)}"


def account() -> dict[str, Json]:
    return {"user": new_user(), "host": HOST, "password": "p☂ä"}


@asynccontextmanager
async def side_of(server: Ejabberd, credentials: Credentials = None, **changes: object) -> AsyncIterator[Side]:
    """Our side of this server, as its admin unless told otherwise."""
    target = Target(
        "t",
        "ejabberd",
        Url("http", "127.0.0.1", server.port, "/api"),
        ("rest",),
        credentials or Basic(server.admin, Secret(PASSWORD)),
        host_header=server.hosts[0],
        options=Options(),
    )
    async with sides.opened(attrs.evolve(target, **changes)) as side:  # type: ignore[arg-type]  # real fields
        yield side
