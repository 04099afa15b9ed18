"""Each command of each kind of server: its specification, what is sent for it byte for byte, and what is refused.

Each command of a target is asked of its connector with arguments that are made here: all that it takes, those that it
needs, and each argument left out, under its other names, and of every value below in turn. What fits all its arguments
is found by trying: a refusal names the argument that it is about. Always holds: what is found depends on no clock, no
network and no order.

    lock_user safe, username: string @name            what the catalogue has of it; its arguments in their order
      + POST /plugins/restapi/v1/lockouts/ann [2]     with all arguments; [2] are its headers, which are listed above
      - refused …                                     with those alone that it needs, where that is something else
      ~ username 0f3a9c21                             a digest of what becomes of all values of an argument
"""

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

import attrs
import trio
import trio.testing

from restbroker.config.target import Target
from restbroker.job.command import ArgumentSpec, Call, Command, CommandSpec, HostSource
from restbroker.job.json_types import Json
from restbroker.job.outcome import Rejected
from restbroker.job.xml_text import refuse_unfit
from restbroker.servers import registry
from restbroker.servers.contract import Connector, Ports
from restbroker.transport.message import NotSent, Request, Response
from tests.golden.cases import KINDS, Kind
from tests.golden.fates import delivered, target_of
from tests.golden.memory import SERVICES, Memory, Way

VALUES: Final[tuple[Json, ...]] = (
    *("a text", "ann", "ann@example.org", "balcony@conference.example.org", "5", "2026-01-31T12:00:00Z"),
    *(5, 2**70, 1.5, True, None, "", " ", ".", "..", "a/b", "a b@c", "ä\u202e", "\x00", "\ud800", "x" * 70),
    *("owners", "public", "remove", "both", "online", "chat", "dnd", "accept", "<vCard xmlns='vcard-temp'/>"),
    *("example.org", "ann@example.org/phone", "query{checkAuth{authStatus}}", "composing", "1=2"),
    *(["ann", "bob"], ["ann@example.org"], [], [5], [{"key": "k", "value": "v"}], {"k": "v"}, {}, {"key": "k"}),
    *([{"jid": "bob@example.org"}], {"jid": "ann@example.org", "name": "A"}, {"formattedName": "A"}),
    *([{"roomName": "balcony", "naturalName": "B", "description": "d"}], [{"entity": "b@c", "action": "ALLOW"}]),
)
"""Values of any type; some fit most arguments."""
_DOMAIN_ADMIN: Final[Json] = {"Basic": {"User": "admin@example.org", "Pass": "pass-of-domain"}}
_USER: Final[Json] = {"Basic": {"User": "bot@example.org", "Pass": "pass-of-bot"}}
OTHERS: Final[Mapping[str, tuple[str, Mapping[str, Json]]]] = {
    "ejabberd-23.01": ("ejabberd", {"Options": {"ServerVersion": "23.01"}}),
    "ejabberd-24.12": ("ejabberd", {"Options": {"ServerVersion": "24.12"}}),
    "mongooseim-domain": ("mongooseim", {"Auth": _DOMAIN_ADMIN, "Options": {"Schema": "domain_admin"}}),
    "mongooseim-user": ("mongooseim", {"Auth": _USER, "Options": {"Schema": "user"}}),
    "openfire-chat-secret": ("openfire-chat", {"Auth": None, "Options": {"Secret": "s3cret-of-chat"}}),
    "openfire-rest-secret": ("openfire-rest", {"Auth": None, "Options": {"Secret": "s3cret-of-rest"}}),
    "prosody-rest-fields": ("prosody-rest", {"Options": {"Fields": ["receipt"], "IqTimeout": 30}}),
}
"""Targets with options that change requests or commands: their kind, and what is otherwise."""
_GROUP: Final = b'{"name":"a text","admins":["ann@example.org"],"members":[],"shared":true}'
_NO_ROOM: Final = b'{"exception":"RoomNotFoundException","message":"m","resource":"r"}'
_STATUS_PROBES: Final = {"/groups/": (200, _GROUP), "/chatrooms/": (404, _NO_ROOM)}
_WELL: Final[Mapping[str, Mapping[str, tuple[int, bytes]]]] = {
    "openfire-rest": {"/statistics/sessions": (200, b'{"localSessions":1}'), **_STATUS_PROBES},
}
"""What is answered to questions, beside what `cases` has."""
_BEFORE: Final[Mapping[tuple[str, str], Mapping[str, tuple[int, bytes]]]] = {
    ("openfire-chat", "create_room"): {"/rooms/": (404, _NO_ROOM)},
}
"""What is answered to the questions of one command of a kind."""
_ELSE: Final = {"": (404, b"")}
"""What is answered to any other question."""
_DONE: Final = Response(200, {}, b"", 0.0)
_USUAL: Final[Mapping[HostSource | None, str]] = {"host": "example.org", "name": "ann", "jid": "ann@example.org"}
_MOST_TRIES: Final = 500
_NAMED: Final = re.compile(r'(?:argument "|in )([^"\[. ]+)')
_ONE_OF: Final = re.compile(r"one of (\w+)")
_DIGITS: Final = 8
_SHOWN: Final = 400
_NOW_S: Final = 1_800_000_000.0


