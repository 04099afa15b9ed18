"""`dead summary` and `retries summary`: failed jobs by their causes, with counts, one example and what to do.

Always holds: nothing is changed; each row names a group that the other verbs take as `failure_group` in `--where`.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from restbroker.console import columns, output
from restbroker.console.causes import headline, hint, share
from restbroker.console.columns import Column
from restbroker.console.times import utc
from restbroker.job.json_types import Json
from restbroker.store.keys import SortedSet

if TYPE_CHECKING:
    from restbroker.operate.summary import Cause, Summary

_NAMES: Final = {"dead": "dead", "retry": "retries"}


def write(found: "Summary", zset: SortedSet, limit: int, *, as_json: bool) -> None:
    """Print at most `limit` causes."""
    causes = found.causes[:limit]
    if as_json:
        output.as_json(_as_json(found, causes, zset))
        return
    columns.write(_columns(found), causes)
    if sys.stdout.isatty():
        for line in dict.fromkeys(line for cause in causes for line in _steps(cause, zset)):
            output.data(line)
    _tell(found, len(causes), zset)


def _tell(found: "Summary", shown: int, zset: SortedSet) -> None:
    if not found.causes:
        which = "" if found.matching == found.looked_at else " for which this holds"
        output.say(f"No job of the {zset} set{which} failed." if found.total else f"The {zset} set is empty.")
        return
    more = len(found.causes) - shown
    left = found.matching - sum(cause.jobs for cause in found.causes)
    output.say(f"{headline(found)} of the {zset} set{f'; {more:,} causes more' if more else ''}.")
    if left:
        output.say(f"{output.jobs(left)} did not fail, or have other causes.")
    if found.looked_at < found.total:
        output.say(f"{found.total - found.looked_at:,} more jobs were not searched: the time ran out.")
    output.say(f"The jobs of one: restbroker {_NAMES[zset]} list --where 'failure_group = {found.causes[0].group}'")


def _steps(cause: "Cause", zset: str) -> Iterator[str]:
    """Yield what to do about a cause."""
    if (todo := hint(cause)) is not None:
        edit = f"restbroker {_NAMES[zset]} edit --where 'failure_group = {cause.group}'"
        by = f" ({edit} NAME=VALUE --retry; or --rename OLD=NEW)" if todo.startswith("Correct ") else ""
        yield f"{cause.code}: {todo}{by}"


def _columns(found: "Summary") -> "Sequence[Column[Cause]]":
    return (
        Column("GROUP", lambda one: one.group),
        Column("JOBS", lambda one: one.jobs, lambda one: f"{one.jobs:,}", numbers=True),
        Column("SHARE", lambda one: f"{share(one, found)}%", lambda one: f"{share(one, found):g} %", numbers=True),
        Column("TARGET", lambda one: one.target),
        Column("COMMAND", lambda one: one.command),
        Column("CODE", lambda one: one.code, least=24),
        Column("", lambda one: utc(one.first_s)),
        Column("", lambda one: utc(one.last_s)),
        Column("", lambda one: one.jid or one.key),
        Column("MESSAGE", lambda one: one.message),
    )


def _as_json(found: "Summary", causes: Sequence["Cause"], zset: str) -> dict[str, Json]:
    shown: list[Json] = [
        {
            "group": cause.group,
            "jobs": cause.jobs,
            "share_percent": share(cause, found),
            "target": cause.target,
            "command": cause.command,
            "error_class": cause.code,
            "message": cause.message,
            "hint": hint(cause),
            "first": utc(cause.first_s),
            "last": utc(cause.last_s),
            "jid": cause.jid,
            "key": cause.key,
        }
        for cause in causes
    ]
    return {
        "set": zset,
        "total": found.total,
        "looked_at": found.looked_at,
        "matched": found.matching,
        "causes": len(found.causes),
        "groups": shown,
    }
