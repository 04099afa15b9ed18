"""Names: whether a queue, target, source of events or process is known, else the nearest; how keys of jobs are named.

Called by the commands and by what they do. Always holds: nothing is changed here; secrets in keys are masked.
"""

import shlex
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from restbroker.errors import UsageError
from restbroker.job.endpoint import either
from restbroker.job.fairness import BEFORE_ORDER, BETWEEN
from restbroker.store import queues
from restbroker.store.client import Client
from restbroker.store.keys import QueueName

if TYPE_CHECKING:  # `stats` needs none of it
    from restbroker.operate.context import ConfigContext

_MOST_NAMED = 10
_ALIKE = 0.7
SHOWN_BETWEEN: Final = " | "
"""It stands between the parts of a key of jobs, those by which it takes turns before those of its order."""


def require(kind: str, name: str, known: Collection[str]) -> None:
    """Raise `UsageError` with the nearest known name unless `name` is known."""
    if name not in known:
        raise UsageError(f"There is no {kind} {name!r}.", suggestion(name, known))


def suggestion(name: str, known: Collection[str]) -> str:
    """Return a sentence with the known names that are most similar, or with all known ones if none is."""
    near = get_close_matches(name, sorted(known), n=3)
    if near or known:
        return f"Did you mean {either(near)}?" if near else f"Known are {listed(sorted(known))}."
    return "There are none on this Redis: RedisURL and RedisNamespace choose where to look."


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


def listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence: the first ten, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}"


def display_name(key: str, known: "ConfigContext") -> str:
    """Return the name of a key of jobs for people, with secrets masked."""
    from restbroker.job import hiding  # `stats` needs none of it

    parts = key.removeprefix(BEFORE_ORDER).replace(BEFORE_ORDER, BETWEEN)
    return hiding.mask_secrets(parts.replace(BETWEEN, SHOWN_BETWEEN), known.secrets)


def keys_command(verb: str, key: str, more: str = "") -> str:
    """Return what to type to have `restbroker keys` do this with a key; `more`: what is needed besides the key.

    What terminals do not show is in the form that bash reads.
    """
    if key.isprintable():
        word = shlex.quote(key)
    else:
        plain = key.replace("\\", "\\\\").replace("'", "\\'")
        word = "$'" + "".join(text if text.isprintable() else f"\\U{ord(text):08x}" for text in plain) + "'"
    words = f"{more} -- {word}" if key.startswith("-") else f" {word}{more}"
    return f"restbroker keys {verb}{words}"
