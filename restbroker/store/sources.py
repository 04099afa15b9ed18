"""The state of each source of events, as the process that reads from it reports it.

Written by `servers.in_redis`, read by `check`, the pages and `stats`. Always holds: it is for display only, and a write
that is lost is made up for by the next; a state counts for `TTL_S` by Redis' clock, so that what a process reported
goes when the process is gone; each text is bounded, and none is a secret.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import orjson

from restbroker.job import rubyjson
from restbroker.job.json_types import Json
from restbroker.light import field, frozen
from restbroker.store.client import Argument, Client, as_fields, mapping, microseconds, raw, visible

TTL_S: Final = 60
_LONGEST_TEXT: Final = 600
_LATEST_S: Final = 1e11
StateKey: TypeAlias = tuple[str, str, str]
"""The source, process and user that have one state together."""


@frozen
class SourceState:
    """How the reading stands since `since_s` (epoch seconds). `code`: that of the warning while nothing is read.

    `message` and `hint` say then what is wrong and what to do about it; `code` is "" while it is read from, and where
    there is nothing to read, as `message` says. `process`: `host:pid`. `user`: whose stream it is, "" where the source
    is read as a whole. For a stream, `login` is the end of the login's id under which it was opened; `opened_s`,
    `event_s` and `heartbeat_s` are when it was opened and brought its last event and heartbeat, and `room_s` is when it
    brought the last event of a room's life (epoch seconds, as of the last write; 0: never). `notice`: a warning that
    holds although it is read. `options`: digests of the options by which it is read, for `check` alone. `outcomes`: how
    many events of the source had each since the process started; one of its states has them.
    """

    source: str
    kind: str
    process: str
    user: str = ""
    since_s: float = 0.0
    code: str = ""
    message: str = ""
    hint: str = ""
    login: str = ""
    opened_s: float = 0.0
    event_s: float = 0.0
    heartbeat_s: float = 0.0
    room_s: float = 0.0
    notice: str = ""
    options: Mapping[str, str] = field(factory=dict)
    outcomes: Mapping[str, int] = field(factory=dict)

    @property
    def is_reading(self) -> bool:
        """Whether the source, or the user's stream, is read."""
        return not self.code and not self.message

    @property
    def key(self) -> StateKey:
        """The source, process and user that it is the state of."""
        return self.source, self.process, self.user


def shown(state: SourceState) -> dict[str, Json]:
    """Return the members for people and programs: all but the digests."""
    return attrs.asdict(state, filter=lambda field, _: field.name != "options")


def write(client: Client, states: Collection[SourceState], ended: Collection[StateKey] = ()) -> None:
    """Let these states count for `TTL_S` seconds from now on, and remove those that ended or count no more.

    Sent twice, it changes nothing more. Raise `StoreUnavailable` or `StoreRefused`.
    """
    key = client.keys.sources
    now_s, held = _read_entries(client)
    # One that is written meanwhile, and taken away here, comes with its next refresh.
    gone = {field for field, entry in held.items() if _until_s(entry) <= now_s}
    gone |= {_field(place) for place in ended}
    fields = {_field(state.key): _encode(state, now_s + TTL_S) for state in states}
    commands: list[Sequence[Argument]] = []
    if taken := sorted(gone - fields.keys()):
        commands.append(("HDEL", key, *taken))
    if fields:
        commands += [("HSET", key, *as_fields(fields)), ("EXPIRE", key, TTL_S)]
    if commands:
        client.transaction(commands)


def read_states(client: Client) -> list[SourceState]:
    """Return every state that counts, those first where nothing is read; then by source, user and process.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    now_s, held = _read_entries(client)
    found = [_state(entry) for entry in held.values() if _until_s(entry) > now_s]
    return sorted(found, key=lambda one: (not one.code, one.source, one.user, one.process))


def _read_entries(client: Client) -> tuple[int, Mapping[str, Mapping[str, Json]]]:
    """Return Redis' time (epoch seconds), and the entries by their fields; an entry in another form is empty."""
    now, reply = client.commands([("TIME",), ("HGETALL", client.keys.sources)])
    held = {field: rubyjson.object_of(raw(entry)) or {} for field, entry in mapping(reply).items()}
    return microseconds(now) // 1_000_000, held


def _field(place: StateKey) -> str:
    return "\n".join(place)


def _encode(state: SourceState, until_s: int) -> bytes:
    fields: dict[str, Json] = attrs.asdict(state)
    texts = {name: visible(value, _LONGEST_TEXT) for name, value in fields.items() if isinstance(value, str)}
    return orjson.dumps({**fields, **texts, "until_s": until_s})


def _state(entry: Mapping[str, Json]) -> SourceState:
    """Return the state of an entry; what is missing there, or not of its type, is empty or 0."""
    read = {str: _text, float: _number}
    given: dict[str, Any] = {
        field.name: read[field.type](entry, field.name) for field in attrs.fields(SourceState) if field.type in read
    }
    options = entry.get("options")
    digests = {name: str(digest) for name, digest in options.items()} if isinstance(options, dict) else {}
    outcomes = entry.get("outcomes")
    told = outcomes if isinstance(outcomes, dict) else {}
    counts = {visible(name, _LONGEST_TEXT): int(_number(told, name)) for name in told}
    return SourceState(**given, options=digests, outcomes=counts)


def _text(entry: Mapping[str, Json], name: str) -> str:
    value = entry.get(name)
    return visible(value, _LONGEST_TEXT) if isinstance(value, str) else ""


def _until_s(entry: Mapping[str, Json]) -> float:
    return _number(entry, "until_s")


def _number(entry: Mapping[str, Json], name: str) -> float:
    value = entry.get(name)
    return float(value) if isinstance(value, int | float) and abs(value) < _LATEST_S else 0.0
