"""Which jobs must not be done twice: what a job says of that, and what becomes of its claims. Pure.

Two kinds. A *lock* is taken by `enqueue --unique` in the step that pushes the job; no second job of its key is pushed
as long as it lasts. A *claim* is taken by a broker in the instant before it sends a job with an `idempotency_key`; a
job that finds the claim of another one is not sent. Admission reads both, the link takes and gives up what is due
before the first byte, and the settlement says what becomes of them. Always holds: who holds one is told by its job id,
so that a retry, a promotion and a recovery meet their own and pass; a claim also says which ticket is at work, so that
a second push of the same job, id included, is told from the first; no job gives up what it does not hold.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, cast, get_args

import attrs
import orjson

from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Duplicate
from restbroker.job.reason import Reason
from restbroker.job.settlement import Ack, ClaimChange, Dead, Drop, Requeue, Retry, Schedule, Settlement
from restbroker.light import light

KEY_FIELD: Final = "idempotency_key"
"""The text for which a command is done once, within `IdempotencyFor` of its target."""
LOCK_FIELD: Final = "restbroker_unique"
"""What `enqueue --unique` notes of the lock that it took: `key`, `lock` (its name), `for` (seconds) and `until`."""
MOST_BYTES: Final = 256
Until: TypeAlias = Literal["success", "start", "end"]
"""When a lock is given up: once the job is done, or dead; before its first byte; or when its time is over only."""
UNTIL: Final[tuple[Until, ...]] = get_args(Until)
_LOCK: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DONE: Final = "done"
_LONGEST_S: Final = 366 * 86_400.0


@attrs.frozen
class Lock:
    """A lock that was taken for a job when it was pushed. `name` is a digest, `keep_s` how many seconds it lasts."""

    name: str
    key: str
    keep_s: float
    until: Until


@light
class JobClaims:
    """What one job claims. `once`: the name of its claim, which lasts `keep_s` seconds; None: it makes none."""

    jid: str
    once: str | None = None
    keep_s: float = 0.0
    lock: Lock | None = None


@attrs.frozen
class Holder:
    """The job that holds a claim. `ticket`, `identity`: who is at work on it, as far as the claim says; "": no one."""

    jid: str
    ticket: str = ""
    identity: str = ""
    is_done: bool = False


def read_key(fields: Mapping[str, Json], own_jid: str) -> str | None | Reason:
    """Return the job's idempotency key; None if it has none; a reason if there can be none like that.

    `own_jid`: the job id that it was pushed with, "" for none. Its twin could not be told from it then.
    """
    key = fields.get(KEY_FIELD)
    if key is None:
        return None
    if not isinstance(key, str) or not is_key(key):
        return _BAD_KEY
    return key if own_jid else _NO_JID


def is_key(key: str) -> bool:
    """Tell whether this text can be a key."""
    try:
        return 0 < len(key.encode()) <= MOST_BYTES
    except UnicodeEncodeError:
        return False


def once_name(target: str, token: str, key: str) -> str:
    """Return the name of the claim for a key that a job with the token of this name pushed to this target."""
    return f"{target}:{_digest(token, key)}"


def lock_name(target: str, token: str, key: str) -> str:
    """Return the name of the lock for a key of a job with the token of this name, for this target."""
    return _digest(target, token, key)


def lock_fields(lock: Lock) -> dict[str, Json]:
    """Return what the job notes of its lock (`LOCK_FIELD`)."""
    keep: Json = int(lock.keep_s) if lock.keep_s == int(lock.keep_s) else lock.keep_s
    return {"key": lock.key, "lock": lock.name, "for": keep, "until": lock.until}


def lock_of(fields: Mapping[str, Json]) -> Lock | None:
    """Return the lock that was taken for a job when it was pushed; None if none was, or what it says makes no sense."""
    said = fields.get(LOCK_FIELD)
    if not isinstance(said, dict):
        return None
    key, name, keep_s, until = (said.get(part) for part in ("key", "lock", "for", "until"))
    if not isinstance(key, str) or not isinstance(name, str) or _LOCK.fullmatch(name) is None or until not in UNTIL:
        return None
    if isinstance(keep_s, bool) or not isinstance(keep_s, int | float) or not 0 < keep_s <= _LONGEST_S:
        return None
    return Lock(name, key, float(keep_s), cast("Until", until))


def waiting_value(jid: str) -> str:
    """Return the value of a claim on which no one is at work: the job waits for another try, or in its queue."""
    return _written(jid)


def at_work_value(jid: str, ticket: str, identity: str) -> str:
    """Return the value of a claim whose job is about to be sent, or was: it is in progress under this ticket."""
    return _written(jid, ticket, identity)


def done_value(jid: str) -> str:
    """Return the value of a claim whose job is done."""
    return _written(jid, _DONE)


def holder(value: str) -> Holder | None:
    """Return who holds a claim of this value; None if no broker wrote it."""
    try:
        read = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    match read:
        case [str(jid)]:
            return Holder(jid)
        case [str(jid), "done"]:
            return Holder(jid, is_done=True)
        case [str(jid), str(ticket), str(identity)]:
            return Holder(jid, ticket, identity)
    return None


def before_sending(claims: JobClaims, ticket: str, identity: str) -> tuple[ClaimChange, ...]:
    """Return what is claimed, and what is given up, in the instant before a job is sent."""
    changes: tuple[ClaimChange, ...] = ()
    if claims.once is not None:
        own = (waiting_value(claims.jid), mine := at_work_value(claims.jid, ticket, identity))
        changes = (ClaimChange("once", claims.once, own, becomes=mine, keep_s=claims.keep_s),)
    if claims.lock is not None and claims.lock.until == "start":
        changes = (*changes, _released(claims.jid, claims.lock))
    return changes


def give_up_all(claims: JobClaims, *, keeps_end: bool = False) -> tuple[ClaimChange, ...]:
    """Return all that a job may hold, as changes that give it up; `keeps_end`: but for a lock that only time ends."""
    changes: tuple[ClaimChange, ...] = ()
    if claims.once is not None:
        changes = (ClaimChange("once", claims.once, ()),)
    if claims.lock is not None and not (keeps_end and claims.lock.until == "end"):
        changes = (*changes, _released(claims.jid, claims.lock))
    return changes


def at_settlement(
    claims: JobClaims, settlement: Settlement, outcome: object, *, ticket: str, identity: str
) -> tuple[ClaimChange, ...]:
    """Return what becomes of a job's claims with this settlement, which followed from `outcome` (None: from nothing).

    What is tried again keeps them for as long as a new one would be kept, from that try on.
    """
    until_then_s = settlement.delay_s if isinstance(settlement, Retry | Schedule) else 0.0
    mine = at_work_value(claims.jid, ticket, identity)
    changes = (
        _once_then(claims, settlement, outcome, mine=mine, until_then_s=until_then_s),
        _lock_then(claims, settlement, outcome, until_then_s),
    )
    return tuple(change for change in changes if change is not None)


def _once_then(
    claims: JobClaims, settlement: Settlement, outcome: object, *, mine: str, until_then_s: float
) -> ClaimChange | None:
    if claims.once is None or isinstance(outcome, Duplicate):
        return None
    jid, keep_s = claims.jid, claims.keep_s
    own = (waiting_value(jid), mine)
    if isinstance(outcome, Delivered):
        # It is done, even if it dies of an answer that Redis refuses: then a person's retry does it once more.
        becomes = done_value(jid) if isinstance(settlement, Ack) else waiting_value(jid)
        return ClaimChange("once", claims.once, own, becomes=becomes, keep_s=keep_s)
    if isinstance(settlement, Retry | Schedule | Requeue):
        return ClaimChange("once", claims.once, own, becomes=waiting_value(jid), keep_s=keep_s + until_then_s)
    return ClaimChange("once", claims.once, own)


def _lock_then(claims: JobClaims, settlement: Settlement, outcome: object, until_then_s: float) -> ClaimChange | None:
    lock = claims.lock
    if lock is None or lock.until == "end" or (isinstance(outcome, Duplicate) and outcome.jid == claims.jid):
        return None
    if isinstance(settlement, Ack | Dead | Drop):
        return _released(claims.jid, lock)
    if lock.until == "start":
        return None
    return ClaimChange("unique", lock.name, (claims.jid,), becomes=claims.jid, keep_s=lock.keep_s + until_then_s)


def _released(jid: str, lock: Lock) -> ClaimChange:
    return ClaimChange("unique", lock.name, (jid,))


def _written(*parts: str) -> str:
    # Of half a surrogate pair a mark: such a jid cannot be told from others like it, and no client makes one.
    return orjson.dumps([part.encode("utf-8", "replace").decode() for part in parts]).decode()


def _digest(*parts: str) -> str:
    import hashlib  # it loads OpenSSL, and most jobs claim nothing

    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


_BAD_KEY: Final = Reason(
    "BadIdempotencyKey",
    f'The job\'s "{KEY_FIELD}" is not a string of 1 to {MOST_BYTES} bytes, so it is unclear what it must not repeat.',
    "Push it with such a string, or leave the member out.",
)
_NO_JID: Final = Reason(
    "BadIdempotencyKey",
    f'The job has an "{KEY_FIELD}" and no "jid": it cannot be told from another job of the same key.',
    'Push it with a "jid" of its own.',
)
