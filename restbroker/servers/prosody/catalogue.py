"""The commands of a Prosody: those of mod_rest, and of the modules beside it that a target names.

Used by the connector, the check, and the command line (through the registry). Always holds: loads no Trio; the commands
are the same for Prosody 0.12 and 13.

A member that mod_rest does not know, or of another type, is named nowhere here, since it leaves such a one out of the
stanza without a word. The members are those of its 2024 schema (read); more can be named in the target's `Fields`.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from restbroker.config.target import Target
from restbroker.job.command import Catalogue, CommandSpec, Repeat
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.servers.api.ad_hoc import COMMANDS, AdHoc, dangerous_in
from restbroker.servers.api.jid import is_jid
from restbroker.servers.api.table import (
    ANY,
    FLAG,
    JID,
    NAME,
    TEXT,
    TEXTS,
    WHOLE,
    Argument,
    ArgumentForm,
    Arguments,
    rows_of,
    specs_of,
)
from restbroker.servers.api.texts import read_toml
from restbroker.servers.prosody.options import Api, Options, options_of

_VERSIONS: Final = "0.12 to 13"
_OPTIONS: Final[dict[Api, str]] = {"rest": "URL", "admin": "AdminURL", "msg": "MsgURL"}
"""The option that names the URL of each API; every target has that of mod_rest."""
_BRING: Final = "Give the URL of its module in the target's Options: {}."
_BEYOND: Final = ("iq", "stanza")
"""Commands that may reach the server itself, in an administrator's name; `stanza` has its address in its XML alone."""


@frozen(eq=False, repr=False)
class ProsodyEntry:
    """The request of one command; `path` follows the API's own, with `{name}` for an argument.

    `constants` are members of the body. `stanza`: its kind. `asks`: an iq that asks and changes nothing, by `GET
    {asks}/JID` if the JID can stand in a path. `secret`: its answer is a credential. `ad_hoc`: it is an iq that is this
    ad-hoc command. `since`: the version of Prosody whose modules brought it.
    """

    name: str
    api: Api
    takes: Arguments
    repeat: Repeat = "unsafe"
    stanza: str = ""
    asks: str = ""
    method: str = "POST"
    path: str = ""
    constants: Mapping[str, Json] = MappingProxyType({})
    secret: bool = False
    ad_hoc: AdHoc | None = None
    since: str | None = None


def _are_recipients(value: Json) -> bool:
    if isinstance(value, str):
        return value in ("online", "all")
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) and is_jid(item) for item in value)


_RECIPIENTS: Final = ArgumentForm('"online", "all", or a list of JIDs', _are_recipients, "any", host_source="jids")
_OBJECT: Final = ArgumentForm("an object", lambda value: isinstance(value, dict), "any", is_text=False)
# A `password` in it is left out without a word (measured with the module of January 2024).
_MUC: Final = _OBJECT._replace(
    expected="an object that has history alone",
    fits=lambda value: isinstance(value, dict) and value.keys() <= {"history"},
)
_FORMS: Final[Mapping[str, ArgumentForm]] = {
    "": TEXT,
    "any": ANY,
    "flag": FLAG,
    "jid": JID,
    "name": NAME,
    "secret": TEXT,
    "texts": TEXTS,
    "whole": WHOLE,
    "muc": _MUC,
    "object": _OBJECT,
    "recipients": _RECIPIENTS,
}
_FILE: Final = read_toml(__file__, "catalogue.toml")


def _entry(name: str, row: dict[str, Any]) -> ProsodyEntry:
    method, _, path = row.pop("request", "POST").partition(" ")
    return ProsodyEntry(
        name, takes=Arguments(rows_of(row.pop("takes", ""), _FORMS, _FILE["rows"])), method=method, path=path, **row
    )


def _ad_hoc(one: AdHoc) -> ProsodyEntry:
    return ProsodyEntry(one.name, "rest", one.takes, repeat=one.repeat, stanza="iq", ad_hoc=one, since=one.since)


_OWN: Final = tuple(_entry(*pair) for pair in _FILE["commands"].items())
ENTRIES: Final = tuple(sorted((*_OWN, *map(_ad_hoc, COMMANDS)), key=lambda one: one.api != "rest"))
TABLE: Final[Mapping[str, ProsodyEntry]] = MappingProxyType({entry.name: entry for entry in ENTRIES})


def more_fields(entry: ProsodyEntry, names: tuple[str, ...]) -> ProsodyEntry:
    """Return the same entry for a mod_rest that knows these members too."""
    if entry.api != "rest" or entry.asks or entry.ad_hoc is not None or entry.name == "stanza":
        return entry
    takes = entry.takes
    rows = (Argument(name, ANY) for name in names if name not in takes.by_name)
    return attrs.evolve(entry, takes=Arguments((*takes.rows, *rows)))


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
    lacking = {name: _BRING.format(_OPTIONS[row.api]) for name, row in TABLE.items() if row.api not in settings.apis}
    entries = entries_of(settings).values()
    return _catalogue(target.name, entries, settings.iq_timeout_s, {**lacking, **_newer(found)})


def _newer(version: str | None) -> Mapping[str, str]:
    """Return the commands that this version does not have, each with what to do."""
    number = re.match(r"\d+", version or "")
    if number is None:
        return {}
    since = {row.name: int(row.since) for row in TABLE.values() if row.since is not None}
    return {
        name: f"It needs Prosody {first}; this one is {version}."
        for name, first in since.items()
        if int(number[0]) < first
    }


def entries_of(settings: Options) -> Mapping[str, ProsodyEntry]:
    """Return the table row of each command of a target, by the command's name."""
    return {name: more_fields(row, settings.fields) for name, row in TABLE.items() if row.api in settings.apis}


def _catalogue(
    version: str,
    entries: Iterable[ProsodyEntry],
    iq_timeout_s: float | None,
    lacking: Mapping[str, str] = MappingProxyType({}),
) -> Catalogue:
    commands = {entry.name: _spec(entry, iq_timeout_s) for entry in entries if entry.name not in lacking}
    return Catalogue(version, commands, is_whole=True, unavailable=lacking)


def _spec(entry: ProsodyEntry, iq_timeout_s: float | None) -> CommandSpec:
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
