"""The options of a source that is a component: the server's listener, our name there, and what is taken.

Used by the other files of this folder. Always holds: beyond loopback TLS is used, and the certificate is verified; at
ejabberd the name belongs to one of the server's hosts unless the operator says otherwise, since it would look for it in
DNS and send all copies there. Trio is not loaded here.
"""

import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar, Final, TypeAlias

import attrs

from restbroker.config import forms
from restbroker.config.events import EventSource
from restbroker.config.key import Items, Key, choice, inline, key, secret, whole, word
from restbroker.config.kind import At, SourceDefaults
from restbroker.config.problems import Problems
from restbroker.config.secret import NO_SECRET, Secret, digest_of, is_blank
from restbroker.config.target import TlsFiles
from restbroker.config.tls import tls_files
from restbroker.config.urls import is_loopback
from restbroker.config.values import too_short
from restbroker.errors import ConfigError
from restbroker.job.event import EventType
from restbroker.job.jid import fold_case
from restbroker.job.names import NODE
from restbroker.kinds import EJABBERD
from restbroker.light import frozen

TAKES: Final[tuple[EventType, ...]] = ("message", "groupchat", "presence", "subscription", "error")
_TOLD: Final[tuple[EventType, ...]] = ("receipt", "displayed")
ROOM_LIFE: Final[tuple[EventType, ...]] = ("created", "joined", "left", "destroyed")
_MORE: Final[tuple[EventType, ...]] = ("push", *_TOLD, *ROOM_LIFE)
"""What is taken only where `Take` names it."""
SUBSCRIBER: Final = "rooms"
"""The name, before the component's, that is to be subscribed to rooms."""
_WINDOW_S: Final = 60.0
"""The seconds within which equal stanzas with an id are copies of one."""
_OWN_S: Final = 60.0
_UNREAD_S: Final = 30.0
_LEASE_S: Final = 15.0
"""Where only one connection may have the name."""
_LEAST_LEASE_S: Final = 1.0
_LEAST_STANZA: Final = 64 * 1024
_MOST_STANZA: Final = 16 * 1024 * 1024

_Types: TypeAlias = Annotated[
    tuple[EventType, ...],
    Items("list of types", 'a list of types such as ["message", "groupchat"]', choice(*TAKES, *_MORE)),
]
_Sent: TypeAlias = Annotated[
    tuple[EventType, ...], Items("list of types", 'a list of types such as ["push"]', choice("push", *_TOLD))
]
_Rooms: TypeAlias = Annotated[
    tuple[str, ...],
    Items(
        "list of rooms",
        'a list of rooms such as ["team@conference.example.org"]',
        word("room", r"[^\s/@]{1,255}@[^\s/@]{1,255}", 'a room such as "team@conference.example.org"'),
    ),
]
_Name: TypeAlias = Annotated[str, word("host", r"|[^\s/@:*]{1,255}", 'a name such as "events.example.org"')]
_Hosts: TypeAlias = Annotated[
    tuple[str, ...],
    Items(
        "list of hosts",
        'a list of virtual hosts such as ["example.org"]',
        word("host", r"[^\s/@:*]{1,255}", 'a virtual host such as "example.org"'),
    ),
]


@frozen(eq=False)
class ComponentServer:
    """One server, and what people are told of it: data in `servers.toml`.

    `looks_up`: why a name elsewhere is a risk; "" if the server looks none up in DNS. `no_answer`, `no_tls`: what to do
    then. `faults`: by the name of the stream's error, what it means and what to do. `lines`: of its own configuration.
    `keys`: what else than usual a key means. `one_reads`: what it costs that one process reads rooms' events, and what
    to do.
    """

    name: str
    looks_up: str
    no_answer: str
    no_tls: str
    faults: Mapping[str, Sequence[str]]
    lines: Mapping[str, str]
    keys: Mapping[str, str]
    one_reads: Sequence[str] = ()


_FILE: Final = Path(__file__).with_name("servers.toml")
SERVERS: Final = {name: ComponentServer(**row) for name, row in tomllib.loads(_FILE.read_text("utf-8")).items()}


