"""The forms of values that only some objects have: rates, slots, queues, what a token allows, paths, Sentinels.

Used by `config.objects`, `config.roster_keys` and `config.keys`, beside the common ones of `config.values`. Always
holds: as there.
"""

import re
from collections.abc import Mapping

import attrs

from restbroker.config.kinds import ListOf, MapOf, ObjectOf, Scalar
from restbroker.config.target import Rate
from restbroker.config.values import PATTERN, BadValue, choice, json_or_text, text, whole, word
from restbroker.job.event import EVENT_MEMBERS, EVENT_TYPES
from restbroker.job.json_types import Json

SENTINEL_PORT = 26379
_MOST_PER_S = 1_000_000
_RATE = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)/(s|min|h)", re.ASCII)
_EXPECTED = f'a rate such as "200/s", "6000/min" or "100/h", at most {_MOST_PER_S}/s'
_PER_S = {"s": 1.0, "min": 60.0, "h": 3600.0}
_NAME = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)
_QUEUE = re.compile(r"\S(?:.{0,198}\S)?")
_QUEUE_EXPECTED = "a queue's name, without blanks around it and control characters"
_HOST = re.compile(r"[^\s/@:]{1,255}")
_OWN_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}", re.ASCII)
_USER_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*(?:/\{user\}(?:[./][A-Za-z0-9._~/-]*)?|/[A-Za-z0-9._~-]+/?)", re.ASCII)
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", re.ASCII)
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+", re.ASCII)
_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_:.\\]{0,199}", re.ASCII)
_MEMBER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_MEMBER_EXPECTED = "a name of letters, digits and _, such as tenant"
_EVENT_MEMBER = re.compile("|".join(EVENT_MEMBERS))
_EVENT_MEMBER_EXPECTED = f"a member of events: {', '.join(EVENT_MEMBERS)}"
_PLAIN_VALUE: Mapping[str, Json] = {"type": ["string", "number", "boolean"]}
_ADDRESS = re.compile(r"[^\s/]{1,1000}")
_TARGETS = re.compile(r"[a-z0-9*?-]{1,32}", re.ASCII)
_ALLOWED = re.compile(rf"{PATTERN.pattern}|dangerous:(?:[A-Za-z0-9_-]{{1,32}}|\*)", re.ASCII)
_SENTINEL = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?", re.ASCII)


def named(members: type[attrs.AttrsInstance], what: str) -> MapOf:
    """Objects by name. The names are shown in logs and metrics; a variable's `_` stands for their `-`."""
    expected = "a name of 1 to 32 of a-z, 0-9 and -"
    return MapOf(f"{what} by name", ObjectOf("object", members), _NAME, expected, _dashed)


def _dashed(part: str) -> str:
    return part.lower().replace("_", "-")


def slots() -> MapOf:
    """How many at once, by command."""
    expected = "a command, perhaps with * and ?, without blanks"
    return MapOf("numbers by command", whole(1, 1000), PATTERN, expected)


def queues() -> ListOf:
    """Names of queues, or their weights by name."""
    weights = MapOf("weights by name", whole(1, 1000), _QUEUE, _QUEUE_EXPECTED)
    return ListOf(
        "list of names, or weights by name",
        queue(),
        'a list of queues such as ["high", "rest"], or their weights such as {"high": 3, "rest": 1}',
        weights,
    )


def queue() -> Scalar:
    """The name of one queue."""
    return word("name", _QUEUE, _QUEUE_EXPECTED)


def path() -> Scalar:
    """A path that we serve."""
    return word("path", _PATH, 'a path such as "/events/prosody", without a slash at its end')


def job_class() -> Scalar:
    """The class of jobs that we make."""
    return word("class", _CLASS, 'a class such as "XmppEvent" or "Chat::Event"')


def event_types() -> ListOf:
    """Types of events."""
    return ListOf("list of types", choice(*EVENT_TYPES), 'a list of types such as ["message", "groupchat"]')


def addresses() -> ListOf:
    """JIDs without their resource, with wildcards."""
    item = word("JID", _ADDRESS, 'a JID without a resource, perhaps with * and ?, such as "bot-*" or "*@example.org"')
    return ListOf("list of JIDs", item, 'a list of JIDs such as ["bot-*", "support@example.org"]')


def texts() -> ListOf:
    """Texts, with wildcards."""
    return ListOf("list of texts", text("a text, perhaps with * and ?"), 'a list of texts such as ["*urgent*"]')


def routes(members: type[attrs.AttrsInstance]) -> ListOf:
    """Where events go, each with the keys of this class."""
    return ListOf("list of objects", ObjectOf("object", members), "a list of routes, each an object")


def fields() -> MapOf:
    """Values that events have besides."""
    return MapOf("values by name", Scalar("value", _PLAIN_VALUE, _read_plain, json_or_text), _MEMBER, _MEMBER_EXPECTED)


def names() -> MapOf:
    """Other names for the members of events."""
    return MapOf("names by member", word("name", _MEMBER, _MEMBER_EXPECTED), _EVENT_MEMBER, _EVENT_MEMBER_EXPECTED)


