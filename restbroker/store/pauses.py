"""Pauses that people make: of a queue, a target or a periodic command; and ending those that are due.

Used by `operate`, `broker.upkeep` and the pages. Always holds: a queue is paused by Sidekiq Pro's set `paused`, a
target by the reason `operator` (`store.limits`); the notes beside them, on whom, why and until when, are for people,
and each counts only for the pause that it was made with. A periodic command is paused by its note. Redis' own clock
counts.
"""

from collections.abc import Collection, Mapping

import orjson

from restbroker.job import rubyjson
from restbroker.light import frozen
from restbroker.store.client import Client, Reply, items, mapping, microseconds, names, raw, text, visible
from restbroker.store.keys import QueueName

OPERATOR = "operator"
"""The reason of a target's pause that a person made; the other reasons are restbroker's own."""
_LONGEST_TEXT = 300
_MOST_DIGITS = 20


@frozen
class Pause:
    """One pause. `remaining_s`: seconds until it ends; None: when a person resumes it.

    `since_s` is in epoch seconds. What is not known of the rest is None.
    """

    reason: str
    remaining_s: float | None = None
    who: str | None = None
    why: str | None = None
    since_s: float | None = None


@frozen
class PauseEnd:
    """A noted pause that ended because its time was over. `kind` is "queue", "target" or "periodic"."""

    kind: str
    name: str
    who: str | None
    why: str | None


@frozen
class _StoredPause:
    since_us: int
    until_us: int
    who: str | None
    why: str | None


def pause_queue(client: Client, queue: QueueName, who: str, why: str, for_s: float | None) -> bool:
    """Stop fetching from a queue in every process, for `for_s` seconds; None: until `resume_queue`.

    False: it was paused already, and the new note and end count. Raise `StoreUnavailable`: it may be paused all the
    same; the same call again is right.
    """
    keys = client.keys
    arguments = [queue, _microseconds(for_s), format_note(who, why)]
    return client.run("pause_queue", [keys.paused_queues, keys.queue_pauses], arguments) == 1


def resume_queue(client: Client, queue: QueueName) -> bool:
    """End a queue's pause, no matter who made it. False: there was none. Raise `StoreUnavailable` or `StoreRefused`."""
    keys = client.keys
    ended, _ = client.run_when_full([("SREM", keys.paused_queues, queue), ("HDEL", keys.queue_pauses, queue)])
    return ended == 1


def paused_queues(client: Client) -> Mapping[str, Pause]:
    """Return every paused queue and its pause, whose reason is `operator`, also where `who` is restbroker itself.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    paused, noted, now = client.commands([("SMEMBERS", keys.paused_queues), ("HGETALL", keys.queue_pauses), ("TIME",)])
    notes, now_us = _notes(noted), microseconds(now)
    return {name: _of_queue(notes.get(name), now_us) for name in sorted(names(paused))}


def pause_target(client: Client, target: str, who: str, why: str, for_s: float | None) -> None:
    """Stop fetching for a target in every process, for `for_s` seconds; None: until `resume_target`.

    It replaces an earlier pause by a person. Raise `StoreUnavailable`: it may be paused all the same; the same call
    again is right.
    """
    keys = client.keys
    arguments = [OPERATOR, _microseconds(for_s), target, format_note(who, why)]
    client.run("pause", [keys.pause(target), keys.target_pauses], arguments)


def resume_target(client: Client, target: str) -> bool:
    """End every pause of a target, whoever made it. False: there was none.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    ended, _ = client.run_when_full([("DEL", keys.pause(target)), ("HDEL", keys.target_pauses, target)])
    return ended == 1


def paused_targets(client: Client, targets: Collection[str]) -> Mapping[str, tuple[Pause, ...]]:
    """Return target → its pauses, for these targets and for all others that have a note.

    Targets without a pause are left out. Raise `StoreUnavailable` or `StoreRefused`.
    """
    notes = _notes(client.command("HGETALL", client.keys.target_pauses))
    wanted = sorted({*targets, *notes})
    now, *replies = client.commands([("TIME",), *(("HGETALL", client.keys.pause(name)) for name in wanted)])
    now_us = microseconds(now)
    found = {name: _of_target(reply, notes.get(name), now_us) for name, reply in zip(wanted, replies, strict=True)}
    return {name: pauses for name, pauses in found.items() if pauses}


