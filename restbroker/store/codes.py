"""What became of one job in a batch. Used by `jobs`, `sets` and whoever calls them.

Always holds: `Applied` and `Gone` mean that the job is no longer where it was; the other two that it still is.
"""

from typing import TypeAlias

import attrs

from restbroker.store.replies import Reply, text


@attrs.frozen
class Applied:
    """Done, by this call."""


@attrs.frozen
class Gone:
    """Nothing was done: applied before (a lost reply), moved by somebody else, or the identity was fenced."""


@attrs.frozen
class Clash:
    """The sorted set holds an equal member: ZADD would have merged two jobs. Change a byte (failed_at), try again."""


@attrs.frozen
class Refused:
    """Redis refused this job's effect; `text` is its error."""

    text: str


Code: TypeAlias = Applied | Gone | Clash | Refused


_APPLIED, _GONE = Applied(), Gone()


def as_code(reply: Reply) -> Code:
    """A script's answer for one job."""
    match reply:
        case 1:
            return _APPLIED
        case 0:
            return _GONE
        case b"DUP":
            return Clash()
        case _:
            return Refused(text(reply))