@frozen
class Options:
    """The members of `Options` in the configuration.

    `max_unread_s`: how long the stream is left unread once the buffer is full. `lease_s`: None, unless one process is
    to read alone.
    """

    DEFAULTS: ClassVar[SourceDefaults] = SourceDefaults(is_reader=True, target_kind=EJABBERD, check_reads=True)

    address: forms.Bind = key("Address", default=("127.0.0.1", 5347), shown="127.0.0.1:5347")
    """host:port of the listener (ejabberd_service)."""
    name: _Name = key("Name", default="", mandatory="always")
    """The component's name, as in mod_service_log and under `hosts` of the listener: a subdomain of one of Hosts."""
    hosts: _Hosts = key("Hosts", default=(), mandatory="always")
    """The server's virtual hosts whose users' stanzas count."""
    password: Secret = secret("Pass", default=NO_SECRET, mandatory="or PassFile")
    """The listener's password for Name."""
    is_tls: bool = key("TLS", default=False)
    """The listener has `tls: true`; its certificate must be for the Address."""
    ca: forms.File | None = key("CAFile")
    """Certificates (PEM) to verify the server's, instead of the system's."""
    foreign_name: bool = key("ForeignName", default=False)
    """Name is a subdomain of none of Hosts. Without the component ejabberd sends all copies to whoever has that name in
    DNS."""
    takes: _Types = key(
        "Take", default=TAKES, meaning=f"Types of events; by default {', '.join(TAKES)}. Others are {', '.join(_MORE)}."
    )
    push_empty: bool = key("PushEmpty", default=True)
    """Of the events push also those without a text and sender, as of receipts and calls; false: they are answered and
    dropped."""
    rooms: _Rooms = key("Rooms", default=())
    """Rooms with people of other servers: a job subscribes rooms@Name there, and what the room sends counts."""
    _target: str | None = key("Target")
    """The target of kind ejabberd with the same server's API, whose messages DropOwn drops."""
    lease_s: forms.Duration | None = key("Lease")
    """One process reads, for events in order; how long after it dies another takes over. By default all read; with
    created, joined, left or destroyed in Take one does, and it is 15s."""
    max_unread_s: forms.Duration = key("MaxUnread", default=_UNREAD_S, shown=f"{_UNREAD_S:g}s")
    """While Redis accepts no events: how long the stream is left unread once 32 MiB wait in memory, so that the server
    keeps the rest in its memory. After that events are read and lost, and counted."""
    limit_bytes: Annotated[int, whole(_LEAST_STANZA, _MOST_STANZA)] = key("MaxStanza", default=1024 * 1024)
    """Bytes of the longest stanza; longer ones are skipped and counted."""
    software: str = "ejabberd"
    """Which of `SERVERS` it is."""

    @property
    def server(self) -> ComponentServer:
        """Who listens there."""
        return SERVERS[self.software]

    def check(self, source: EventSource, at: At, problems: Problems) -> EventSource:
        """Return the source as it is to be used, with names folded; add what is wrong with it to `problems`."""
        place = at("Options")
        name, hosts = fold_case(self.name), tuple(map(fold_case, self.hosts))
        self._refuse_wrong(name, hosts, place, problems)
        password = problems.try_secret(f"{place}.Pass", self.password) or NO_SECRET
        if source.own_s is not None and self._target is None:
            problems.refuse(at("DropOwn"), "has no effect without a Target in Options, whose messages are dropped.")
        lease_s = self.lease_s
        if lease_s is None and not set(ROOM_LIFE).isdisjoint(self.takes):
            lease_s = _LEASE_S
            problems.note("RoomsLease", *(text.format(source=source.name) for text in self.server.one_reads))
        options = attrs.evolve(
            self,
            name=name,
            hosts=hosts,
            password=password,
            ca=tls_files(TlsFiles(self.ca), place, place, problems, is_used=True).ca,
            takes=self.takes or TAKES,
            lease_s=lease_s,
            rooms=tuple(map(fold_case, self.rooms)),
            target=None,
        )
        own_s = None if self._target is None else source.own_s or _OWN_S
        return attrs.evolve(
            source,
            options=options,
            window_s=source.window_s or _WINDOW_S,
            more_members=(NODE,) if "push" in options.takes else (),
            own_s=own_s,
            target_name=self._target,
            secrets=(password,),
        )

    def _refuse_wrong(self, name: str, hosts: tuple[str, ...], place: str, problems: Problems) -> None:
        looks_up, belongs = self.server.looks_up, self.foreign_name or host_of(name, hosts) is not None
        is_foreign = bool(name and hosts and looks_up) and name not in hosts and not belongs
        foreign = (
            f"{name!r} is a subdomain of none of Hosts: {looks_up}; choose a subdomain of one, or set ForeignName."
        )
        no_tls = "is needed beyond loopback (`tls: true` at the listener): else stanzas go unencrypted, to any server."
        lease_s = self.lease_s or _LEASE_S
        for member, is_wrong, why in (
            ("Name", not name, "is missing or empty; it is the component's name."),
            ("Hosts", not hosts, "is missing or empty; name the server's virtual hosts."),
            ("Name", name in hosts, f"{name!r} is also one of Hosts; the component needs a name of its own."),
            ("Name", is_foreign, foreign),
            ("TLS", not (self.is_tls or is_loopback(self.address[0])), no_tls),
            ("Pass", is_blank(self.password), "is missing or empty; it is the listener's password for Name."),
            ("Lease", lease_s < _LEAST_LEASE_S, too_short(lease_s, _LEAST_LEASE_S)),
            ("CAFile", self.ca is not None and not self.is_tls, "has no effect without TLS."),
        ):
            if is_wrong:
                problems.refuse(f"{place}.{member}", why)