def pause_periodic(client: Client, name: str, who: str, why: str, for_s: float | None) -> None:
    """Have no process push the jobs of a periodic command, for `for_s` seconds; None: until `resume_periodic`.

    It replaces an earlier pause. Raise `StoreUnavailable`: it may be paused all the same; the same call again is right.
    """
    now_us = microseconds(client.command("TIME"))
    until_us = 0 if for_s is None else now_us + round(for_s * 1e6)
    note = b"%d %d %s" % (now_us, until_us, format_note(who, why))
    client.command("HSET", client.keys.periodic_pauses, name, note)


def resume_periodic(client: Client, name: str) -> bool:
    """End a pause of a periodic command. False: there was none. Raise `StoreUnavailable` or `StoreRefused`."""
    return client.command("HDEL", client.keys.periodic_pauses, name) == 1


def of_notes(reply: Reply, now_us: int) -> Mapping[str, Pause]:
    """Return the pauses of periodic commands that these notes mean: name → pause, without those that are over."""
    notes = {name: note for name, note in _notes(reply).items() if not 0 < note.until_us <= now_us}
    return {name: _of_queue(note, now_us) for name, note in notes.items()}


def are_noted(client: Client) -> bool:
    """Tell whether any pause has a note. Raise `StoreUnavailable` or `StoreRefused`."""
    keys = client.keys
    return client.command("EXISTS", keys.queue_pauses, keys.target_pauses, keys.periodic_pauses) != 0


def end_due(client: Client) -> list[PauseEnd]:
    """End the pauses that are due, and return them; each is returned to one caller only.

    Raise `StoreUnavailable`: some may have ended.
    """
    keys = client.keys
    names = [keys.paused_queues, keys.queue_pauses, keys.target_pauses, keys.periodic_pauses]
    ended = items(client.run("end_pauses", names, []), 3)
    return [
        _read_end(kind, items(pair))
        for kind, pairs in zip(("queue", "target", "periodic"), ended, strict=True)
        for pair in items(pairs)
    ]


def _of_queue(note: _StoredPause | None, now_us: int) -> Pause:
    return Pause(OPERATOR) if note is None else _pause(OPERATOR, note.until_us, note, now_us)


def _of_target(reply: Reply, note: _StoredPause | None, now_us: int) -> tuple[Pause, ...]:
    until = {reason: until_us_of(end) for reason, end in mapping(reply).items()}
    lasting = {reason: until_us for reason, until_us in sorted(until.items()) if not 0 < until_us <= now_us}
    # A pause that was made by hand since then has another end.
    own = {OPERATOR: note} if note is not None and lasting.get(OPERATOR) == note.until_us else {}
    return tuple(_pause(reason, until_us, own.get(reason), now_us) for reason, until_us in lasting.items())


def _pause(reason: str, until_us: int, note: _StoredPause | None, now_us: int) -> Pause:
    remaining_s = max(0.0, (until_us - now_us) / 1e6) if until_us else None
    if note is None:
        return Pause(reason, remaining_s)
    return Pause(reason, remaining_s, note.who, why=note.why, since_s=note.since_us / 1e6)


def _read_end(kind: str, pair: list[Reply]) -> PauseEnd:
    name, noted = pair
    note = _read(raw(noted))
    return PauseEnd(kind, text(name), note.who, note.why)


def _notes(reply: Reply) -> Mapping[str, _StoredPause]:
    return {name: _read(note) for name, note in mapping(reply).items()}


def _read(note: bytes) -> _StoredPause:
    """Return the note that the scripts wrote; a note in another form has no times and no texts."""
    since, _, rest = note.partition(b" ")
    until, _, words = rest.partition(b" ")
    fields = rubyjson.object_of(words) or {}
    who, why = fields.get("who"), fields.get("why")
    known = isinstance(who, str) and who, isinstance(why, str) and why
    return _StoredPause(until_us_of(since), until_us_of(until), known[0] or None, known[1] or None)


def until_us_of(text: bytes) -> int:
    """Return a pause's end (epoch microseconds) as fetch reads it: 0, and what is no number, has no end."""
    return int(text) if text.isdigit() and len(text) < _MOST_DIGITS else 0


def format_note(who: str, why: str) -> bytes:
    """Return who paused something and why, as notes have it."""
    return orjson.dumps({"who": visible(who, _LONGEST_TEXT), "why": visible(why, _LONGEST_TEXT)})


def _microseconds(for_s: float | None) -> int | str:
    return "" if for_s is None else max(0, round(for_s * 1e6))
