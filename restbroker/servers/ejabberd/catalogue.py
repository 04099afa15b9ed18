"""ejabberd's commands by server version, read from `catalogue.json.gz` when first needed.

Used by the connector, the check, and the command line (through the registry). Always holds: loads no Trio.

The file was made from `get_commands_spec/0` of every module of ejabberd 23.01 (Debian 12), 24.12 (Debian 13) and 26.07
(compiled): static facts, so commands of modules that a server has not loaded are in it too. Its records: `name`, `api`
(version of the interface), `servers` (which of the three have it), `args` (name and type), `result`, `tags`, and where
they apply `fields` (name and type of each part of a tuple, in ejabberd's order: its JSON sorts them by name from
Erlang/OTP 27 on; also the one of a list of atoms), `renames` (old and new name of an argument), `since`, and `user`: a
command whose policy is "user" and that, called by an admin, takes `user` and `host` besides. What ejabberd does not
report of its commands is in `attributes.toml`; "measured" means tried on 23.01 and 24.12.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from typing import Final, Literal, NotRequired, TypedDict

import attrs

from restbroker.config.target import Target
from restbroker.job.command import ArgumentSpec, Catalogue, CommandSpec, HostSource, ValueType
from restbroker.light import frozen
from restbroker.servers.api.attributes import Attributes, is_secret_argument
from restbroker.servers.api.texts import read_catalogue
from restbroker.servers.ejabberd.options import Options

API_SINCE: Final = (24, 2)
"""From this version on ejabberd takes the version of its interface from a path's end."""
NO_API_VERSION: Final = "Remove ApiVersion from the configuration, or use ejabberd 24.02 or newer."
"""What to do if `too_old` finds something."""
_HOST_RIGHTS_SINCE: Final = (26, 7)
"""From this version on an account may only name a `host` of which it is an administrator."""

ATTRIBUTES: Final = Attributes.beside(__file__)

ALREADY_BY_RESULT: Final = frozenset({"ban_account", "unban_account"})
"""Commands that answer 200 with 1 if the account is so already (measured on 24.12; 23.01 says 0 again)."""

FAIL_BY_RESULT: Final = frozenset({"restart_module"})
"""Commands with an integer as result for which 1 means that it failed."""

UNTOLD: Final = frozenset({"resource_num"})
"""Commands that refuse their arguments with words that the API does not tell: it says "internal_error" (23.01)."""

BY_JID: Final = frozenset({"muc_register_nick", "muc_unregister_nick"})
"""Commands whose version 3, with `user` and `host`, is refused as lacking the host (measured on 24.12 and 26.07).

Version 2 has a `jid` in their place.
"""

MESSAGE: Final = "send_message"
STANZA: Final = "send_stanza"
"""`MESSAGE` is the command that sends a message; `STANZA` sends it if the job gives it an `id`."""

_HOSTS: Final = frozenset({"host", "localhost", "grouphost", "service", "server", "localserver", "vhost"})
_JID: Final = frozenset({"jid", "from", "to", "with"})
# A shared roster group may show groups of another host, as group@host.
_SHOWN_GROUPS: Final = frozenset({"display", "add", "del", "value"})
# Up to interface version 2 some of these are whole JIDs.
_NAMES: Final = frozenset({"user", "localuser", "username", "room", "name", "group"})

_STRANGERS: Final = ("add_to_spam_filter_cache", "drop_from_spam_filter_cache")
"""Commands whose JIDs are those of senders elsewhere, while what is done stays on `host`."""

_VERSION: Final = re.compile(r"(\d{1,9})\.(\d{1,9})")

_TYPES: Final[dict[str, tuple[ValueType, Literal["string", "object"] | None]]] = {
    "string": ("string", None),
    "integer": ("integer", None),
    "any": ("any", None),
    "strings": ("list", "string"),
    "objects": ("list", "object"),
}


class _CommandRecord(TypedDict):
    name: str
    api: int
    servers: list[str]
    args: list[tuple[str, str]]
    result: str
    fields: NotRequired[list[tuple[str, str]]]
    tags: list[str]
    renames: NotRequired[list[tuple[str, str]]]
    since: NotRequired[str]
    user: NotRequired[bool]


class _CommandFile(TypedDict):
    servers: list[str]
    commands: list[_CommandRecord]


@frozen(eq=False)
class _Commands(Mapping[str, CommandSpec]):
    """Commands by name, made when they are looked up: a shell command needs one of several hundred."""

    places: Mapping[str, tuple[int, ...]]
    """By name the places of its forms in the file; that of the server's version is the first."""

    def __getitem__(self, name: str) -> CommandSpec:
        return _spec(self.places[name])

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


@lru_cache(maxsize=8)
def for_version(version: str | None, api: int | None = None) -> Catalogue:
    """Return the commands of the newest known server that is not newer than `version` ("24.12").

    For None or an unknown version, these are the newest server's; for one that is older than all, the oldest's. If the
    version is not exactly a known one, the commands of the other versions are in it too, and their forms of each. `api`
    is the interface version that the URL or the endpoint pins; None means the newest, as the server sees it.
    """
    file = _read()
    known = _known_version(file["servers"], version)
    is_exact = _number(known) == _number(version)
    forms: dict[str, list[int]] = {}

    def order(one: tuple[int, _CommandRecord]) -> tuple[bool, int, str]:
        return known in one[1]["servers"], one[1]["api"], one[1]["servers"][-1]

    for place, record in sorted(enumerate(file["commands"]), key=order, reverse=True):
        if api is None or record["api"] <= api:
            forms.setdefault(record["name"], []).append(place)
    places = {name: (found[0],) if is_exact else tuple(found) for name, found in sorted(forms.items())}
    lacking = {
        name: f"ejabberd {record['servers'][0]} has it; this one is {version}."
        for name, (place, *_) in places.items()
        if is_exact and known not in (record := file["commands"][place])["servers"]
    }
    commands = {name: found for name, found in places.items() if name not in lacking}
    return Catalogue(known, _Commands(commands), ATTRIBUTES.dangers, unavailable=lacking)