def usual() -> Mapping[str, Kind]:
    """A target of each kind, by the name of its file."""
    return {name: _answering(name, kind) for name, kind in KINDS.items()}


def others() -> Mapping[str, Kind]:
    """Those with other options."""
    targets = {
        name: attrs.evolve(KINDS[kind], members=_with(KINDS[kind], more)) for name, (kind, more) in OTHERS.items()
    }
    return {name: _answering(name, kind) for name, kind in targets.items()}


def text(kind: Kind) -> str:
    """What is sent to this target."""
    bench = _Bench(kind, target_of(kind))

    async def lines() -> list[str]:
        return [_shown(line) for spec in bench.specs() for line in await bench.lines(spec)]

    commands = trio.run(lines, clock=trio.testing.MockClock(autojump_threshold=0))
    headers = [_shown(f"[{number}] {json.dumps(pairs)}") for pairs, number in bench.headers.items()]
    return "\n".join([*headers, "", *commands]) + "\n"


def _shown(line: str) -> str:
    return line.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _answering(name: str, kind: Kind) -> Kind:
    return attrs.evolve(kind, well={**kind.well, **_WELL.get(name, _WELL.get(kind.name, {}))})


def _with(kind: Kind, more: Mapping[str, Json]) -> Mapping[str, Json]:
    members = {name: value for name, value in {**kind.members, **more}.items() if value is not None}
    options, changed = kind.members.get("Options"), more.get("Options")
    if isinstance(options, dict) and isinstance(changed, dict):
        members["Options"] = {**options, **changed}
    return members


