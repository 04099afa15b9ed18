"""The key of a job whose target does the jobs of one key in order, and what a target says about that.

Used by `config` for what is written, by the broker, which finds each job's key again, and by the store, whose scripts
found it before. Always holds: a key is a text of 1 to 256 bytes for each name without control characters; where
this file and the scripts could read a job differently, the job is not sent.
"""

import json
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, cast

import attrs

from restbroker.job import arguments, rubyjson
from restbroker.job.fairness import BETWEEN, Fairness, fold, is_key
from restbroker.job.json_types import Json
from restbroker.job.reason import Reason

ORDER_KEY: Final = "order_key"
"""Where `OrderBy` finds the key of a job: in its own member of this name."""
ON_DEAD_FIELD: Final = "order_on_dead"
"""A member that has no effect: what the death of one producer's job does to others is not for that producer to say."""
OnDead: TypeAlias = Literal["go", "stop"]
"""What becomes of a key when one of its jobs dies: the next one starts, or those that wait go on waiting."""
_BEGINNING: Final = '{"order":'
_DRAINS: Final = ',"drains":true}'
_AFTER: Final = "after"

KEY_UNCLEAR: Final = Reason(
    "OrderKeyUnclear",
    "restbroker cannot tell for sure which key this job has, and does not send it out of order.",
    "Give a text of 1 to 256 bytes without control characters, and each name once, in plain JSON.",
)
PREDECESSOR_DIED: Final = Reason(
    "PredecessorDied",
    "A person dropped what waited with this key.",
    "Find out what became of the job before it, then retry this one.",
)


@attrs.frozen
class Order:
    """How a target keeps its jobs in order: by the arguments of these names, or by their member `ORDER_KEY`.

    `names` is empty for the latter. `default_host` stands for a missing argument `host`. `on_dead`: what becomes of a
    key when one of its jobs dies.
    """

    names: tuple[str, ...] = ()
    default_host: str | None = None
    on_dead: OnDead = "go"

    @property
    def text(self) -> str:
        """What the store's scripts read (JSON)."""
        by = Fairness(self.names, self.default_host).text[1:-1]
        member = "" if self.names else f'"member":"{ORDER_KEY}"'
        return _BEGINNING + ",".join(part for part in (f'"{self.on_dead}"', member, by) if part) + "}"

    @property
    def keys_by(self) -> str:
        """By what its keys are made, as the store's scripts note it."""
        return f"{','.join(self.names or (ORDER_KEY,))} {self.default_host or ''}"

    def key_of(self, fields: Mapping[str, Json], given: Mapping[str, Json]) -> str | None:
        """Return the key of a job; "" if it has none, None if that is unclear.

        `fields` are the job's members, `given` its arguments.
        """
        if not self.names:
            return _part(fields.get(ORDER_KEY))
        parts = [_part(given.get(name, self.default_host if name == "host" else None)) for name in self.names]
        if None in parts:
            return None
        return BETWEEN.join(cast("list[str]", parts)) if all(parts) else ""

    def refusal(self, key: str, fields: Mapping[str, Json], given: Mapping[str, Json]) -> Reason | None:
        """Return why a job may not be sent that the store handed out under `key` ("": it has none); None: it may."""
        return None if self.key_of(fields, given) == key else KEY_UNCLEAR


def _part(value: Json) -> str | None:
    if value is None:
        return ""
    return fold(value) if isinstance(value, str) and is_key(value) else None


def is_order(text: str) -> bool:
    """Tell whether what a target says is of order, not of fairness."""
    return text.startswith(_BEGINNING)


def drain_text(text: str, after: str = "") -> str:
    """Return what a target says that has no order any more, though some of its keys are held: nothing is added.

    `after`: what it says once none is held.
    """
    return f'{text[:-1]},"{_AFTER}":{json.dumps(after)}{_DRAINS}'


def settled_text(text: str) -> str:
    """Return what a target says once none of its old keys is held: what it says now, unless `drain_text` made that."""
    if not text.endswith(_DRAINS):
        return text
    return str((rubyjson.object_of(text.encode()) or {}).get(_AFTER, ""))


def on_dead_in(text: str) -> OnDead:
    """Return what becomes of a key when one of its jobs dies; `text`: what its target says of its order."""
    return "go" if (rubyjson.object_of(text.encode()) or {}).get("order", "go") == "go" else "stop"


def key_in(order: Order, fields: Mapping[str, Json]) -> str | None:
    """Return the key of a job of these members, as `Order.key_of` does, whose arguments are not read yet."""
    if not order.names:
        return order.key_of(fields, {})
    read = arguments.read(fields.get("args"))
    return "" if isinstance(read, Reason) else order.key_of(fields, read.command.arguments)
