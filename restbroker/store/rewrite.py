"""Has Redis write its append-only file again after a restart. Used by `broker.upkeep`, and by `check`.

A power loss may cut the file inside a script's writes, which stand there between MULTI and EXEC. Redis (7.0.15; others
alike) then starts without that script, but leaves the open MULTI in its file, and the start after next applies the half
of the script that is there: a job that was taken is in no place. A file that was written again has no such half. Always
holds: of several processes that call `acquire_lock`, one learns that it may go first.
"""

from typing import Final

from restbroker.light import frozen
from restbroker.store.client import Client, integer, text
from restbroker.store.leases import LeaseHeld, acquire_in
from restbroker.store.server import info

_LOCK_MS: Final = 600_000
"""Milliseconds that the others wait for the one that goes first: it may die, and Redis may fail to write."""


@frozen
class AppendOnlyFile:
    """The state of Redis' append-only file. `is_whole`: it was written again in this run of Redis.

    `is_under_way`: that is being done, or about to be. `has_failed`: Redis could not do it the last time.
    """

    run_id: str
    is_on: bool
    is_whole: bool
    is_under_way: bool
    has_failed: bool


def append_only_file(client: Client) -> AppendOnlyFile:
    """Return the state of Redis' append-only file. Raise `StoreUnavailable` or `StoreRefused`."""
    fields = info(text(client.command("INFO", "server", "persistence")))
    has_failed = fields.get("aof_last_bgrewrite_status") == "err"
    return AppendOnlyFile(
        fields.get("run_id", ""),
        fields.get("aof_enabled") == "1",
        is_whole=fields.get("aof_last_rewrite_time_sec", "-1") != "-1" and not has_failed,
        is_under_way="1" in (fields.get("aof_rewrite_in_progress"), fields.get("aof_rewrite_scheduled")),
        has_failed=has_failed,
    )


def acquire_lock(client: Client, holder: str, run_id: str) -> bool:
    """Tell whether `holder`, a name of the caller's own, may call `rewrite` in this run of Redis.

    Raise `StoreUnavailable`: the same call again is right.
    """
    key = client.keys.rewrite
    # A full Redis lets this script pass, as it lets pass what drains it.
    (lease,) = acquire_in(client, key, holder, _LOCK_MS, [run_id]).values()
    client.command("PEXPIRE", key, _LOCK_MS)
    return isinstance(lease, LeaseHeld)


def rewrite(client: Client) -> None:
    """Have Redis rewrite the file, which it does beside its work. Raise `StoreUnavailable` or `StoreRefused`."""
    client.command("BGREWRITEAOF")


def may_rewrite(client: Client) -> bool:
    """Tell whether Redis lets this user call for a rewrite, without doing so.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return integer(client.run("allowed", [], ["bgrewriteaof"])) == 1
