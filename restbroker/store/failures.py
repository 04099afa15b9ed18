"""Turns failures of Redis into this project's errors. Used by `store.client`, and by `store.sentinel`.

Always holds: no password appears in a message, and a failure that ends by itself (a restart, a failover, a full disk, a
full Redis) is `StoreUnavailable`, so that callers wait and no job becomes dead.
"""

import re
from collections.abc import Mapping
from typing import TypeAlias

from restbroker.config.secret import Secret
from restbroker.errors import RestbrokerError, StoreNotNow, StoreRefused, StoreUnavailable

_FAILOVER = (
    "If a failover is under way, wait until it is over. If not, check Redis' log, its replicas (redis-cli INFO "
    "replication names the master, which RedisURL has to lead to), and its setting min-replicas-to-write."
)
_PASSING: Mapping[str, tuple[str, str]] = {
    "OOM": (
        "Redis is full (maxmemory). Jobs can still be settled, but not added.",
        "Raise maxmemory, or free memory; redis-cli --bigkeys shows what fills Redis.",
    ),
    "MISCONF": (
        "Redis refuses writes because it cannot save to its disk.",
        "Check Redis' log and the free space on its disk.",
    ),
    "BUSY": (
        "Redis is busy with another client's script.",
        "Wait until it ends; redis-cli SCRIPT KILL ends one that has written nothing yet.",
    ),
    "NOSCRIPT": (
        "A client keeps removing all scripts from Redis (SCRIPT FLUSH).",
        "Find out which: redis-cli MONITOR shows each command and its client.",
    ),
}
_RIGHTS = 'Give this Redis user the rights that docs/sidekiq.md names for it: "A Redis user" (ACL SETUSER).'
_AWAITED = frozenset({"READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "TRYAGAIN", "UNBLOCKED"})
"""The codes of a server that a failover is about to replace, or has replaced."""
_DEMOTED = _AWAITED - {"CLUSTERDOWN", "TRYAGAIN"}
_CODES = frozenset(
    {"ERR", "OOM", "WRONGPASS", "EXECABORT", "LOADING", "NOSCRIPT", "NOAUTH", "NOPERM", "CROSSSLOT", *_AWAITED}
)
"""First words of errors that say nothing to a person who reads them."""
_NO_PASSWORD_TEXTS = ("AUTH <password> called without any password", "Client sent AUTH, but no password")
_LOGIN_TEXTS = ("invalid password", *_NO_PASSWORD_TEXTS)
_UNKNOWN = re.compile(
    r"(?i)unknown (redis )?command|(unsupported|disabled) command|command .{0,100}(not (supported|allowed"
    r"|available)|disabled)"
)
_NO_RIGHT_TEXTS = ("The user executing the script can't", "ACL failure in script")
"""How Redis 7.0, and Valkey 9.1, say of a script's command what is NOPERM elsewhere (measured)."""
_AWAY_TEXTS = ("max number of clients reached", "problem with LDAP service")


class ErrorReply(Exception):
    """An error that Redis answered. `code` is its first word, `reason` what a person is shown of it, not yet masked."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code, _, rest = text.partition(" ")
        self.reason = rest if self.code in _CODES else text

    @property
    def is_away(self) -> bool:
        """Whether the server does not serve this connection at all."""
        return self.code == "LOADING" or self.is_login or self.reason.startswith(_AWAY_TEXTS)

    @property
    def is_login(self) -> bool:
        """Whether the login was refused, or is missing."""
        return self.code in {"WRONGPASS", "NOAUTH"} or (self.code == "ERR" and self.reason.startswith(_LOGIN_TEXTS))

    @property
    def has_no_password(self) -> bool:
        """Whether a password was sent to a server that has none."""
        return self.code == "ERR" and self.reason.startswith(_NO_PASSWORD_TEXTS)

    @property
    def is_demotion(self) -> bool:
        """Whether to close the connection and make a new one, which may lead to another server."""
        return self.code in _DEMOTED


Failure: TypeAlias = ErrorReply | OSError
"""What is wrong with a server: an error that it answered, no answer in time (`TimeoutError`), or no way to reach it."""


def translate(error: Failure, address: str, password: Secret | None = None) -> RestbrokerError:
    """Return the error to raise instead of this one. `address` names the server without its password.

    `password`: the one that was sent, which is not repeated, though an answer may do so.
    """
    match error:
        case ErrorReply(has_no_password=True):
            hint = (
                "Remove the password from RedisURL, or RedisPass or RedisPassFile if given; or set one in redis.conf "
                "(requirepass)."
            )
        case ErrorReply(is_login=True):
            hint = (
                "Check user and password: RedisURL, and RedisPass or RedisPassFile if given. restbroker reads a "
                "new password in a file without a restart. Another change takes effect when you restart restbroker. "
                "In RedisURL a password without a user is written redis://:PASSWORD@host. A user made with ACL SETUSER "
                "is gone after a restart of Redis unless it was saved (ACL SAVE or redis.conf)."
            )
        case ErrorReply(code="LOADING"):
            return StoreNotNow(f"Redis at {address} {describe_failure(error, password)}.", "Wait until it has started.")
        case ErrorReply(is_away=False):
            return _from_reply(error, address, password)
        case TimeoutError():
            hint = "Check its load and the network."
        case _:
            hint = "Check that it runs, and RedisURL."
    return StoreUnavailable(f"Redis at {address} {describe_failure(error, password)}.", hint)


def describe_failure(error: Failure, password: Secret | None = None) -> str:
    """Return a failure as the end of a sentence that begins with the server's name; `password` is masked."""
    match error:
        case ErrorReply(has_no_password=True):
            return "does not accept the login: this Redis has no password"
        case ErrorReply(is_login=True):
            return f"does not accept the login: {_clean(error.reason, password)}"
        case ErrorReply(code="LOADING"):
            return "is loading its data"
        case ErrorReply(is_away=False):
            return f"refused: {_clean(error.reason, password)}"
        case ErrorReply():
            return f"cannot be reached: {_clean(error.reason, password)}"
        case TimeoutError():
            return "did not answer in time"
        case _:
            return f"cannot be reached: {_clean(str(error), password)}"


def _from_reply(error: ErrorReply, address: str, password: Secret | None) -> RestbrokerError:
    reason = _clean(error.reason, password)
    if error.code in _PASSING:
        message, hint = _PASSING[error.code]
        return StoreNotNow(f"Redis at {address}: {message}", hint)
    if error.code in _AWAITED:
        return StoreNotNow(f"Redis at {address} refuses for now: {reason}.", _FAILOVER)
    match error.code:
        case "WRONGTYPE":
            reason = "WRONGTYPE: a key is of another type than restbroker needs"
            hint = "restbroker check names the key. Find out who writes it, and move it away (RENAME)."
        case "NOPERM":
            hint = _RIGHTS
        case _ if reason.startswith(_NO_RIGHT_TEXTS):
            reason = f"NOPERM: {reason}"
            hint = _RIGHTS
        case "MOVED" | "ASK" | "CROSSSLOT":
            hint = "Redis Cluster cannot hold Sidekiq queues; use a single Redis with replicas."
        case _ if reason.endswith("DB index is out of range"):
            hint = (
                "Choose a smaller database (after the last slash of RedisURL, or RedisDatabase), or raise "
                "Redis' setting databases, which is 16 unless redis.conf says otherwise: 0 to 15."
            )
        case _ if _UNKNOWN.search(reason):
            hint = (
                "Redis needs to know the commands that docs/sidekiq.md lists: a rename-command in redis.conf, or a "
                "proxy before Redis, hides one, or Redis is older than 7.0 (Valkey: 7.2)."
            )
        case _:
            hint = "Check that its keys are not used for other things, and that it is Redis >= 7.0 or Valkey >= 7.2."
    return StoreRefused(f"Redis at {address} refused a command: {reason}", hint)


def _clean(words: str, password: Secret | None = None) -> str:
    # Redis repeats the arguments of a command that it does not know (renamed, or an old server): jobs and secrets.
    # What else may listen there, as a proxy, has words of its own.
    from restbroker.job import hiding  # as much again as all of the store, and of no use while Redis works

    words = words.partition(", with args beginning with")[0]
    return hiding.text(words, () if password is None else password.texts_read).rstrip(".")