def members() -> ListOf:
    """Some of the members of events."""
    return ListOf("list of members", choice(*EVENT_MEMBERS), f"a list of members: {', '.join(EVENT_MEMBERS)}")


def _read_plain(value: Json) -> Json:
    if not isinstance(value, str | int | float | bool):
        raise BadValue("a text, a number, true or false", value)
    return value


def hosts() -> ListOf:
    """Virtual hosts, with wildcards."""
    item = word("host", _HOST, 'a virtual host such as "example.org" or "*.example.org"')
    return ListOf("list of hosts", item, 'a list of virtual hosts such as ["example.org"]')


def some_targets() -> ListOf:
    """Names of targets, with wildcards."""
    expected = 'a target such as "ejabberd" or "eu-*"'
    return ListOf("list of names", word("name", _TARGETS, expected), 'a list of targets such as ["ejabberd"]')


def some_queues() -> ListOf:
    """Names of queues, with wildcards."""
    return ListOf("list of names", queue(), 'a list of queues such as ["rest", "low-*"]')


def signed() -> Scalar:
    """Whether a token's jobs are signed, and whether for one queue each."""
    expected = 'true or false (written without quotes), or "queue"'

    def read(value: Json) -> bool | str:
        if not isinstance(value, bool) and value != "queue":
            raise BadValue(expected, value)
        return "queue" if value == "queue" else bool(value)

    schema: dict[str, Json] = {"enum": [True, False, "queue"]}
    return Scalar('true, false or "queue"', schema, read, lambda text: json_or_text(text.strip().lower()))


def own_names() -> ListOf:
    """Names under which a page of ours may be asked for."""
    item = word("name", _OWN_NAME, 'a name without a port such as "ops.example.org"')
    return ListOf("list of names", item, 'a list of names such as ["ops.example.org"]')


def prefix() -> Scalar:
    """The path that a reverse proxy puts before ours; empty: none."""
    return word("path", _PREFIX, 'a path such as "/restbroker", without a slash at its end')


def user_path() -> Scalar:
    """The path of what is asked for by user."""
    return word("path", _USER_PATH, 'a path such as "/roster/{user}"')


def allowed() -> ListOf:
    """What a token's jobs may ask for."""
    item = word("name", _ALLOWED, 'a command such as "register" or "get_*", or a word such as "dangerous:backup"')
    return ListOf("list of names", item, 'a list of commands such as ["*"] or ["register", "dangerous:backup"]')


def sentinels() -> ListOf:
    """Addresses of Sentinels, as `(host, port)`."""
    schema: dict[str, Json] = {"type": "string", "pattern": f"^{_SENTINEL.pattern}$"}
    expected = f'a list of Sentinels such as ["10.0.0.1:{SENTINEL_PORT}", "10.0.0.2"]'
    return ListOf("list of host:port", Scalar("host:port", schema, _read_sentinel, str), expected)


def _read_sentinel(value: Json) -> tuple[str, int]:
    parts = _SENTINEL.fullmatch(value) if isinstance(value, str) else None
    port = int(parts[3] or SENTINEL_PORT) if parts is not None else 0
    if parts is None or not 1 <= port <= 65535:
        raise BadValue('a host with or without a port, such as "10.0.0.1:26379" or "[::1]"', value)
    return parts[1] or parts[2], port


def rate() -> Scalar:
    """How many jobs a second may start: `"200/s"`, or an object of `Rate` and `Burst`."""
    short: dict[str, Json] = {"type": "string", "pattern": f"^{_RATE.pattern}$"}
    whole_form: dict[str, Json] = {
        "type": "object",
        "properties": {"Rate": short, "Burst": {"type": "integer", "minimum": 1, "maximum": _MOST_PER_S}},
        "required": ["Rate"],
        "additionalProperties": False,
    }
    return Scalar("rate", {"anyOf": [short, whole_form]}, _read_rate, json_or_text)


def _read_rate(value: Json) -> Rate:
    if not isinstance(value, Mapping):
        per_s = _per_s(value, "")
        # What a tenth of a second holds: workers that ask now and then still reach the whole rate.
        return Rate(per_s, max(1, int(per_s / 10)))
    if not {"Rate"} <= set(value) <= {"Rate", "Burst"}:
        raise BadValue(f"{_EXPECTED}, or an object of Rate and, if wanted, Burst", value)
    per_s = _per_s(value["Rate"], "Rate")
    burst = value.get("Burst")
    if burst is None:
        return _read_rate(value["Rate"])
    if isinstance(burst, bool) or not isinstance(burst, int) or not 1 <= burst <= _MOST_PER_S:
        raise BadValue(f"a whole number from 1 to {_MOST_PER_S}", burst, "Burst")
    return Rate(per_s, burst)


def _per_s(value: Json, where: str) -> float:
    parts = _RATE.fullmatch(value) if isinstance(value, str) else None
    per_s = float(parts[1]) / _PER_S[parts[2]] if parts is not None else 0.0
    if not 0 < per_s <= _MOST_PER_S:
        raise BadValue(_EXPECTED, value, where)
    return per_s
