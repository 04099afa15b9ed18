"""The types of values that several keys have or that need their own reader, each with its form.

Used by the classes of keys. Always holds: what `config.key` promises of every form.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import attrs

from restbroker.config.key import ANYTHING, SWITCH, TEXT, Form, Items, LateBound, Names, duration, whole, word
from restbroker.config.secret import Secret
from restbroker.config.values import BadValue, read_parts, seconds, without_logins
from restbroker.job.backoff import Backoff, ExponentialBackoff, SidekiqBackoff
from restbroker.job.fairness import FAIR_KEY, HEAVIEST, Fairness
from restbroker.job.json_types import Json
from restbroker.job.order import ORDER_KEY, OnDead, Order
from restbroker.light import frozen

SENTINEL_PORT = 26379
_MOST_PER_S = 1_000_000
_BURSTS = whole(1, _MOST_PER_S)
_RATE = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)/(s|min|h)", re.ASCII)
_EXPECTED_RATE = f'a rate such as "200/s", "6000/min" or "100/h", at most {_MOST_PER_S}/s'
_PER_S = {"s": 1.0, "min": 60.0, "h": 3600.0}
_BIND = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})", re.ASCII)
_SENTINEL = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?", re.ASCII)
_LOGIN_AT_PORT = re.compile(r":.*@.*:\d+$", re.ASCII)
_COMMAND = r"[A-Za-z0-9_./?*-]{1,100}"
_ALLOWED = rf"{_COMMAND}|dangerous:(?:[A-Za-z0-9_-]{{1,32}}|\*)"
_USER_PATH = r"(?:/[A-Za-z0-9._~-]+)*(?:/\{user\}(?:[./][A-Za-z0-9._~/-]*)?|/[A-Za-z0-9._~-]+/?)"
_QUEUE = r"(?!queue:|.*://|.*:/.*@|.*:.*@.*:\d+$)\S(?:.{0,198}\S)?"
"""A queue's name, but no URL and no address with a login: names of queues are shown."""
_ARGUMENT = r"[A-Za-z0-9_.-]{1,64}"
_KEY_NAMES: Final = 4
_EXPECTED_QUEUE = "a queue's name, without queue: before it, and without control characters or blanks around it"


@frozen
class Rate:
    """A rate limit: all processes together start at most `per_s` jobs per second, and `burst` at once after a pause."""

    per_s: float
    burst: int


def _address(value: Json, pattern: re.Pattern[str], expected: str, port: int = 0) -> tuple[str, int]:
    """Return host and port of `host:port` or `[::1]:port`; raise `BadValue` for anything else.

    `port` is the default where the pattern allows to leave it out; 0: there is none.
    """
    parts = pattern.fullmatch(value) if isinstance(value, str) else None
    found = int(parts[3] or port) if parts is not None else 0
    if parts is None or not (1 if port else 0) <= found <= 65535:
        raise BadValue(expected, value)
    return parts[1] or parts[2], found


def _read_bind(value: Json) -> tuple[str, int]:
    return _address(value, _BIND, 'an address and port such as "127.0.0.1:8090" or "[::1]:8090"')


def _read_sentinel(value: Json) -> tuple[str, int]:
    expected = 'a host with or without a port, such as "10.0.0.1:26379" or "[::1]"'
    return _address(value, _SENTINEL, expected, SENTINEL_PORT)


def _read_rate(value: Json) -> Rate:
    if not isinstance(value, Mapping):
        return _plain_rate(value)
    if not {"Rate"} <= set(value) <= {"Rate", "Burst"}:
        raise BadValue(f"{_EXPECTED_RATE}, or an object of Rate and, optionally, Burst", value)
    burst = value.get("Burst")
    found = read_parts(
        Rate=lambda: _plain_rate(value["Rate"]), Burst=lambda: None if burst is None else _BURSTS.read(burst)
    )
    rate: Rate = found["Rate"]
    return rate if found["Burst"] is None else attrs.evolve(rate, burst=found["Burst"])