@attrs.define(eq=False)
class _Bench:
    """One target, and the headers that were met, each with its number."""

    kind: Kind
    target: Target
    headers: dict[tuple[tuple[str, str], ...], int] = attrs.field(factory=dict)

    def specs(self) -> Sequence[CommandSpec]:
        """The commands in the order of their names."""
        commands = self._open(Memory(_DONE, {})).catalogue.commands
        return [commands[name] for name in sorted(commands)]

    async def lines(self, spec: CommandSpec) -> Sequence[str]:
        """What becomes of a command."""
        values = await self._fitting(spec)
        every = {argument.name: values[argument.name] for argument in spec.arguments}
        needed = {argument.name: every[argument.name] for argument in spec.arguments if not argument.optional}
        whole = await self._fate(spec.name, every)
        least = await self._fate(spec.name, needed)
        digests = [
            f"{argument.name} {await self._digest(spec, argument, every, needed)}" for argument in spec.arguments
        ]
        digests.append(f"(another) {_digest_of([await self._fate(spec.name, {**every, 'zz': 'x'})])}")
        return [
            _specified(spec),
            f"  + {whole[:_SHOWN]}{'…' if len(whole) > _SHOWN else ''}",
            *([] if least == whole else [f"  - {least[:_SHOWN]}{'…' if len(least) > _SHOWN else ''}"]),
            f"  ~ {', '.join(digests)}",
        ]

    async def _digest(
        self, spec: CommandSpec, argument: ArgumentSpec, every: Mapping[str, Json], needed: Mapping[str, Json]
    ) -> str:
        others = {name: value for name, value in every.items() if name != argument.name}
        cases = [others, {name: value for name, value in needed.items() if name != argument.name}]
        cases += [{**others, argument.name: value} for value in VALUES]
        cases += [{**others, alias: value} for alias in argument.aliases for value in (every[argument.name], None)]
        cases += [{**every, alias: every[argument.name]} for alias in argument.aliases]
        return _digest_of([await self._fate(spec.name, case) for case in cases])

    async def _fitting(self, spec: CommandSpec) -> Mapping[str, Json]:
        """For each argument the first value that is not refused, where there is one."""
        values: dict[str, Json] = {
            argument.name: _USUAL.get(argument.host_source, VALUES[0]) for argument in spec.arguments
        }
        left = {name: [*VALUES] for name in values}
        names = {name: argument.name for argument in spec.arguments for name in (argument.name, *argument.aliases)}
        for _ in range(_MOST_TRIES):
            refused = await self._fate(spec.name, values)
            about = _NAMED.search(refused) if refused.startswith("refused") else None
            wrong = None if about is None else names.get(about[1])
            if wrong is None or not left[wrong]:
                break
            meant = _ONE_OF.search(refused)
            values[wrong] = meant[1] if meant is not None and values[wrong] != meant[1] else left[wrong].pop(0)
        return values

    async def _fate(self, name: str, arguments: Mapping[str, Json]) -> str:
        questions = {**self.kind.well, **_BEFORE.get((self.kind.name, name), {}), **_ELSE}
        # Of a connector that works in the background the command goes by the transport, too.
        server = Memory(_DONE, questions, through="/" if self.kind.works else "")
        call = Call(Command(name, arguments), identity="a" * 24)
        if registry.is_xmpp(self.target.kind) and (unfit := refuse_unfit(arguments)) is not None:
            return f"refused {unfit.text}"
        try:
            outcome = await delivered(self._open(server), call, server, works=self.kind.works)
        except NotSent as error:
            return f"is not sent: {error}"
        sent = " ; ".join(map(self._written, server.sent))
        return sent or (f"refused {outcome.reason.text}" if isinstance(outcome, Rejected) else type(outcome).__name__)

    def _open(self, server: Memory) -> Connector:
        ports = Ports(lambda _: None, lambda: _NOW_S, Way(server), SERVICES)
        return registry.open_connector(self.target, ports)

    def _written(self, request: Request) -> str:
        number = self.headers.setdefault(tuple(request.headers), len(self.headers) + 1)
        query = "&".join(f"{name}={value}" for name, value in request.query)
        path = f"{request.path}?{query}" if query else request.path
        again = " again" if request.repeatable else ""
        body = f" {request.body.decode('utf-8', 'backslashreplace')}" if request.body else ""
        return f"{request.method} {path} [{number}] {request.timeout_s:g} s{again}{body}"


def _specified(spec: CommandSpec) -> str:
    """All that the catalogue has of it and that is not as usual."""
    usual = CommandSpec(spec.name, (), spec.repeat)
    shown: list[str] = [spec.repeat]
    for field in attrs.fields(CommandSpec):
        value = getattr(spec, field.name)
        if field.name not in ("name", "arguments", "repeat", "others") and value != getattr(usual, field.name):
            shown.append(f"{field.name} {_fact(value)}")
    return f"{spec.name} {'; '.join([*shown, *map(_argument, spec.arguments)])}"


def _fact(value: object) -> object:
    return " ".join(sorted(value)) if isinstance(value, frozenset) else getattr(value, "__name__", value)


def _argument(one: ArgumentSpec) -> str:
    parts = [
        f"{one.name}: {one.type}",
        f"of {one.element}" if one.element else "",
        f"@{one.host_source}" if one.host_source else "",
    ]
    parts += ["secret" if one.secret else "", "may be left out" if one.optional else ""]
    parts += [f"also {' '.join(one.aliases)}" if one.aliases else ""]
    return " ".join(part for part in parts if part)


def _digest_of(fates: Sequence[str]) -> str:
    return sha256("\n".join(fates).encode("utf-8", "backslashreplace")).hexdigest()[:_DIGITS]
