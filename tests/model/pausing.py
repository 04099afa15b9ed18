"""What pauses of queues and targets mean, those that people make and restbroker's own. Used by `reference`.

Always holds: `now_us` is the clock of Redis, epoch microseconds; what stops fetching and what is noted of it are two
things, and only the first counts.
"""

import math
from collections.abc import Callable, Mapping

from restbroker.store.pauses import OPERATOR, PauseEnd
from tests.model.dataset import DataSet, PauseNote, Reasons


def reasons(data: DataSet, target: str, now_us: int) -> Reasons:
    """Why a target is paused, also where a reason has ended: all are forgotten together, with the last of them."""
    found = data.pauses[target]
    if found.expires_us and now_us > found.expires_us:
        found = data.pauses[target] = Reasons()
    return found


def pause(data: DataSet, target: str, reason: str, for_s: float | None, now_us: int) -> None:
    """The longest pause of the same reason counts."""
    found, until_us = reasons(data, target, now_us), _until_us(for_s, now_us)
    old_us = found.until_us.get(reason, 1)
    if old_us != 0 and (until_us == 0 or until_us > old_us):
        found.until_us[reason] = until_us
    _set_expiry(found)


def resume(data: DataSet, target: str, reason: str, now_us: int) -> bool:
    """The others stay."""
    found = reasons(data, target, now_us)
    ended = found.until_us.pop(reason, None) is not None
    if not found.until_us:
        found.expires_us = 0
    return ended


def pause_target(data: DataSet, target: str, note: PauseNote, now_us: int) -> None:
    """The last pause of a person counts."""
    found = reasons(data, target, now_us)
    data.target_notes[target] = note
    found.until_us[OPERATOR] = note.until_us
    _set_expiry(found)


def resume_target(data: DataSet, target: str, now_us: int) -> bool:
    """A pause by anyone, with the note of a person."""
    data.target_notes.pop(target, None)
    found = reasons(data, target, now_us)
    ended = bool(found.until_us)
    data.pauses[target] = Reasons()
    return ended


def pause_queue(data: DataSet, queue: str, note: PauseNote) -> bool:
    """Whether it was not paused before; the last note counts."""
    new = queue not in data.paused_queues
    data.paused_queues.add(queue)
    data.queue_notes[queue] = note
    return new


def resume_queue(data: DataSet, queue: str) -> bool:
    """With its note."""
    was = queue in data.paused_queues
    data.paused_queues.discard(queue)
    data.queue_notes.pop(queue, None)
    return was


def end_due(data: DataSet, now_us: int) -> list[PauseEnd]:
    """What is due ends and is reported; a note on a queue that others resumed goes silently."""
    queues = _due("queue", data.queue_notes, now_us, lambda queue: queue in data.paused_queues)
    data.paused_queues -= {queue.name for queue in queues}
    targets = _due("target", data.target_notes, now_us, lambda _: True)
    for notes, ended in ((data.queue_notes, queues), (data.target_notes, targets)):
        for end in ended:
            del notes[end.name]
    for queue in data.queue_notes.keys() - data.paused_queues:
        del data.queue_notes[queue]
    return [*queues, *targets]


def note(who: str, why: str, for_s: float | None, now_us: int) -> PauseNote:
    """What is noted of a pause that is made now; nothing said is nothing known."""
    return PauseNote(_until_us(for_s, now_us), who or None, why or None)


def _due(kind: str, notes: Mapping[str, PauseNote], now_us: int, is_paused: Callable[[str], bool]) -> list[PauseEnd]:
    return [
        PauseEnd(kind, name, note.who, note.why)
        for name, note in notes.items()
        if is_paused(name) and 0 < note.until_us <= now_us
    ]


def _until_us(for_s: float | None, now_us: int) -> int:
    return 0 if for_s is None else now_us + round(for_s * 1e6)


def _set_expiry(found: Reasons) -> None:
    """Redis keeps it in milliseconds."""
    ends_us = found.until_us.values()
    found.expires_us = 0 if 0 in ends_us else math.ceil(max(ends_us) / 1000) * 1000
