"""The result for one job of a batch: `Applied`, `Gone`, `Clash` or `Refused`. Used by `jobs`, `sets` and their callers.

Always holds: `Applied` and `Gone` mean that the job is no longer where it was; `Clash` and `Refused` that it still is.
"""

from typing import TypeAlias

from restbroker.light import frozen
from restbroker.store.client import Reply, text


@frozen
class Applied:
    """The job was settled, moved or changed by this call. `is_ready`: so the next job of its key may start."""

    is_ready: bool = False


@frozen
class Gone:
    """Nothing was done: it was done before (a lost reply), another client moved the job, or the identity was fenced."""


@frozen
class Clash:
    """The sorted set holds an equal member, and ZADD would merge two jobs: change a byte (failed_at), and try again."""


@frozen
class Refused:
    """The change to this job was refused; `text` is Redis' error, or says why Redis was not asked."""

    text: str


Code: TypeAlias = Applied | Gone | Clash | Refused


APPLIED, _READY, _GONE = Applied(), Applied(is_ready=True), Gone()


def as_code(reply: Reply) -> Code:
    """Return the code in a script's reply for one job."""
    match reply:
        case 1:
            return APPLIED
        case 2:
            return _READY
        case 0:
            return _GONE
        case b"DUP":
            return Clash()
        case _:
            return Refused(text(reply))
