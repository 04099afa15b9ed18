"""Whether a queue, target or process of this name is known; where it is not, which one is nearest.

Called by the commands before they act. Always holds: nothing is done here.
"""

from collections.abc import Collection
from difflib import get_close_matches

from restbroker.errors import UsageError

_MOST_NAMED = 10


def require(kind: str, name: str, known: Collection[str]) -> None:
    """Raises `UsageError`, naming the nearest known name, unless `name` is one of them."""
    if name in known:
        return
    near = get_close_matches(name, sorted(known), n=3)
    raise UsageError(f"There is no {kind} {name!r}.", f"Did you mean {' or '.join(near)}?" if near else _listed(known))


def _listed(known: Collection[str]) -> str:
    if not known:
        return "None is known on this Redis: RedisURL and RedisNamespace say where it looks."
    names = sorted(known)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"Known are {', '.join(names[:_MOST_NAMED])}{more}."
