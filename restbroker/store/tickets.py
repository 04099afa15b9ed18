"""The names that clients make. A job in progress: `number:queue index`; an identity: `host:pid:nonce:target`.

Of a job that was handed out as one of a key (`job.order`), `:` and the key follow; "": that of all jobs without a
key.

Used by the files of the store and by worker pools. Always holds: numbers rise per identity and are never used again,
also across a failover of Redis; queue indices begin at 1.
"""

import re
from collections.abc import Sequence

# Why: docs/design.md#in-progress
_TICKET = re.compile(r"[1-9]\d{0,17}:[1-9]\d{0,8}(:.*)?", re.DOTALL)
MAX_BATCH = 500
"""Jobs per script call, clamped in `fetch` too: Lua's unpack fails beyond about 8,000 values, after the pop."""

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of jobs per call, though always one job: the largest that restbroker stores (`job.job`).

They must arrive within the connection's time-out, and the reader must have room for them.
"""


def ticket_number(ticket: str) -> int:
    """Return the rising number of a ticket."""
    return int(ticket.partition(":")[0])


def ticket_queue(ticket: str) -> int:
    """Return the index of the queue that a ticket's job came from, from 1 on."""
    return int(ticket.split(":", 2)[1])


def has_key(ticket: str) -> bool:
    """Tell whether a ticket's job was handed out as one with a key."""
    return ticket.count(":") > 1


def ticket_key(ticket: str) -> str:
    """Return the key with which a ticket's job was handed out; "" also if there was none."""
    parts = ticket.split(":", 2)
    return parts[2] if len(parts) > 2 else ""


def is_ticket(name: str) -> bool:
    """Tell whether a field of an in-progress hash names a job; of others, only `last` and `hwm` are restbroker's."""
    return _TICKET.fullmatch(name) is not None


def queue_of(ticket: str, queues: Sequence[str]) -> str | None:
    """Return the queue that a ticket's job came from; None if an identity with these queues never made it."""
    index = ticket_queue(ticket)
    return queues[index - 1] if index <= len(queues) else None
