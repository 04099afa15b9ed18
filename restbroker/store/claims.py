"""Locks and claims (`job.claims`) in Redis: claimed before the first byte, given up by people; which jobs were done.

Used by brokers and `operate`; `settling` does what a settlement says of them, and `queues` takes a lock with a push.
Always holds: a claim is taken over from a ticket only if Redis does not list that ticket any more, since its process
died and its job came back. A signed job that is listed as done was done, whichever queue it came from; one that is not
was not done, or its record has expired. A token has two sets for each queue: `first` for what is done at its first try,
`stored` for what was once stored with a mark of acceptance, and is therefore known for as long as that is good.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Final, TypeAlias

from restbroker.job import claims
from restbroker.job.claims import Holder, Lock
from restbroker.job.settlement import ClaimChange, Fingerprint
from restbroker.light import frozen
from restbroker.store.client import Argument, Client, ScriptCall, integer, items, microseconds, names, pair, raw, text
from restbroker.store.client import number as score
from restbroker.store.jobs import IdentityUnknown
from restbroker.store.keys import RedisKeys
from restbroker.store.settling import arguments_of, claim_key, fingerprint_members

_ROUNDS: Final = 3
"""How often a job asks again in one call that finds a claim whose ticket is gone."""


@frozen
class ClaimRequest:
    """What the job of this id claims and gives up before it is sent, under this ticket."""

    ticket: str
    jid: str
    changes: tuple[ClaimChange, ...]


@frozen
class OtherHolder:
    """Another job has the claim, or the same one that was pushed twice. This one must not be sent.

    `due_in_s`: in how many seconds that job is tried again (negative: since when that is due); None: it does not wait.
    """

    job: Holder
    due_in_s: float | None = None


@frozen
class UnreadableClaim:
    """A claim's key is of another type, so that no one can say whether another job has it."""


ClaimAnswer: TypeAlias = bool | OtherHolder | UnreadableClaim
"""True: claimed. False: the job is no more in progress, and must not be sent."""


def claim(client: Client, identity: str, requests: Sequence[ClaimRequest]) -> IdentityUnknown | list[ClaimAnswer]:
    """Claim what each job needs before it is sent, and return one answer each.

    `IdentityUnknown`: nothing was claimed. Raise `StoreUnavailable` (they may be claimed all the same; the same call
    again is right) or `StoreRefused`.
    """
    answers: dict[int, ClaimAnswer] = {}
    # The value of a claim that a job may take over, since whose it was has ended.
    over: dict[int, bytes] = {}
    pending = list(range(len(requests)))
    for tries in count(1):
        reply = client.run(*_claim_call(client.keys, identity, [(requests[n], over.get(n)) for n in pending]))
        if reply == b"FENCED":
            return IdentityUnknown()
        again: list[int] = []
        for n, code in zip(pending, items(reply, len(pending)), strict=True):
            if not isinstance(code, list):
                answers[n] = code == 1
            elif not code:
                answers[n] = UnreadableClaim()
            elif tries < _ROUNDS and _is_over(client, requests[n].jid, raw(code[0])):
                over[n] = raw(code[0])
                again.append(n)
            else:
                held = claims.holder(text(code[0])) or Holder("?", is_done=True)
                # In nobody's hands: its process died, and it comes again.
                waits = held.is_waiting or (not held.is_done and not _is_at_work(client, held))
                answers[n] = OtherHolder(held, int(text(code[1]) or 0) / 1000 if waits else None)
        if not again:
            return [answers[n] for n in range(len(requests))]
        pending = again
    raise AssertionError  # no number is the last


def read(client: Client, changes: Sequence[ClaimChange]) -> list[str | None]:
    """Return the value of each of these locks and claims; None: it is free. Raise the store's errors."""
    if not changes:
        return []
    values = client.commands([("GET", claim_key(client.keys, change)) for change in changes])
    return [None if value is None else text(value) for value in values]


