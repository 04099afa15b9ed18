"""Checks whether this user may have Redis rewrite its append-only file. Called by `operate.check_store`.

Always holds: no rewrite is started, and nothing is written.
"""

from collections.abc import Iterator

from restbroker.servers.findings import Finding, ok
from restbroker.store.client import Client
from restbroker.store.rewrite import may_rewrite
from restbroker.store.server import ServerInfo

_AREA = "redis"


def check_rewrite(client: Client, info: ServerInfo) -> Iterator[Finding]:
    """Yield whether Redis lets this user call for a rewrite; nothing if it writes no append-only file.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    if not info.aof_enabled:
        return
    if may_rewrite(client):
        message = "This user may make Redis rewrite its append-only file (BGREWRITEAOF), as `restbroker run` does."
        yield ok(_AREA, "TornFile", f"{message} So a power loss cannot leave a change half written.")
        return
    yield Finding(
        "warning",
        _AREA,
        "TornFile",
        message="This user may not make Redis rewrite its append-only file (BGREWRITEAOF).",
        why="A power loss may leave half a change at the end of that file. Redis ignores it at its next start, but may "
        "apply it at the one after, and then loses jobs.",
        hint="redis-cli ACL SETUSER USER +bgrewriteaof, with the name of this user. If that is not possible, run "
        "redis-check-aof --fix on the file before you start Redis after a crash of its machine.",
    )
