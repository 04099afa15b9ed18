"""Which virtual hosts a command is about, as its arguments say. For tokens that are bound to hosts.

`job.auth` calls `hosts_of`. Always holds: an unclear case is reported as `HostsUnclear`, never guessed for the job.
Case, compatible forms of letters and invisible characters do not count, as in XMPP's own preparation of addresses (RFC
6122: nodeprep, nameprep, resourceprep).
"""

import re
import stringprep
import unicodedata
from collections.abc import Iterator, Mapping
from typing import assert_never

from restbroker.job.command import CommandSpec, HostSource
from restbroker.job.endpoint import kind_of, quote
from restbroker.job.json_types import Json
from restbroker.light import frozen

# Texts with several names in them: `a@x:b@y`, `a,b`, and the two characters \n of ejabberd up to 23.10.
_BETWEEN = re.compile(r"[\s,;:|\\]+")
# Where mod_announce takes messages for everybody, and for everybody on all hosts, whichever host they are sent to.
_ANNOUNCE = "announce"
_EVERYWHERE = "all-hosts"


@frozen
class HostsUnclear:
    """It is unclear which hosts the command is about. `why` completes "…, since"."""

    why: str


def plain(host: str) -> str:
    """Return a host's name, or another part of a JID, in the form in which it is compared.

    It is without what a server maps to nothing (RFC 3454, table B.1: the soft hyphen, the zero width space, …).
    """
    if host.isascii():
        return host.lower()
    visible = "".join(character for character in host if not stringprep.in_table_b1(character))
    return unicodedata.normalize("NFKC", visible).casefold()


def hosts_of(spec: CommandSpec, arguments: Mapping[str, Json], default: str | None) -> dict[str, str] | HostsUnclear:
    """Return every host that the command is about: {plain form: as it is written}.

    Messages need it as it is written, or a secret in it could not be recognised. `default` is what fills a missing
    `host`. Return `HostsUnclear` if it is not certain that these are all.
    """
    if spec.beyond:
        return HostsUnclear("it may reach other hosts than its arguments name")
    found: dict[str, str] = {}
    for name, value in arguments.items():
        place = _host_argument(spec, name)
        if isinstance(place, HostsUnclear):
            return place
        for host in () if place is None else _hosts(place, value):
            if isinstance(host, HostsUnclear):
                return HostsUnclear(f"its argument {name} is {host.why}")
            found[plain(host)] = host
    if default is not None and _takes_default(spec, arguments):
        found[plain(default)] = default
    return found or HostsUnclear("it names no host, and may concern all of them")


def _host_argument(spec: CommandSpec, name: str) -> HostSource | None | HostsUnclear:
    argument = spec.argument(name)
    if argument is not None:
        return argument.host_source
    if name == "host" and spec.fills_host:
        return "host"
    if name == "user" and spec.fills_user:
        return "name"
    return HostsUnclear(f"the catalogue does not know its argument {quote(name)}")


def _takes_default(spec: CommandSpec, arguments: Mapping[str, Json]) -> bool:
    argument = spec.argument("host")
    names = ("host",) if argument is None else (argument.name, *argument.aliases)
    return (spec.fills_host or argument is not None) and not any(name in arguments for name in names)


def _hosts(place: HostSource, value: Json) -> Iterator[str | HostsUnclear]:
    """Yield the hosts as they are written."""
    match place:
        case "host":
            yield (
                value
                if isinstance(value, str) and plain(value)
                else HostsUnclear(f"{kind_of(value)}, not a host's name")
            )
        case "jid":
            yield _domain(value) if isinstance(value, str) and value else HostsUnclear(f"{kind_of(value)}, not a JID")
        case "jids" | "name":
            yield from _hosts_within(value)
        case _:
            assert_never(place)


def _hosts_within(value: Json) -> Iterator[str | HostsUnclear]:
    """Yield the hosts in a value that may hold JIDs at any depth: objects, lists, or several in one text."""
    match value:
        case str():
            yield from (_domain(part) for part in _BETWEEN.split(value) if "@" in plain(part))
        case list():
            for item in value:
                yield from _hosts_within(item)
        case dict():
            for key, item in value.items():
                yield from _hosts("host", item) if key == "host" else _hosts_within([key, item])
        case _:
            pass


def _domain(jid: str) -> str | HostsUnclear:
    bare, _, resource = jid.partition("/")
    before, _, after = bare.rpartition("@")
    local, domain = plain(before), plain(after)
    if not domain or any(sign in part for part in (local, domain) for sign in "@/"):
        return HostsUnclear("no JID")
    if _reaches_everybody(local, resource):
        return HostsUnclear("an address that may mean everyone on all hosts")
    return after


def _reaches_everybody(local: str, resource: str) -> bool:
    """Tell whether this may be mod_announce's address for all hosts.

    All but plain text of a host's own resource may be.
    """
    mapped = plain(resource)
    if local and not mapped.startswith(_ANNOUNCE):
        return False
    return _EVERYWHERE in mapped or not (resource.isascii() and resource.isprintable())
