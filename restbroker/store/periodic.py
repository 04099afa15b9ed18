"""Periodic commands in Redis: up to when each was dealt with, what became of it last, and who paused it.

Used by `broker.periodic`, `operate` and the pages. Always holds: of all processes that find a moment due, one pushes
its job, by Redis' own clock; the mark of a command never goes back, and what a person does leaves it alone.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, cast, get_args

from restbroker.errors import StoreRefused
from restbroker.light import frozen
from restbroker.store import pauses
from restbroker.store.client import Argument, Client, integer, items, mapping, microseconds, text
from restbroker.store.pauses import Pause
from restbroker.store.queues import HeldLock

TickOutcome: TypeAlias = Literal["pushed", "missed", "paused", "overlap"]
"""What became of a moment at which a command was due."""
TickAnswer: TypeAlias = Literal[TickOutcome, "begun", "early", "done", "other"]
_OUTCOMES: Final = get_args(TickOutcome)


@frozen
class DueTick:
    """A moment at which the command `name` is due, and its job.

    `mark_s`: up to when the command was dealt with, as the caller knows it; `between`: how many moments lie between the
    two. `late_s`: how late the job may be pushed. `lock`: the name of its lock, kept for `keep_s` seconds. Times are
    epoch seconds by Redis' clock. `looked_for`: the lock's value whose job was looked for, "" if none was;
    `is_missing`: it was not found (`store.holders`).
    """

    name: str
    digest: str
    mark_s: int
    tick_s: int
    late_s: float
    between: int
    jid: str
    queue: str
    payload: bytes
    lock: str | None = None
    keep_s: float = 0.0
    looked_for: str = ""
    is_missing: bool = False


@frozen
class PeriodicState:
    """What Redis knows of a periodic command. `mark_s`: up to when it was dealt with; None: it has not begun.

    `pushed_at_s`, `jid`: the last job, also one that a person had pushed. `outcome`: what became of the last moment;
    `blocked_by`: the job that the last one was skipped for. `missed`, `skipped`: moments since the beginning.
    """

    mark_s: int | None = None
    pushed_at_s: float | None = None
    jid: str | None = None
    outcome: TickOutcome | None = None
    blocked_by: str | None = None
    missed: int = 0
    skipped: int = 0
    pause: Pause | None = None


def begin(client: Client, name: str, digest: str) -> int:
    """Begin with a schedule, and return up to when the command was dealt with: now, if the schedule is a new one.

    Raise `StoreUnavailable` (it may have begun; the same call again is right) or `StoreRefused`.
    """
    return _call(client, [name, digest, 0, "", 0, 0, "", "", "", 0, "", ""], "", None)[1]


def tick(client: Client, due: DueTick) -> tuple[TickAnswer | HeldLock, int]:
    """Push the job of a moment, or count why not; return what was done, and up to when the command is dealt with.

    A lock: its job is to be looked for first, and nothing was done yet.

    Raise `StoreUnavailable`: it may be done, and the same call again does it once. Raise `StoreRefused`: it was not
    done, and is still due.
    """
    arguments: list[Argument] = [due.name, due.digest, due.mark_s, due.tick_s, int(due.late_s), due.between]
    arguments += [due.jid, due.queue, due.payload, round(due.keep_s * 1000), due.looked_for, int(due.is_missing)]
    return _call(client, arguments, due.queue, due.lock)


def _call(client: Client, arguments: list[Argument], queue: str, lock: str | None) -> tuple[TickAnswer | HeldLock, int]:
    keys = client.keys
    names = [keys.periodic, keys.periodic_pauses, keys.queues, keys.queue(queue)]
    reply = client.run("tick", names if lock is None else [*names, keys.lock(lock)], arguments)
    if isinstance(reply, bytes):
        raise StoreRefused(f"Redis refuses it: {text(reply)}", "Check that key, and find out who wrote it.")
    answer, mark, *held = items(reply, 2)
    if held:
        return HeldLock(text(held[0]), is_stale=True), integer(mark)
    return cast("TickAnswer", text(answer)), integer(mark)


def read(client: Client) -> tuple[float, Mapping[str, PeriodicState]]:
    """Return Redis' time (epoch seconds), and what it knows of each periodic command. Raise as `client.commands`."""
    keys = client.keys
    commands = [("TIME",), ("HGETALL", keys.periodic), ("HGETALL", keys.periodic_pauses)]
    now, noted, paused = client.commands(commands)
    fields, now_us = {name: text(value) for name, value in mapping(noted).items()}, microseconds(now)
    found = pauses.of_notes(paused, now_us)
    names = {name.partition(" ")[0] for name in fields} | found.keys()
    return now_us / 1e6, {name: _state(name, fields, found.get(name)) for name in sorted(names)}


def write_push(client: Client, name: str, jid: str) -> None:
    """Note the job that a person had pushed as the command's last one. Raise `StoreUnavailable` or `StoreRefused`."""
    now_s = microseconds(client.command("TIME")) // 1_000_000
    client.command("HSET", client.keys.periodic, f"{name} push", f"{now_s} {jid}")


def _state(name: str, fields: Mapping[str, str], pause: Pause | None) -> PeriodicState:
    mark = fields.get(name, "").partition(" ")[2]
    pushed, _, jid = fields.get(f"{name} push", "").partition(" ")
    outcome, _, about = fields.get(f"{name} tick", "").partition(" ")
    return PeriodicState(
        mark_s=_number(mark),
        pushed_at_s=_number(pushed),
        jid=jid or None,
        outcome=cast("TickOutcome", outcome) if outcome in _OUTCOMES else None,
        blocked_by=about if outcome == "overlap" else None,
        missed=_number(fields.get(f"{name} missed", "")) or 0,
        skipped=_number(fields.get(f"{name} skipped", "")) or 0,
        pause=pause,
    )


def _number(words: str) -> int | None:
    return int(words) if words.isascii() and words.isdigit() and len(words) < 16 else None
