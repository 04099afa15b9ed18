"""Which jobs must not be done twice: what a job says of that, and what stands in Redis of it. Pure.

Two kinds. A *lock* is taken by `enqueue --unique` in the step that pushes the job; no second job of its key is pushed
as long as it lasts. A *claim* is taken by a broker in the instant before it sends a job with an `idempotency_key`; a
job that finds the claim of another one is not sent. Admission reads both; `job.claim_changes` says what is taken before
the first byte, and what the settlement makes of them. Always holds: who holds one is told by its job id, so that a
retry, a promotion and a recovery meet their own and pass; a claim also says which ticket is at work, so that a second
push of the same job, id included, is told from the first; of a command and its arguments a claim has only what no one
can guess who does not know the token's secret.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import orjson

from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.job.reason import Reason
from restbroker.light import frozen, frozen_plain

if TYPE_CHECKING:  # of use to brokers alone: what pushes a job from a shell loads little
    from restbroker.job.outcome import Delivered

KEY_FIELD: Final = "idempotency_key"
"""The text for which a command is done once, within `IdempotencyFor` of its target."""
LOCK_FIELD: Final = "restbroker_unique"
"""What `enqueue --unique` notes of the lock that it took: `key`, `lock` (its name) and `for` (seconds)."""
MOST_BYTES: Final = 256
_LOCK: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DONE: Final = "done"
_LONGEST_S: Final = 366 * 86_400.0
_OF_SECRET: Final = 6
_OF_COMMAND: Final = 16
"""So many hexadecimal digits of a mark tell of its secret, and of its command."""
_MOST_OF_NOTE: Final = 64


@frozen
class Lock:
    """A lock that was taken for a job when it was pushed. `name` is a digest, `keep_s` how many seconds it lasts."""

    name: str
    key: str
    keep_s: float


@frozen_plain
class JobClaims:
    """What one job claims. `once`: the name of its claim, which lasts `keep_s` seconds; None: it makes none.

    `mark`: what tells its command and arguments from others (`command_mark`); "": nothing does.
    """

    jid: str
    once: str | None = None
    keep_s: float = 0.0
    lock: Lock | None = None
    mark: str = ""


@frozen
class Holder:
    """The job that holds a claim. `ticket`, `identity`: who is at work on it, as far as the claim says; "": no one.

    `mark`: as of `JobClaims`. `result`: outcome, status and note of a job that is done, as far as the claim says.
    """

    jid: str
    ticket: str = ""
    identity: str = ""
    is_done: bool = False
    mark: str = ""
    result: tuple[Json, ...] = ()

    @property
    def is_waiting(self) -> bool:
        """Whether the job waits for another try, or in its queue."""
        return not self.ticket and not self.is_done

    def is_of_other_command(self, claims: JobClaims) -> bool:
        """Tell whether this job is certainly another command, or has other arguments, than the one that claims."""
        ours, theirs = claims.mark, self.mark
        # Marks of another secret tell nothing, as after a rotation; and an edited job is still the same one.
        return self.jid != claims.jid and ours[:_OF_SECRET] == theirs[:_OF_SECRET] and ours != theirs


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
    return {"key": lock.key, "lock": lock.name, "for": keep}


def lock_of(fields: Mapping[str, Json]) -> Lock | None:
    """Return the lock that was taken for a job when it was pushed; None if none was, or what it says makes no sense."""
    said = fields.get(LOCK_FIELD)
    if not isinstance(said, dict):
        return None
    key, name, keep_s = (said.get(part) for part in ("key", "lock", "for"))
    if not isinstance(key, str) or not isinstance(name, str) or _LOCK.fullmatch(name) is None:
        return None
    if isinstance(keep_s, bool) or not isinstance(keep_s, int | float) or not 0 < keep_s <= _LONGEST_S:
        return None
    return Lock(name, key, float(keep_s))


def command_mark(secret: str, command: Command) -> str:
    """Return what tells a command and its arguments from others, under this secret; "" if they are very many values."""
    import hmac  # they load OpenSSL, and most jobs claim nothing

    from restbroker.job import signing
    from restbroker.job.arguments import Submission

    if not signing.is_signable(Submission(command, None, None)):
        return ""
    texts = ("a command with a key", signing.canonical([command.endpoint, dict(command.arguments)]))
    of_secret, own = (
        hmac.new(secret.encode(), text.encode("utf-8", "surrogatepass"), "sha256").hexdigest() for text in texts
    )
    return of_secret[:_OF_SECRET] + own[:_OF_COMMAND]


def own_lock(fields: Mapping[str, Json], target: str, token: str) -> Lock | None:
    """Return the lock of a job that this token pushed to this target; None if it has none, or names another's."""
    lock = lock_of(fields)
    return lock if lock is not None and lock.name == lock_name(target, token, lock.key) else None


def waiting_value(jid: str, mark: str = "") -> str:
    """Return the value of a claim on which no one is at work: the job waits for another try, or in its queue."""
    return _written(jid, "", "", mark)


def at_work_value(jid: str, ticket: str, identity: str, mark: str = "") -> str:
    """Return the value of a claim whose job is about to be sent, or was: it is in progress under this ticket."""
    return _written(jid, ticket, identity, mark)


def done_value(jid: str, mark: str = "", outcome: "Delivered | None" = None) -> str:
    """Return the value of a claim whose job is done, with this outcome as far as it is known."""
    result: list[Json] = []
    if outcome is not None:
        note = (outcome.note or "").encode()[:_MOST_OF_NOTE].decode("utf-8", "ignore")
        result = ["negative" if outcome.negative else "delivered", outcome.status, note or None]
    return _written(jid, _DONE, "", mark, result=result)


def holder(value: str) -> Holder | None:
    """Return who holds a claim of this value, with or without a moment; None if no broker wrote it."""
    try:
        read = orjson.loads(value if value.endswith("]") else value.rpartition(" ")[0])
    except orjson.JSONDecodeError:
        return None
    match read:
        case [str(jid), "done", "", str(mark), *result]:
            return Holder(jid, is_done=True, mark=mark, result=tuple(result))
        case [str(jid), str(ticket), str(identity), str(mark)]:
            return Holder(jid, ticket, identity, mark=mark)
    return None


def lock_holder(value: str) -> str:
    """Return the id of the job that holds a lock of this value, which has a moment behind it."""
    return value.rpartition(" ")[0]


def _written(*parts: str, result: Sequence[Json] = ()) -> str:
    # Of half a surrogate pair a mark: such a jid cannot be told from others like it, and no client makes one.
    return orjson.dumps([*(part.encode("utf-8", "replace").decode() for part in parts), *result]).decode()


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
