"""Whether a queue, target or process of this name is known; where it is not, which one is nearest.

Called before something is done with it, by the commands and by `queues` and `find`. Always holds: nothing is done here.
"""

from collections.abc import Collection
from difflib import get_close_matches

from restbroker.errors import UsageError
from restbroker.store import queues
from restbroker.store.client import Client

_MOST_NAMED = 10


def require(kind: str, name: str, known: Collection[str]) -> None:
    """Raises `UsageError`, naming the nearest known name, unless `name` is one of them."""
    if name in known:
        return
    near = get_close_matches(name, sorted(known), n=3)
    raise UsageError(f"There is no {kind} {name!r}.", f"Did you mean {' or '.join(near)}?" if near else _listed(known))


def require_exact(client: Client, queue: str) -> None:
    """Raises `UsageError` where this is not a queue's name but how one is shown that is no UTF-8."""
    # Only such a name is shown with this, so that nothing is asked for others.
    if "\\x" in queue and queue in queues.unreadable(client):
        raise UsageError(
            f"The queue {queue} has a name that is no UTF-8 and is only shown so. Nothing was done.",
            "Look at the keys `queues` and `paused` with redis-cli, which can act on it by its own bytes.",
        )


def _listed(known: Collection[str]) -> str:
    if not known:
        return "None is known on this Redis: RedisURL and RedisNamespace say where it looks."
    names = sorted(known)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"Known are {', '.join(names[:_MOST_NAMED])}{more}."