def _plain_rate(value: Json) -> Rate:
    parts = _RATE.fullmatch(value) if isinstance(value, str) else None
    per_s = float(parts[1]) / _PER_S[parts[2]] if parts is not None else 0.0
    if not 0 < per_s <= _MOST_PER_S:
        raise BadValue(_EXPECTED_RATE, value)
    # What a tenth of a second holds: workers that ask now and then still reach the whole rate.
    return Rate(per_s, max(1, int(per_s / 10)))


def read_backoff(value: Json) -> Backoff:
    """Return the back-off rule that the value of `Backoff` means; raise `BadValue` or `BadValues` if it is none."""
    if value == "sidekiq":
        return SidekiqBackoff()
    if not isinstance(value, Mapping) or not set(value) <= {"Base", "Factor", "Cap"}:
        raise BadValue('"sidekiq" or an object of "Base", "Factor" and "Cap"', value)
    found = read_parts(
        Base=lambda: seconds(value.get("Base", 1)),
        Factor=lambda: _factor(value.get("Factor", 2)),
        Cap=lambda: seconds(value.get("Cap", 3600)),
    )
    if found["Cap"] < found["Base"]:
        raise BadValue("a duration that is not shorter than Base", value.get("Cap", 3600), "Cap")
    return ExponentialBackoff(found["Base"], found["Factor"], found["Cap"])


