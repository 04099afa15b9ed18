"""The commands of a Prosody: those of mod_rest, and of the modules beside it that a target names.

Used by the connector, the check, and the command line (through the registry). Always holds: loads no Trio; the commands
are the same for Prosody 0.12 and 13.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from restbroker.config.target import Target
from restbroker.job.command import ArgumentSpec, Catalogue, CommandSpec, Place, ValueType
from restbroker.servers.prosody.options import Options, options_of
from restbroker.servers.prosody.ways import WAYS, Api, Form, Way, more_fields

_VERSIONS: Final = "0.12 to 13"
_TYPES: Final[dict[Form, ValueType]] = {
    "text": "string",
    "credential": "string",
    "name": "string",
    "jid": "string",
    "whole": "integer",
    "texts": "list",
    "flag": "any",
    "any": "any",
    "recipients": "any",
}
_PLACES: Final[dict[Form, Place]] = {"jid": "jid", "name": "name", "recipients": "jids"}
_OPTIONS: Final[dict[Api, str]] = {"rest": "URL", "admin": "AdminURL", "msg": "MsgURL"}
"""Where each API is; that of mod_rest every target has."""
_BRING: Final = "Name the address of the module that brings it in the target's Options: {}."
_BEYOND: Final = "iq"
"""It may be a command to the server, in an administrator's name."""


def for_version(_version: str | None) -> Catalogue:
    """All of them; a target has those of the modules that it names."""
    return _catalogue(_VERSIONS, WAYS.values(), None)


def for_target(target: Target, _found: str | None, _endpoint: str = "") -> Catalogue:
    """Those that the target's modules have; its `version` is the target's name."""
    settings = options_of(target)
    lacking = {name: _BRING.format(_OPTIONS[way.api]) for name, way in WAYS.items() if way.api not in settings.places}
    return _catalogue(target.name, ways_of(settings).values(), settings.iq_timeout_s, lacking)


def ways_of(settings: Options) -> Mapping[str, Way]:
    """What is sent for each command of a target."""
    return {name: more_fields(way, settings.fields) for name, way in WAYS.items() if way.api in settings.places}


def _catalogue(
    version: str, ways: Iterable[Way], iq_timeout_s: float | None, lacking: Mapping[str, str] = MappingProxyType({})
) -> Catalogue:
    return Catalogue(version, {way.name: _spec(way, iq_timeout_s) for way in ways}, is_whole=True, lacking=lacking)


def _spec(way: Way, iq_timeout_s: float | None) -> CommandSpec:
    return CommandSpec(
        name=way.name,
        arguments=tuple(_arguments(way)),
        repeat=way.repeat,
        tags=frozenset({way.kind or way.api, way.api}),
        # Of the host that the API is on.
        fills_host=way.api == "admin",
        secret_result=way.secret,
        beyond=way.name == _BEYOND,
        timeout_s=iq_timeout_s if way.kind == "iq" else None,
    )


def _arguments(way: Way) -> Iterator[ArgumentSpec]:
    for name, form in way.forms.items():
        yield ArgumentSpec(
            name,
            _TYPES[form],
            secret=form == "credential",
            element="string" if form == "texts" else None,
            place=_PLACES.get(form),
            optional=name not in way.needs,
        )
