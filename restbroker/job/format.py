"""What producers and brokers agree on besides a job's arguments: how large it may be, and where its answers go.

Used by the other rules, by the store and by `enqueue`. Always holds: it needs no other rule, so that a shell command
that pushes one job loads little.
"""

import re
from typing import Final

from restbroker.light import frozen

PAYLOAD_LIMIT_BYTES: Final = 1024 * 1024
_REPLY_PREFIX: Final = "restbroker:reply:"
_LARGE_PREFIX: Final = "restbroker:large:"
_LARGE_KEY: Final = re.compile(f"{_LARGE_PREFIX}[0-9a-f]{{24}}", re.ASCII)
_LARGE_NAME: Final = re.compile(rb"restbroker:large:([0-9a-f]{24})")
_REPLY_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@frozen
class ResponseQueue:
    """The queue that the reply jobs of dead jobs go to, and their class; a target without details has none."""

    name: str
    job_class: str


def is_reply_key(name: str) -> bool:
    """Tell whether a producer may ask for an answer in this key.

    Any other key is refused, or a producer could write into any key of Redis.
    """
    return name.startswith(_REPLY_PREFIX) and reply_key(name) is not None


def reply_key(given: object) -> str | None:
    """Return the key for the answer that a `reply_to` names, by itself or by the name in it; None if it names none."""
    name = given.removeprefix(_REPLY_PREFIX) if isinstance(given, str) else ""
    return f"{_REPLY_PREFIX}{name}" if _REPLY_NAME.fullmatch(name) else None


def large_key(jid: str) -> str:
    """Return the key in which the bytes of a job that is too large are kept, by the id that was made for it."""
    return f"{_LARGE_PREFIX}{jid}"


def is_large_key(name: object) -> bool:
    """Tell whether this is the name of such a key, and nothing else."""
    return isinstance(name, str) and _LARGE_KEY.fullmatch(name) is not None


def named_large(payload: bytes) -> list[str]:
    """Return the ids in all such keys that a payload names."""
    return [name.decode() for name in _LARGE_NAME.findall(payload)]
