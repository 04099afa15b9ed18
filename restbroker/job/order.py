"""The key of a job: which others it waits for (OrderBy) or takes turns with (FairBy), and what a target says of that.

Used by `config` for what is written, by the broker, which finds each job's key again, and by the store, whose scripts
found it before. Always holds: a key is a text of 1 to 256 bytes for each name without control characters; where
this file and the scripts could read the order of a job differently, the job is not sent.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias, cast

from restbroker.job import arguments, rubyjson
from restbroker.job.fairness import BEFORE_ORDER, BETWEEN, FAIR_KEY, Fairness, fold, is_key
from restbroker.job.json_types import Json
from restbroker.job.reason import Reason
from restbroker.light import frozen

ORDER_KEY: Final = "order_key"
"""Where `OrderBy` finds the key of a job: in its own member of this name."""
OnDead: TypeAlias = Literal["go", "stop"]
"""What becomes of a key when one of its jobs dies: the next one starts, or those that wait go on waiting."""
_DEAD: Final = "dead"

KEY_UNCLEAR: Final = Reason(
    "OrderKeyUnclear",
    "restbroker cannot tell for sure which key this job has, and does not send it out of order.",
    "Give a text of 1 to 256 bytes without control characters, and each name once, in plain JSON.",
)


@frozen
class Order:
    """How a target keeps its jobs in order: by the arguments of these names, or by their member `ORDER_KEY`.

    `names` is empty for the latter. `default_host` stands for a missing argument `host`. `on_dead`: what becomes of a
    key when one of its jobs dies.
    """

    names: tuple[str, ...] = ()
    default_host: str | None = None
    on_dead: OnDead = "go"


def _part(value: Json) -> str | None:
    if value is None:
        return ""
    return fold(value) if isinstance(value, str) and is_key(value) else None


def key_rules(order: Order | None, fairness: Fairness | None) -> str:
    """Return what the store's scripts read of a target's keys (JSON); "" if it has none."""
    if order is None and fairness is None:
        return ""
    said: dict[str, Json] = {}
    first = () if fairness is None else fairness.names
    rest = () if order is None else tuple(name for name in order.names if name not in first)
    if first or rest:
        said["by"] = [*first, *rest]
    if first:
        said["fair"] = len(first)
    elif fairness is not None:
        said["fair_member"] = FAIR_KEY
    if order is not None:
        said["order"] = made_by(order, fairness)
        said |= {} if order.names else {"member": ORDER_KEY}
        said |= {} if order.on_dead == "go" else {_DEAD: order.on_dead}
    if (host := (order or fairness).default_host) is not None:  # type: ignore[union-attr]  # one of them is there
        said["host"] = host
    if fairness is not None and fairness.weights:
        said["weights"] = {fold(name): weight for name, weight in fairness.weights.items()}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def made_by(order: Order, fairness: Fairness | None) -> str:
    """Return by what ordered keys are made, as the store notes it: if it changes, they are other keys."""
    first = () if fairness is None else fairness.names
    rest = ",".join(name for name in order.names or (ORDER_KEY,) if name not in first)
    return f"{','.join(first)}{'|' if first else ''}{rest} {order.default_host or ''}"


def key_of(
    order: Order | None, fairness: Fairness | None, fields: Mapping[str, Json], given: Mapping[str, Json]
) -> str | None:
    """Return the key of a job of these members and arguments; None if its order is unclear."""
    host = (order or fairness or _NOTHING).default_host
    by = () if fairness is None else fairness.names
    fair = _joined(by, given, host) if by or fairness is None else _part(fields.get(FAIR_KEY))
    if order is None:
        return fair or ""
    names = tuple(name for name in order.names if name not in by)
    key = _joined(names, given, host) if names else _part(fields.get(ORDER_KEY))
    if key is None or (fair is None and by):
        return None
    # Without its fair key it lacks a part of its order key, too.
    return f"{fair or ''}{BEFORE_ORDER}{key}" if key and (fair or fairness is None) else fair or ""


def _joined(names: Sequence[str], given: Mapping[str, Json], host: str | None) -> str | None:
    parts = [_part(given.get(name, host if name == "host" else None)) for name in names]
    if None in parts:
        return None
    return BETWEEN.join(cast("list[str]", parts)) if all(parts) else ""


def key_in(order: Order | None, fairness: Fairness | None, fields: Mapping[str, Json]) -> str | None:
    """Return the key of a job of these members, as `key_of` does, whose arguments are not read yet."""
    read = arguments.read(fields.get("args"))
    return key_of(order, fairness, fields, {} if isinstance(read, Reason) else read.command.arguments)


def is_ordered(key: str) -> bool:
    """Tell whether the jobs of a key are done one after the other."""
    return BEFORE_ORDER in key


def on_dead_in(text: str) -> OnDead:
    """Return what becomes of a key when one of its jobs dies; `text`: what its target says (`key_rules`)."""
    return "stop" if (rubyjson.object_of(text.encode()) or {}).get(_DEAD) == "stop" else "go"


_NOTHING: Final = Fairness()
