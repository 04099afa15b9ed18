"""What a settlement and a move do to the data set: all of it, or nothing but a code.

Used by `reference`.
"""

from typing import assert_never

from restbroker.job.format import is_reply_key
from restbroker.job.settlement import Ack, Dead, Drop, Fingerprint, Reply, Requeue, Retry, Schedule, Settlement
from restbroker.store.codes import Applied, Code, Gone, Refused
from restbroker.store.sets import Placement
from restbroker.store.tickets import ticket_number
from tests.model.dataset import DataSet


def settle(data: DataSet, queue: str, ticket: str, settlement: Settlement, raw: bytes, now_s: float) -> Code:
    """Gives the job `raw` of `queue` its place, with its replies and counts. `now_s`: epoch seconds of Redis."""
    if isinstance(settlement, Dead) and settlement.large:
        data.large[settlement.large] = raw
    code = _place(data, queue, settlement, raw, now_s)
    if code != Applied():
        return code
    replies = [(reply, _key(reply)) for reply in _of(settlement)]
    if not all(data.can_push(reply.queue, key) for reply, key in replies):
        _take_away(data, settlement)
        return Refused("")
    for reply, key in replies:
        data.lists[key].insert(0, reply.payload)
    if isinstance(settlement, Dead):
        data.copies.append((ticket, settlement.payload))
    for change in settlement.claims:
        if isinstance(change, Fingerprint):
            data.remember(change)
    data.processed += not isinstance(settlement, Requeue | Schedule)
    data.failed += isinstance(settlement, Retry | Dead | Drop)
    return code


def is_too_large(raw: bytes, limit_bytes: int) -> bool:
    """Whether a job's bytes stay in Redis."""
    return len(raw) > limit_bytes and not (len(raw) <= 4 * limit_bytes and b'"restbroker_' in raw)


def kill(data: DataSet, settlement: Dead, ticket: str, now_s: float) -> Code:
    """Make a job of a dead process dead; a reply that is refused is left out."""
    code = data.kill(ticket, settlement.payload, now_s)
    if code == Applied():
        owed = [(reply, _key(reply)) for reply in settlement.replies]
        given = [(reply, key) for reply, key in owed if data.can_push(reply.queue, key)]
        for reply, key in given:
            data.lists[key].insert(0, reply.payload)
        data.unanswered += len(given) < len(owed)
    return code


def place(data: DataSet, zset: str, move: Placement) -> Code:
    """Gives one member its place."""
    score = data.sets[zset].pop(move.old, None)
    if score is None:
        return Gone()
    new = move.new or move.old
    if move.queue is not None:
        code: Code = Applied() if data.can_push(move.queue, f"queue:{move.queue}") else Refused("")
        if code == Applied():
            data.lists[f"queue:{move.queue}"].insert(0, new)
    elif move.zset is None:
        code = Applied()
    else:
        code = data.add(move.zset, new, score if move.score is None else move.score)
        if code == Applied() and move.zset == "dead" != zset:
            data.copies.append(("", new))
    if code != Applied():
        data.sets[zset][move.old] = score
    return code


def is_forbidden(settlement: Settlement) -> bool:
    """Whether a reply would go to a key that is none for replies."""
    return any(reply.queue is None and not is_reply_key(reply.key or "") for reply in _of(settlement))


def rank(ticket: str, settlement: Settlement) -> tuple[bool, int]:
    """The order within a batch: what goes back comes last, the newest first."""
    goes_back = isinstance(settlement, Requeue)
    return goes_back, -ticket_number(ticket) if goes_back else 0


def _of(settlement: Settlement) -> tuple[Reply, ...]:
    return () if isinstance(settlement, Requeue | Schedule) else settlement.replies


def _key(reply: Reply) -> str:
    return f"queue:{reply.queue}" if reply.queue is not None else reply.key or ""


def _place(data: DataSet, queue: str, settlement: Settlement, raw: bytes, now_s: float) -> Code:
    match settlement:
        case Ack() | Drop():
            return Applied()
        case Retry(delay_s, payload):
            return data.add("retry", payload, now_s + delay_s)
        case Dead(at_s, payload):
            return data.add("dead", payload, at_s)
        case Schedule(delay_s, payload):
            return data.add("schedule", payload, now_s + delay_s)
        case Requeue(payload):
            return data.append(queue, payload or raw)
        case _:
            assert_never(settlement)


def _take_away(data: DataSet, settlement: Settlement) -> None:
    match settlement:
        case Retry(_, payload):
            del data.sets["retry"][payload]
        case Dead(_, payload):
            del data.sets["dead"][payload]
        case _:
            pass
