"""The commands of Openfire's REST API plugin: those of 1.12, each with the version that brought it.

Used by the connector, the check, and the command line (through the registry). Always holds: loads no Trio. People see
the commands of the version that is known, while jobs are sent to any version: the plugin may be newer by now, and
itself refuses what it lacks.
"""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from restbroker.config.target import Target
from restbroker.job.command import DANGEROUS, Catalogue, CommandSpec
from restbroker.servers.api.table import dangerous_commands_of, specs_of
from restbroker.servers.openfire.rest.table import TABLE, Entry

_VERSION: Final = "1.12"
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)*", re.ASCII)
_NEWER: Final = "It came with plugin {}. Update the plugin; if you just did, push with --any."
_ONE_BY_ONE: Final = "No version of the plugin can read this list: push {} for each of them."
# 415 to XML and 400 to JSON (measured on 1.10.2): the class that it is read into is abstract, from 1.9.0 to 1.12.0.
_BROKEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "add_room_affiliations": _ONE_BY_ONE.format("add_room_affiliation"),
        "replace_room_affiliations": _ONE_BY_ONE.format("delete_room_affiliation and add_room_affiliation"),
    }
)


@lru_cache(maxsize=8)
def for_version(version: str | None) -> Catalogue:
    """Return the commands of this version, such as "1.9", or of the newer of two, such as "1.3 to 1.6".

    If the version is None or unknown, return all of them.
    """
    newest = _numbers(version or "")
    commands = {name: _spec(entry) for name, entry in TABLE.items() if _numbers(entry.since or "0") <= newest}
    newer = {name: _NEWER.format(TABLE[name].since) for name in TABLE.keys() - commands.keys()}
    dangerous = dangerous_commands_of({name: entry.danger for name, entry in TABLE.items()})
    return Catalogue(version or _VERSION, commands, dangerous, is_whole=True, unavailable={**_BROKEN, **newer})


def for_target(_target: Target, found: str | None, _endpoint: str = "") -> Catalogue:
    """Return the commands of the version that a probe found, as `for_version` does; the target does not count."""
    return for_version(found)


def _numbers(version: str) -> tuple[float, ...]:
    """Return the last version number in a text, for comparison; what it leaves open counts as the newest."""
    found = _NUMBER.findall(version)
    return (*(float(part) for part in found[-1].split(".")), math.inf) if found else (math.inf,)


def requests() -> Mapping[str, str]:
    """Return the method and path of each command, such as {"get_user": "GET /users/{username}"}."""
    return {name: f"{entry.method} {entry.path}" for name, entry in TABLE.items()}


def _spec(entry: Entry) -> CommandSpec:
    dangerous = [DANGEROUS + entry.danger] if entry.danger else []
    return CommandSpec(
        name=entry.name,
        arguments=specs_of(entry.takes),
        repeat=entry.repeat,
        tags=frozenset({entry.path.split("/")[1], *dangerous}),
        result=entry.answer,
        fills_host=True,
        secret_result=entry.secret_answer,
        timeout_s=entry.timeout_s,
        since=entry.since,
    )
