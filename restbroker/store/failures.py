"""What redis-py raises, in this project's words. Used by `store.client` only.

Always holds: no password appears in a message, and what heals by itself (a restart, a failover, a full disk, a full
Redis) is `StoreUnavailable`, so that callers wait instead of giving jobs up.
"""

from collections.abc import Mapping, Sequence

from redis import exceptions as redis_errors

from restbroker.errors import RestbrokerError, StoreNotNow, StoreRefused, StoreUnavailable
from restbroker.job import hiding
from restbroker.store.misuse import Misused

_REPLICA = (
    "If there was a failover, wait until it is over. If not, let RedisURL name the primary (on the replica,"
    " redis-cli INFO replication tells which one it is)."
)
_LOG = "Look at the log of Redis."
_PASSING: Mapping[str, tuple[str, str]] = {
    "OOM": (
        "Redis is full (maxmemory). Jobs can still be settled, but not added.",
        "Raise maxmemory, or free memory; redis-cli --bigkeys shows what fills Redis.",
    ),
    "MISCONF": (
        "Redis refuses writes since it cannot save to its disk.",
        "Look at the log of Redis, and at the free space of its disk.",
    ),
    "BUSY": (
        "Redis is busy with another client's script.",
        "Wait until it ends; redis-cli SCRIPT KILL ends one that has written nothing yet.",
    ),
    "READONLY": ("This Redis is a replica: it takes no writes.", _REPLICA),
    "MASTERDOWN": ("This Redis is a replica whose primary is down.", _REPLICA),
    "CLUSTERDOWN": ("The Redis cluster is down.", _LOG),
    "NOREPLICAS": (
        "Redis refuses writes since too few replicas are connected.",
        "Look at its replicas (redis-cli INFO replication), and at its setting min-replicas-to-write.",
    ),
    "NOSCRIPT": (
        "Somebody removes all scripts from Redis again and again (SCRIPT FLUSH).",
        "Find out who does: redis-cli MONITOR shows each command and where it comes from.",
    ),
    "TRYAGAIN": ("Redis asks to try again.", _LOG),
    "UNBLOCKED": ("This Redis became a replica while something waited.", _REPLICA),
}
_NO_DATABASE = "DB index is out of range"
# redis-py cuts the first word off the errors that it has a class for; BUSY, MISCONF, NOREPLICAS and UNBLOCKED keep it.
_CLASSES: tuple[tuple[type[Exception], str], ...] = (
    (redis_errors.OutOfMemoryError, "OOM"),
    (redis_errors.ReadOnlyError, "READONLY"),
    (redis_errors.MasterDownError, "MASTERDOWN"),
    (redis_errors.ClusterDownError, "CLUSTERDOWN"),
    (redis_errors.TryAgainError, "TRYAGAIN"),
    (redis_errors.NoScriptError, "NOSCRIPT"),
)


# What a server says that is not the master any more, or that a failover is about to replace.
_DEMOTED = frozenset({"READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED"})


def translate(
    error: redis_errors.RedisError, address: str, misused: Sequence[Misused] = (), password: str | None = None
) -> RestbrokerError:
    """What to raise instead of redis-py's error. `address` names the server without its password.

    `misused`: which keys are of a wrong type, if that is why, and if it is known. `password`: what it was sent, which
    is not repeated, though what answers there may do so.
    """
    match error:
        case redis_errors.AuthenticationError():
            cure = (
                "Check user and password: RedisURL, and RedisPass or RedisPassFile where given; a change there counts"
                " after a restart of restbroker. In RedisURL a password alone is written redis://:PASSWORD@host."
                " A user that ACL SETUSER made is gone after a restart of Redis, unless it was saved there."
            )
        case redis_errors.BusyLoadingError():
            return StoreNotNow(f"Redis at {address} {briefly(error, password)}.", "Wait until it has started.")
        case redis_errors.TimeoutError():
            cure = "Check its load and the network."
        case redis_errors.ConnectionError():
            cure = "Check that it runs, and RedisURL."
        case _:
            return _from_reply(error, address, misused, password)
    return StoreUnavailable(f"Redis at {address} {briefly(error, password)}.", cure)


def briefly(error: redis_errors.RedisError, password: str | None = None) -> str:
    """What is wrong with a server, as the end of a sentence that begins with its name."""
    match error:
        case redis_errors.AuthenticationError():
            return f"does not accept the login: {_clean(error, password)}"
        case redis_errors.BusyLoadingError():
            return "is loading its data"
        case redis_errors.TimeoutError():
            return "did not answer in time"
        case redis_errors.ConnectionError():
            return f"cannot be reached: {_clean(error, password)}"
        case _:
            return f"refused: {_clean(error, password)}"


def is_demoted(error: redis_errors.RedisError) -> bool:
    """Whether the connection should be made anew, since it may lead to another server then."""
    return _first_word(error) in _DEMOTED


def is_wrong_type(error: redis_errors.RedisError) -> bool:
    """Whether a key of another type was met."""
    return _first_word(error) == "WRONGTYPE"


def _first_word(error: redis_errors.RedisError) -> str:
    return next((word for kind, word in _CLASSES if isinstance(error, kind)), _clean(error).split(" ", 1)[0])


def _from_reply(
    error: redis_errors.RedisError, address: str, misused: Sequence[Misused], password: str | None
) -> RestbrokerError:
    reason, first = _clean(error, password), _first_word(error)
    if first in _PASSING:
        message, cure = _PASSING[first]
        return StoreNotNow(f"Redis at {address}: {message}", cure)
    if reason.endswith(_NO_DATABASE):
        return StoreRefused(
            f"Redis at {address} has no database of the number that is configured.",
            "Choose a smaller one (after the last slash of RedisURL, or RedisDatabase), or raise its setting databases,"
            " which is 16 unless redis.conf says otherwise: 0 to 15.",
        )
    match error:
        case redis_errors.NoPermissionError():
            cure = 'Give this Redis user the rights that docs/sidekiq.md names for it: "A Redis user" (ACL SETUSER).'
        case redis_errors.MovedError() | redis_errors.ClusterCrossSlotError() | redis_errors.AskError():
            cure = "Redis Cluster cannot hold Sidekiq queues; use a single Redis with replicas."
        case _ if misused and first == "WRONGTYPE":
            found = ". ".join(one.what for one in misused)
            return StoreRefused(
                f"Redis at {address} refused what it was asked (WRONGTYPE). {found}.",
                "\n".join(one.cure for one in misused),
            )
        case _:
            cure = "Check that its keys are not used for other things, and that it is Redis >= 7.0 or Valkey >= 7.2."
    return StoreRefused(f"Redis at {address} refused: {reason}", cure)


def _clean(error: Exception, password: str | None = None) -> str:
    # Redis repeats the arguments of a command that it does not know (renamed, or an old server): jobs and secrets.
    # What else may listen there, as a proxy, has words of its own.
    said = str(error).partition(", with args beginning with")[0]
    return hiding.text(said, (password,) if password else ()).rstrip(".")