def release(client: Client, jobs: Iterable[tuple[str, Sequence[ClaimChange]]]) -> int:
    """Give up what jobs hold that a person took away: pairs of a job's id and its locks and claims.

    Return how many were released. A claim of what is done stays. Raise the store's errors: some may be released.
    """
    wanted = [(jid, change) for jid, changes in jobs for change in changes]
    if not wanted:
        return 0
    held = read(client, [change for _, change in wanted])
    own: dict[str, str] = {}
    for (jid, change), value in zip(wanted, held, strict=True):
        if value is not None and _may_release(client, jid, change, value):
            own[claim_key(client.keys, change)] = value
    return sum(integer(code) for code in items(client.run("release", list(own), list(own.values())))) if own else 0


def prolong(client: Client, locks: Sequence[tuple[str, Lock, float]]) -> None:
    """Let locks last for as long as a new one would from when their jobs, which wait, are due: (jid, lock, seconds).

    One that another job has by now stays as it is. Raise the store's errors: some may be prolonged.
    """
    changes = [ClaimChange("unique", lock.name, (jid,)) for jid, lock, _ in locks]
    calls = [
        ("PEXPIRE", claim_key(client.keys, change), round((lock.keep_s + waits_s) * 1000), "GT")
        for change, value, (jid, lock, waits_s) in zip(changes, read(client, changes), locks, strict=True)
        if value is not None and claims.lock_holder(value) == jid
    ]
    if calls:
        client.commands(calls)


def _claim_call(keys: RedisKeys, identity: str, requests: Sequence[tuple[ClaimRequest, bytes | None]]) -> ScriptCall:
    numbers: dict[str, int] = {}
    arguments: list[Argument] = [identity]
    for request, over in requests:
        arguments += [request.ticket, len(request.changes)]
        for change in request.changes:
            value, keep_ms, owned, *own = arguments_of(change)
            if over is not None and change.kind == "once":
                owned, own = int(owned) + 1, [*own, over]
            number = numbers.setdefault(claim_key(keys, change), len(numbers) + 1)
            arguments += [number, value, keep_ms, owned, *own]
    return "claim", [keys.heartbeats, keys.in_progress(identity), *numbers], arguments


def _is_over(client: Client, jid: str, value: bytes) -> bool:
    """Tell whether the job of this id may take over a claim of this value: no one is at work for it any more."""
    held = claims.holder(text(value))
    if held is None:
        # No broker wrote it, so that it speaks of no job.
        return True
    return held.jid == jid and not held.is_done and not _is_at_work(client, held)


def _may_release(client: Client, jid: str, change: ClaimChange, value: str) -> bool:
    """Tell whether a lock or claim of this value is released with the job of this id, which a person took away."""
    if change.kind == "unique":
        return claims.lock_holder(value) == jid
    held = claims.holder(value)
    return held is not None and held.jid == jid and not held.is_done and not _is_at_work(client, held)


def _is_at_work(client: Client, held: Holder) -> bool:
    return bool(held.ticket) and client.command("HEXISTS", client.keys.in_progress(held.identity), held.ticket) == 1


def stored_for_s(client: Client, fingerprints: Sequence[Fingerprint]) -> list[float]:
    """Return for how many seconds a stored mark of each job's acceptance may still be good; 0: none is.

    Infinite: the job was done. Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys, tokens = client.keys, list(dict.fromkeys(fingerprint.token for fingerprint in fingerprints))
    *named, time = client.commands([*(("SMEMBERS", keys.done_sets(token)) for token in tokens), ("TIME",)])
    sets = {token: names(reply) for token, reply in zip(tokens, named, strict=True)}
    in_sets = [
        (place, keys.done_jobs(fingerprint.token, n))
        for place, fingerprint in enumerate(fingerprints)
        for n in sets[fingerprint.token]
    ]
    calls = [("ZMSCORE", key, *fingerprint_members(fingerprints[place])) for place, key in in_sets]
    answers = [0.0] * len(fingerprints)
    for (place, _), reply in zip(in_sets, client.commands(calls), strict=True):
        done, stored = pair(reply)
        left_s = 0.0 if stored is None else (score(stored) - microseconds(time) / 1000) / 1000
        answers[place] = max(answers[place], left_s if done is None else math.inf)
    return answers