def for_target(target: Target, found: str | None, endpoint: str = "") -> Catalogue:
    """Return the commands of the configured version, or with `auto` of the version that was `found` (None: the newest).

    A version of the interface in the endpoint counts before `ApiVersion`, and that before one in the target's URL. If
    the server is too old for one in the endpoint, the command is unavailable.
    """
    options = target.options_as(Options)
    version = found if options.server_version == "auto" else options.server_version
    known, number = for_version(version, pinned_api(target, endpoint)), _number(version)
    if api_of(endpoint) is None or number is None or number >= API_SINCE:
        return known
    name = known.name_in(endpoint)
    lacking = {name: f"ejabberd {version} knows no versions of its API: write {name} alone."}
    return attrs.evolve(known, unavailable={**known.unavailable, **lacking})


def pinned_api(target: Target, endpoint: str) -> int | None:
    """Return the interface version that the endpoint, the target or its URL names; None if the server chooses."""
    apis = (api_of(endpoint), target.options_as(Options).api_version, api_of(target.url.path))
    return next((api for api in apis if api is not None), None)


def too_old(target: Target, version: str | None) -> str | None:
    """Return why commands cannot be posted to COMMAND/vN, as `ApiVersion` has it; None if they can, as far as known.

    Older servers answer 400 "Missing command name." to every such path (measured on 23.01), which says nothing of a
    job.
    """
    api, found = target.options_as(Options).api_version, _number(version)
    if api is None or found is None or found >= API_SINCE:
        return None
    return f"ejabberd {version} knows no versions of its API, and ApiVersion is {api}."


def checks_hosts(version: str | None) -> bool:
    """Tell whether this version refuses an account commands for hosts of which it is no administrator.

    Such a version refuses, as it would for want of rights, each command whose argument `host` names a virtual host of
    which the account is no administrator (access rule `configure`), or none that the server serves.
    """
    found = _number(version)
    return found is not None and found >= _HOST_RIGHTS_SINCE


def api_of(path: str) -> int | None:
    """Return the interface version in which a URL's path or an endpoint ends (`/api/v1`, `register/v2`), else None."""
    found = re.search(r"/v(\d{1,4})$", path)
    return int(found[1]) if found else None


def _known_version(servers: list[str], version: str | None) -> str:
    asked = _number(version)
    older = [server for server in servers if asked is None or (_number(server) or asked) <= asked]
    # A server older than all we know is most like the oldest.
    return older[-1] if older else servers[0]


def _number(version: str | None) -> tuple[int, int] | None:
    found = _VERSION.search(version or "")
    return (int(found[1]), int(found[2])) if found else None


@lru_cache(maxsize=1)
def _read() -> _CommandFile:
    file: _CommandFile = read_catalogue(__file__)
    return file


@cache  # most commands are the same in several versions
def _spec(places: tuple[int, ...]) -> CommandSpec:
    record = _read()["commands"][places[0]]
    name = record["name"]
    by_user = record.get("user", False)
    return CommandSpec(
        name=name,
        arguments=tuple(_arguments(record)),
        repeat=ATTRIBUTES.repeat_of(name),
        tags=frozenset(record["tags"]) | ATTRIBUTES.tags_of(name),
        result=record["result"],
        api_version=record["api"],
        fills_host=by_user,
        fills_user=by_user,
        secret_result=ATTRIBUTES.has_secret_result(name),
        beyond=ATTRIBUTES.reaches_beyond(name),
        timeout_s=ATTRIBUTES.timeout_of(name),
        since=record.get("since"),
        fields=tuple((part, kind) for part, kind in record.get("fields", ())),
        others=tuple(_spec((place,)) for place in places[1:]),
    )


def _arguments(record: _CommandRecord) -> Iterable[ArgumentSpec]:
    # An old name that another argument has now is no alias: `host` of muc_register_nick is not its service.
    own = {name for name, _ in record["args"]}
    renames = [(old, new) for old, new in record.get("renames", []) if old not in own]
    for name, kind in record["args"]:
        value_type, element = _TYPES[kind]
        aliases = tuple(old for old, new in renames if new == name)
        place = host_source_of(record["name"], name)
        # A list that is not given is empty to each version, and nothing else is (measured on 23.01, 24.12 and 26.07).
        is_list = value_type == "list"
        secret = is_secret_argument(name)
        yield ArgumentSpec(
            name,
            value_type,
            secret,
            aliases=aliases,
            element=element,
            host_source=place,
            optional=is_list,
            nonempty=ATTRIBUTES.must_be_filled(record["name"], name),
        )
    if record["name"] == MESSAGE:
        yield from _OURS


def host_source_of(command: str, argument: str) -> HostSource | None:
    """Return how this argument says which virtual host the command is about; None if it does not."""
    if argument in _HOSTS:
        return "host"
    if argument in _JID:
        return None if command in _STRANGERS else "jid"
    if argument == "users" or (argument in _SHOWN_GROUPS and command.startswith("srg_")):
        return "jids"
    return "name" if argument in _NAMES else None


_OURS: Final = tuple(ArgumentSpec(name, "string", optional=True) for name in ("id", "receipts"))
"""Arguments of ours: a message that has one is sent as a stanza (`request.as_stanza`)."""
