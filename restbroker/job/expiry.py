"""Until when a job is worth doing: what its producer says, or what its target says of the command. Pure.

Admission calls `read` for each job that it admits. Always holds: a time that cannot be read is refused, since a job
that outlives its purpose without a word is what the producer wanted to avoid.
"""

from collections.abc import Mapping
from typing import Final

from restbroker.job.json_types import Json
from restbroker.job.reason import Reason
from restbroker.job.repair import seconds

FIELD: Final = "expiry"
"""Epoch seconds, or milliseconds, from which on the job must not be sent; null: it never expires."""
RELATIVE_FIELD: Final = "expires_in"
"""What a Sidekiq Pro class says, of which the client makes `expiry`; alone it means that the client did not."""
_MS_FROM: Final = 1e11
"""From here on a time is in milliseconds: as seconds it would be the year 5138."""


def read(fields: Mapping[str, Json], expire_s: float | None) -> float | None | Reason:
    """Return when the job with these fields expires, in epoch seconds; None: never; a reason if what it says is none.

    `expire_s`: for how many seconds after its creation the command is worth doing, if the job does not say; None: for
    ever. A job that does not say either when it was created never expires.
    """
    if FIELD in fields:
        at_s = _seconds(fields[FIELD])
        return _BAD if at_s is None and fields[FIELD] is not None else at_s
    created_s = None if expire_s is None else seconds(fields.get("created_at"))
    return None if expire_s is None or created_s is None else created_s + expire_s


def lift(fields: Mapping[str, Json], expire_s: float | None, at_s: float) -> Mapping[str, Json]:
    """Return the fields of a job that a person has sent at `at_s` (epoch seconds): it never expires if it had by then.

    `expire_s` is as in `read`.
    """
    expires_at_s = read(fields, expire_s)
    return {**fields, FIELD: None} if isinstance(expires_at_s, float) and expires_at_s <= at_s else fields


def _seconds(value: Json) -> float | None:
    """Return a time in epoch seconds; None for what is no time after 1970."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _MS_FROM * 1e6:
        return None
    return value / 1000 if value >= _MS_FROM else float(value)


_BAD: Final = Reason(
    "BadExpiry",
    f'The job\'s "{FIELD}" is not a time, so restbroker cannot tell when it expires.',
    "Push it with epoch seconds, such as 1790000000.5, or leave the member out.",
)
