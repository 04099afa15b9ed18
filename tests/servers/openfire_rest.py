"""Our side of the stand-in's REST API plugin, and the target that it has. For the tests of this folder."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from restbroker.config.target import Target
from tests.servers import sides
from tests.servers.sides import Side
from tests.support.openfire.server import Openfire

ROOM = {"roomName": "lobby", "naturalName": "Lobby", "description": "d"}


def made(folder: Path, server: Openfire, **options: Any) -> Target:
    """A target of that server."""
    entry: dict[str, Any] = {"Kind": "openfire-rest", "URL": server.rest_url, "Domain": "example.org"}
    if "Secret" not in options:
        entry["Auth"] = {"Basic": {"User": "admin", "Pass": "secret"}}
    return sides.target_of(folder, {**entry, "Options": options})


def opened(folder: Path, server: Openfire, **options: Any) -> AbstractAsyncContextManager[Side]:
    """Speaks to that server."""
    return sides.opened(made(folder, server, **options))
