"""Whether a queue, target, source of events or process of this name is known; if not, which one is nearest.

Called before something is done with it, by the commands and by `queues` and `find`. Always holds: nothing is changed
here.
"""

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from restbroker.errors import UsageError
from restbroker.job.endpoint import either
from restbroker.store import queues
from restbroker.store.client import Client
from restbroker.store.keys import QueueName

_MOST_NAMED = 10
_ALIKE = 0.7


def require(kind: str, name: str, known: Collection[str]) -> None:
    """Raise `UsageError` with the nearest known name unless `name` is known."""
    if name not in known:
        raise UsageError(f"There is no {kind} {name!r}.", suggestion(name, known))


def suggestion(name: str, known: Collection[str]) -> str:
    """Return a sentence with the known names that are most similar, or with all known ones if none is."""
    near = get_close_matches(name, sorted(known), n=3)
    return f"Did you mean {either(near)}?" if near else _join(known)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar, upper or lower case aside; None if none is similar."""
    plain = {other.casefold(): other for other in sorted(known)}
    # Anyone who pushes by hand may have written the key's beginning twice.
    found = get_close_matches(name.casefold().removeprefix("queue:").strip(), plain, n=1, cutoff=_ALIKE)
    return plain[found[0]] if found else None


def exact(client: Client, queue: str) -> QueueName:
    """Return the queue's name in Redis: `queue`, or the bytes that are shown as `queue` if they are not UTF-8.

    Raise `UsageError` if two queues are shown so.
    """
    # Only such a name is shown with this, so that nothing is asked for others.
    meant = queues.read_odd_names(client).get(queue) if "\\x" in queue else None
    if meant is None:
        return queue
    if queues.looks_escaped(meant) or queues.is_known(client, queue):
        raise UsageError(
            f"More than one queue matches {queue}, because names that are not UTF-8 are shown like this. "
            "Nothing was done.",
            "Use redis-cli on the keys `queues` and `paused`: it shows and takes the bytes of each name.",
        )
    return meant


def _join(known: Collection[str]) -> str:
    if not known:
        return "There are none on this Redis: RedisURL and RedisNamespace choose where to look."
    names = sorted(known)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"Known are {', '.join(names[:_MOST_NAMED])}{more}."
