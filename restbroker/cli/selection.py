"""Read from the command line which jobs to act on; used by the verbs of `dead`, `retries` and `scheduled`.

Always holds: they are named in exactly one way; a missing option never means all jobs.
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal

from restbroker.errors import UsageError
from restbroker.store.keys import SortedSet

if TYPE_CHECKING:  # a list without conditions does without them
    from restbroker.operate.act import Selection
    from restbroker.operate.context import ConfigContext
    from restbroker.operate.where import Where

_GROUP: Final = re.compile("[0-9a-f]{10}", re.ASCII)
_TIMES: Final[Mapping[SortedSet, str]] = {"dead": "at", "retry": "failed_at", "schedule": "at"}


def all_conditions(
    typed: Sequence[str] | None,
    zset: SortedSet,
    bounds: tuple[str | None, str | None],
    ages: tuple[str | None, str | None],
    group: Sequence[str] | None = None,
) -> list[str]:
    """Return the conditions behind `--where`, and those that the options for times and `--group` mean.

    `bounds` has `--since` and `--until`, `ages` `--older-than` and `--newer-than`, `group` `--group`. The time of a
    dead job is when it died, that of a retry when it first failed, and that of a scheduled one when it is due: it has
    no age. Raise `UsageError` for an unusable option.
    """
    found = [*(typed or ()), *_group_condition(group or (), zset)]
    if not any((*bounds, *ages)):
        return found
    from restbroker.operate import where as rule

    field, now_s = _TIMES[zset], time.time()
    for option, value in zip(("--since", "--until"), bounds, strict=True):
        if value is not None:
            if not rule.is_time(value.strip(), now_s):
                example = f"For example: {option} 2h, {option} yesterday, or {option} 2026-11-20T08:00."
                raise UsageError(f"{option}: expected a time, found {value[:60]!r}.", example)
            op: Literal["<", ">"] = ">" if option == "--since" else "<"
            found.append(rule.time_condition(field, op, value.strip(), now_s, ahead=zset != "dead"))
    for option, value in zip(("--older-than", "--newer-than"), ages, strict=True):
        if value is not None and zset == "schedule":
            raise UsageError(
                f"{option} does not apply to scheduled jobs, whose time lies in the future.",
                "Due within two hours: --until 2h; later: --since 2h; or a date: --where 'at < 2026-11-20T08:00'.",
            )
        if value is not None:
            condition = rule.age_condition(field, value.strip(), now_s, is_older=option == "--older-than")
            if condition is None:
                raise UsageError(f"{option}: expected a duration, found {value[:60]!r}.", f"For example: {option} 2h")
            found.append(condition)
    return found


def _group_condition(groups: Sequence[str], zset: SortedSet) -> Sequence[str]:
    if not groups:
        return ()
    if zset == "schedule":
        raise UsageError("--group does not apply to scheduled jobs: only failed jobs have groups.", "Use --where.")
    if len(groups) > 1:
        raise UsageError("--group takes one group: a job belongs to only one.", "Run the command once for each.")
    if _GROUP.fullmatch(groups[0]) is None:
        name = "dead" if zset == "dead" else "retries"
        raise UsageError(f"{groups[0][:60]!r} is not a group.", f"`restbroker {name} summary` names them.")
    return (f"failure_group = {groups[0]}",)


def conditions(typed: Sequence[str] | None, zset: SortedSet, known: "ConfigContext") -> "Where":
    """Return the conditions that were typed behind `--where`; raise `UsageError` if one cannot be read."""
    from restbroker.operate import where as rule

    return rule.read(typed or (), time.time(), ahead=zset != "dead", hidden=known.hidden)


def selection_of(
    jids: Sequence[str] | None,
    typed: Sequence[str] | None,
    *,
    everything: bool,
    zset: SortedSet,
    known: "ConfigContext",
    limit: int | None = None,
) -> "Selection":
    """Return the selection by ids, by conditions, or of everything; raise `UsageError` unless exactly one is used."""
    from restbroker.operate.act import Selection

    where = conditions(typed, zset, known)
    if [bool(jids), bool(where), everything].count(True) != 1:
        raise UsageError(
            "Say which jobs, in exactly one way.",
            "Give job ids, or --where CONDITION (--since, --until, --older-than, --newer-than), or --all.",
        )
    return Selection(tuple(jids or ()), where, limit=limit)
