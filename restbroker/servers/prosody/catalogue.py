"""The commands of a Prosody: those of mod_rest, and of the modules beside it that a target names.

Used by the connector, the check, and the command line (through the registry). Always holds: loads no Trio; the commands
are the same for Prosody 0.12 and 13.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from restbroker.config.target import Target
from restbroker.job.command import Catalogue, CommandSpec
from restbroker.servers.api.ad_hoc import dangers_in
from restbroker.servers.api.table import specs_of
from restbroker.servers.prosody.options import Api, Options, options_of
from restbroker.servers.prosody.table import TABLE, Entry, more_fields

_VERSIONS: Final = "0.12 to 13"
_OPTIONS: Final[dict[Api, str]] = {"rest": "URL", "admin": "AdminURL", "msg": "MsgURL"}
"""The option that names the URL of each API; every target has that of mod_rest."""
_BRING: Final = "Give the URL of its module in the target's Options: {}."
_BEYOND: Final = ("iq", "stanza")
"""Commands that may reach the server itself, in an administrator's name; `stanza` has its address in its XML alone."""


def for_version(_version: str | None) -> Catalogue:
    """Return all commands; a target has those of the modules that it names."""
    return _catalogue(_VERSIONS, TABLE.values(), None)


def for_target(target: Target, _found: str | None, _endpoint: str = "") -> Catalogue:
    """Return the commands that the target's modules have; the catalogue's `version` is the target's name."""
    settings = options_of(target)
    lacking = {name: _BRING.format(_OPTIONS[one.api]) for name, one in TABLE.items() if one.api not in settings.places}
    return _catalogue(target.name, entries_of(settings).values(), settings.iq_timeout_s, lacking)


def entries_of(settings: Options) -> Mapping[str, Entry]:
    """Return what is sent for each command of a target, by the command's name."""
    return {name: more_fields(one, settings.fields) for name, one in TABLE.items() if one.api in settings.places}


def _catalogue(
    version: str,
    entries: Iterable[Entry],
    iq_timeout_s: float | None,
    lacking: Mapping[str, str] = MappingProxyType({}),
) -> Catalogue:
    return Catalogue(version, {one.name: _spec(one, iq_timeout_s) for one in entries}, is_whole=True, lacking=lacking)


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
        dangers_in=dangers_in if entry.stanza == "iq" and not entry.asks and entry.ad_hoc is None else None,
    )
