"""Targets of kind `openfire-rest`, and what each generation of the plugin was recorded to answer. For the tests of this
folder.
"""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import attrs

from restbroker.config.target import Target
from tests.servers import sides
from tests.servers.sides import Side
from tests.support.player import Exchange, files, recorded

REST: Final = "/plugins/restapi/v1"


def named(version: str, *names: str) -> list[Exchange]:
    """Return the recorded exchanges of this version of the plugin that are about these, in this order."""
    whole = [name for name in files(f"openfire-rest/{version}") if not name.endswith("/cut")]
    known = {exchange.about: exchange for exchange in recorded(*whole)}
    return [known[name] for name in names]


def no_room(version: str, name: str) -> Exchange:
    """Return what this version of the plugin answers while there is no room of this name."""
    (missing,) = named(version, "room missing")
    return attrs.evolve(missing, path=f"{REST}/chatrooms/{name}", answer=missing.answer.replace('"zz"', f'"{name}"'))


def made(folder: Path, url: str, **options: Any) -> Target:
    """A target whose server is there."""
    entry: dict[str, Any] = {"Kind": "openfire-rest", "URL": url + REST, "Domain": "example.org"}
    if "Secret" not in options:
        entry["Auth"] = {"Basic": {"User": "admin", "Pass": "secret"}}
    return sides.target_of(folder, {**entry, "Options": options})


def opened(folder: Path, url: str, **options: Any) -> AbstractAsyncContextManager[Side]:
    """Speaks to the server that is there."""
    return sides.opened(made(folder, url, **options))
