"""The commands of a Prosody: those of mod_rest, and of the modules beside it that a target names.

Used by the connector, the check, and the command line (through the registry). Always holds: loads no Trio; the commands
are the same for Prosody 0.12 and 13.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from restbroker.config.target import Target
from restbroker.job.command import Catalogue, CommandSpec
from restbroker.servers.api.ad_hoc import dangerous_in
from restbroker.servers.api.table import specs_of
from restbroker.servers.prosody.options import Api, Options, options_of
from restbroker.servers.prosody.table import TABLE, Entry, more_fields

_VERSIONS: Final = "0.12 to 13"
_OPTIONS: Final[dict[Api, str]] = {"rest": "URL", "admin": "AdminURL", "msg": "MsgURL"}
"""The option that names the URL of each API; every target has that of mod_rest."""
_BRING: Final = "Give the URL of its module in the target's Options: {}."
_BEYOND: Final = ("iq", "stanza")
"""Commands that may reach the server itself, in an administrator's name; `stanza` has its address in its XML alone."""


def for_version(version: str | None) -> Catalogue:
    """Return the commands of this version, such as 0.12.3; if it is None or has no number, all.

    A target has those of the modules that it names.
    """
    return _catalogue(version or _VERSIONS, TABLE.values(), None, _newer(version))


def for_target(target: Target, found: str | None, _endpoint: str = "") -> Catalogue:
    """Return the commands that the target's modules have, as far as the server that was `found` is new enough.

    The catalogue's `version` is the target's name.
    """
    settings = options_of(target)
    lacking = {name: _BRING.format(_OPTIONS[one.api]) for name, one in TABLE.items() if one.api not in settings.apis}
    entries = entries_of(settings).values()
    return _catalogue(target.name, entries, settings.iq_timeout_s, {**lacking, **_newer(found)})


def _newer(version: str | None) -> Mapping[str, str]:
    """Return the commands that this version does not have, each with what to do."""
    number = re.match(r"\d+", version or "")
    if number is None:
        return {}
    since = {one.name: int(one.since) for one in TABLE.values() if one.since is not None}
    return {
        name: f"It needs Prosody {first}; this one is {version}."
        for name, first in since.items()
        if int(number[0]) < first
    }


def entries_of(settings: Options) -> Mapping[str, Entry]:
    """Return the table row of each command of a target, by the command's name."""
    return {name: more_fields(one, settings.fields) for name, one in TABLE.items() if one.api in settings.apis}


def _catalogue(
    version: str,
    entries: Iterable[Entry],
    iq_timeout_s: float | None,
    lacking: Mapping[str, str] = MappingProxyType({}),
) -> Catalogue:
    commands = {one.name: _spec(one, iq_timeout_s) for one in entries if one.name not in lacking}
    return Catalogue(version, commands, is_whole=True, unavailable=lacking)


def _spec(entry: Entry, iq_timeout_s: float | None) -> CommandSpec:
    return CommandSpec(
        name=entry.name,
        arguments=specs_of(entry.takes),
        repeat=entry.repeat,
        tags=frozenset({entry.stanza or entry.api, entry.api}),
        # Of the host that the API is on.
        fills_host=entry.api == "admin",
        secret_result=entry.secret,
        beyond=entry.name in _BEYOND,
        timeout_s=iq_timeout_s if entry.stanza == "iq" else None,
        since=entry.since,
        dangerous_in=dangerous_in if entry.stanza == "iq" and not entry.asks and entry.ad_hoc is None else None,
    )