def _of_prosody(described: Key) -> Key | None:
    meaning = SERVERS["prosody"].keys.get(described.name, described.meaning)
    is_known = described.name not in ("ForeignName", "Rooms", "Take", "Target")
    return attrs.evolve(described, meaning=meaning) if is_known else None


@frozen
class ProsodyOptions:
    """The members of `Options` for Prosody, which sends a component notifications alone, over one connection."""

    DEFAULTS: ClassVar[SourceDefaults] = SourceDefaults(is_reader=True, check_reads=True)

    options: Options = inline(Options, Options(), _of_prosody)
    takes: _Sent = key("Take", default=("push",))
    """The types of events that are taken: push, the default; receipt and displayed, of messages sent by Name.
    Prosody copies none."""

    def check(self, source: EventSource, at: At, problems: Problems) -> EventSource:
        """Return the source with `Options`, as it is to be used; add what is wrong with it to `problems`."""
        takes, lease_s = self.takes or ("push",), self.options.lease_s or _LEASE_S
        options = attrs.evolve(self.options, takes=takes, lease_s=lease_s, software="prosody", target=None)
        return options.check(source, at, problems)


def digests_of(source: EventSource) -> Mapping[str, str]:
    """Return the digest of the value of each option, by its key; it reads their files.

    What cannot be read is left out: who connects says so.
    """
    found = {"Target": digest_of(str(source.target_name))}
    for field in attrs.fields(Options):
        value = getattr(source.options, field.name)
        with suppress(OSError, ConfigError):
            match field.metadata, value:
                case {"secret": (Key(name), _)}, Secret():
                    found[name] = digest_of(value.reveal())
                case {"key": Key(name)}, Path():
                    found[name] = digest_of(value.read_bytes().hex())
                case {"key": Key(name)}, tuple():
                    found[name] = digest_of("\n".join(sorted(map(str, value))))
                case {"key": Key(name)}, _:
                    found.setdefault(name, digest_of(str(value)))
    return found


def host_of(name: str, hosts: Sequence[str]) -> str | None:
    """Return the first of `hosts` that this name is a subdomain of."""
    return next((host for host in hosts if name.endswith(f".{host}")), None)