def _factor(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 100:
        raise BadValue("a number from 1 to 100", value)
    return float(value)


def _read_signed(value: Json) -> object:
    if value == "queue":
        raise BadValue("true, since each signature covers the queue", value)
    try:
        return SWITCH.read(value)
    except BadValue as bad:
        # It stands beside the token's secret, which may have been written here.
        raise BadValue(bad.expected, value, secret=True) from None


def _read_on_dead(value: Json) -> OnDead:
    # "cancel", which had those behind it die, is no more: that they wait loses nothing.
    if value not in ("go", "stop", "cancel"):
        raise BadValue('one of "go", "stop"', value)
    return "go" if value == "go" else "stop"


def _object(properties: Mapping[str, Json], **more: Json) -> dict[str, Json]:
    return {"type": "object", "properties": properties, **more, "additionalProperties": False}


_RATE_TEXT: dict[str, Json] = {"type": "string", "pattern": f"^{_RATE.pattern}$"}
_RATE_SCHEMA: dict[str, Json] = {
    "anyOf": [_RATE_TEXT, _object({"Rate": _RATE_TEXT, "Burst": _BURSTS.schema}, required=["Rate"])]
}
_WAIT = duration().schema
_FACTOR: dict[str, Json] = {"type": "number", "minimum": 1, "maximum": 100}
_BACKOFF_SCHEMA: dict[str, Json] = {
    "anyOf": [{"const": "sidekiq"}, _object({"Base": _WAIT, "Factor": _FACTOR, "Cap": _WAIT})]
}


def _names_or(member: str, key: str, make: Callable[[tuple[str, ...]], object]) -> Form:
    """Return the form of names of arguments, or of the job's own member, which is no name; `make` makes the value."""
    expected = f'"{member}" or a list of 1 to {_KEY_NAMES} names of arguments such as ["host"]'

    def read(value: Json) -> object:
        if value == member:
            return make(())
        if isinstance(value, list) and member in value:
            alone = f'"{key}": "{member}", without brackets, for the job\'s own member, or a list of arguments alone'
            raise BadValue(alone, value)
        if isinstance(value, str) and re.fullmatch(_ARGUMENT, value):
            is_near = value.lower().replace("-", "").replace("_", "") == member.replace("_", "")
            hint = f'did you mean "{member}"?' if is_near else f'for the argument of this name write ["{value}"]'
            raise BadValue(f"{expected} ({hint})", value)
        if not isinstance(value, list) or not 1 <= len(value) <= _KEY_NAMES:
            raise BadValue(f"{expected} (an empty list names none)" if value == [] else expected, value)
        names = [name for name in value if isinstance(name, str) and re.fullmatch(_ARGUMENT, name)]
        if len(names) < len(value):
            raise BadValue(expected, value)
        if len(set(names)) < len(names):
            raise BadValue("each argument's name once", value)
        return make(tuple(names))

    items: Json = {"type": "string", "pattern": f"^(?!{member}$){_ARGUMENT}$"}
    names: Json = {"type": "array", "items": items, "minItems": 1, "maxItems": _KEY_NAMES}
    return Form(f'list of names, or "{member}"', {"anyOf": [{"const": member}, names]}, read)


def _read_name(value: Json) -> str:
    text = str(TEXT.read(value))
    # Without a scheme and a port it may be the name of a queue or a namespace: rest:jobs@example.org.
    if ("://" in text and without_logins(text) != text) or _LOGIN_AT_PORT.search(text):
        raise BadValue("a name, not an address with a login or a secret in it", value)
    return text


def _read_page_address(value: Json) -> str:
    text = _read_name(value)
    if _BIND.fullmatch(text):
        raise BadValue('an address such as "127.0.0.1", with its port in StatsPort', value)
    return text


Name: TypeAlias = Annotated[str, Form("text", TEXT.schema, _read_name, str)]
"""A text that the log, the pages and commands may show."""
PageAddress: TypeAlias = Annotated[str, Form("text", TEXT.schema, _read_page_address, str)]
"""The host that the pages listen on, without the port."""
AnyValue: TypeAlias = Annotated[Any, ANYTHING]
Duration: TypeAlias = Annotated[float, duration()]
DurationOrNone: TypeAlias = Annotated[float, duration(366, none=True)]
"""0: for no time at all."""
Month: TypeAlias = Annotated[float, duration(30)]
"""A duration of at most 30 days."""
File: TypeAlias = Annotated[Path, Form("text", TEXT.schema, lambda value: Path(str(TEXT.read(value))), str)]
SecretFile: TypeAlias = Annotated[
    Secret, Form("text", TEXT.schema, lambda value: Secret(path=Path(str(TEXT.read(value)))), str)
]
"""A secret that can only be in a file."""
Thousand: TypeAlias = Annotated[int, whole(1, 1000)]
Bind: TypeAlias = Annotated[
    tuple[str, int], Form("host:port", {"type": "string", "pattern": r"^.+:\d{1,5}$"}, _read_bind, str)
]
"""An address to listen on: host and port."""
Sentinels: TypeAlias = Annotated[
    tuple[tuple[str, int], ...],
    Items(
        "list of host:port",
        f'a list of Sentinels such as ["10.0.0.1:{SENTINEL_PORT}", "10.0.0.2"]',
        Form("host:port", {"type": "string", "pattern": f"^{_SENTINEL.pattern}$"}, _read_sentinel, str),
    ),
]
BackoffRule: TypeAlias = Annotated[Backoff, Form("backoff", _BACKOFF_SCHEMA, read_backoff)]
RateLimit: TypeAlias = Annotated[Rate, Form("rate", _RATE_SCHEMA, _read_rate)]
Commands: TypeAlias = Annotated[
    tuple[str, ...],
    Items(
        "list of names",
        'a list of commands such as ["announce_*", "send_message"]',
        word("name", _COMMAND, 'a command such as "send_message" or "announce_*"'),
    ),
]
Slots: TypeAlias = Annotated[
    Mapping[str, Thousand], Names("numbers by command", _COMMAND, "a command, perhaps with * and ?, without blanks")
]
"""How many requests may run at once, by command (with wildcards)."""
Durations: TypeAlias = Annotated[
    Mapping[str, Annotated[float, duration(366)]],
    Names("durations by command", _COMMAND, "a command, perhaps with * and ?, without blanks"),
]
"""Seconds, by command (with wildcards)."""
ArgumentNames: TypeAlias = Annotated[
    tuple[str, ...],
    Items("list of names", 'a list of arguments such as ["to"]', word("name", _ARGUMENT, 'an argument such as "to"')),
]
FairBy: TypeAlias = Annotated[Fairness, _names_or(FAIR_KEY, "FairBy", Fairness)]
"""Without the default host and the weights, which other keys name."""
OrderBy: TypeAlias = Annotated[Order, _names_or(ORDER_KEY, "OrderBy", Order)]
"""Without the default host and what a death does, which other keys name."""
DeathRule: TypeAlias = Annotated[OnDead, Form("word", {"enum": ["go", "stop"]}, _read_on_dead, str)]
FairWeights: TypeAlias = Annotated[
    Mapping[str, Annotated[int, whole(1, HEAVIEST)]],
    Names("weights by key", r"[^\x00-\x1f\x7f]{1,256}", "a key of jobs, without control characters"),
]
AllowList: TypeAlias = Annotated[
    tuple[str, ...],
    Items(
        "list of names",
        'a list of commands such as ["*"] or ["register", "dangerous:backup"]',
        word("name", _ALLOWED, 'a command such as "register" or "get_*", or a word such as "dangerous:backup"'),
    ),
]
"""The commands that a token's jobs may run."""
Signed: TypeAlias = Annotated[bool, attrs.evolve(SWITCH, read=_read_signed)]
Queue: TypeAlias = Annotated[str, word("name", _QUEUE, _EXPECTED_QUEUE)]
SomeQueues: TypeAlias = Annotated[
    tuple[Queue, ...], Items("list of names", 'a list of queues such as ["rest", "low-*"]')
]
Queues: TypeAlias = Annotated[
    tuple[Queue, ...] | Annotated[Mapping[str, Thousand], Names("weights by name", _QUEUE, _EXPECTED_QUEUE)],
    Items(
        "list of names, or weights by name",
        'a list of queues such as ["high", "rest"], or their weights such as {"high": 3, "rest": 1}',
    ),
]
SomeTargets: TypeAlias = Annotated[
    tuple[str, ...],
    Items(
        "list of names",
        'a list of targets such as ["ejabberd"]',
        word("name", r"[a-z0-9*?-]{1,32}", 'a target such as "ejabberd" or "eu-*"'),
    ),
]
Hosts: TypeAlias = Annotated[
    tuple[str, ...],
    Items(
        "list of hosts",
        'a list of virtual hosts such as ["example.org"]',
        word("host", r"[^\s/@:]{1,255}", 'a virtual host such as "example.org" or "*.example.org"'),
    ),
]
HostHeader: TypeAlias = Annotated[
    str,
    word(
        "host",
        r"|(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?",
        'a host in ASCII with or without a port such as "xmpp.example.org" or "[::1]:5281"',
    ),
]
OwnNames: TypeAlias = Annotated[
    tuple[str, ...],
    Items(
        "list of names",
        'a list of names such as ["ops.example.org"]',
        word("name", r"[A-Za-z0-9._-]{1,253}", 'a name without a port such as "ops.example.org"'),
    ),
]
"""Host names under which restbroker's own pages may be requested."""
Prefix: TypeAlias = Annotated[
    str,
    word("path", r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", 'a path such as "/restbroker", without a slash at its end'),
]
"""The path that a reverse proxy puts before ours; empty: none."""
UserPath: TypeAlias = Annotated[str, word("path", _USER_PATH, 'a path such as "/roster/{user}"')]
"""The path of a resource that belongs to a user."""


def objects_by_name(what: str, entry: LateBound | None = None) -> Names:
    """Return the form of objects by name, for example `what` = "targets".

    The names are shown in logs and metrics. `entry` is the class of an object if the annotation does not name it; such
    objects hold their own name.
    """
    pattern = r"[a-z0-9-]{1,32}"
    expected = "a name of 1 to 32 of a-z, 0-9 and -"
    return Names(f"{what} by name", pattern, expected, entry=entry, is_tuple=entry is not None)
