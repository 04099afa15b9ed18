"""What becomes of one member of the Go original's retry set. Called by `operate.migrate`; pure.

Always holds: what goes to `retry` is shown by Sidekiq Web, survives Ruby's poller and has a jid. What go-workers writes
there does neither: its `failed_at` and `retried_at` are dates as text ("2006-01-02 15:04:05 UTC", measured), which end
the pages of Sidekiq Web with an error, and its `queue` begins with the namespace.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import attrs

from restbroker.job import job, rubyjson
from restbroker.job.outcome import Reason
from restbroker.job.repair import repair, seconds
from restbroker.job.retry import stamp, wrap_unreadable


@attrs.frozen
class Retry:
    """The member goes to the retry set. `repaired`: its bytes had to change."""

    payload: bytes
    queue: str
    repaired: bool


@attrs.frozen
class Kill:
    """The member is not a job; it goes to the dead set, wrapped."""

    payload: bytes


@attrs.frozen
class Keep:
    """The member stays: its queue is not ours, and another go-workers program may share the set."""

    queue: str


Plan: TypeAlias = Retry | Kill | Keep


def plan(raw: bytes, queues: Sequence[str], namespace: str, now_s: float, nudge: int = 0) -> Plan:
    """Return whether a member of the Go original's retry set is to be retried, becomes dead, or stays.

    `nudge` (microseconds) makes it differ from an equal member of the set that it goes to.
    """
    # From the bytes, so that a second attempt makes the same one.
    spare = hashlib.sha1(raw, usedforsecurity=False).hexdigest()[:24]
    read = job.read(raw, queues[0], spare)
    if isinstance(read, job.NotAJob):
        return _kill(raw, queues, spare, reason=read.reason, now_s=now_s + nudge / 1e6)
    named = read.fields.get("queue")
    if not isinstance(named, str) or not named:
        message = "An entry of the retry set names no usable queue."
        return _kill(raw, queues, spare, reason=Reason("UnreadablePayload", message), now_s=now_s + nudge / 1e6)
    queue = named.removeprefix(f"{namespace}:") if namespace else named
    if queue not in queues:
        return Keep(queue)
    fields = repair(read.fields, queue)
    fields["jid"] = read.jid
    failed_at = seconds(fields.get("failed_at"))
    fields["failed_at"] = stamp(round(now_s if failed_at is None else failed_at, 6), nudge)
    payload = rubyjson.dumps(fields)
    return Retry(payload, queue, payload != raw)


def _kill(raw: bytes, queues: Sequence[str], jid: str, reason: Reason, now_s: float) -> Kill:
    return Kill(
        rubyjson.dumps(wrap_unreadable(raw, queues[0], jid, reason_code=reason.code, message=reason.text, now_s=now_s))
    )
