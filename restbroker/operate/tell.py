"""Tells whom `Tell` names what is wrong: rows of `operate.problems`, and of jobs that died by target and cause.

`app.services` makes a `Teller` for a process; the one with the lease looks every ten seconds. `decide` has all rules.
Always holds: what is told is made of codes, names, counts and commands of ours, never of a server's words; it is a job
that expires and never dies, and its failure is a row that is never told. A message is pushed before that is noted, with
an id made of what was noted before, which Redis knows for longer than a lease: a crash in between doubles none.
"""

import json
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from secrets import token_hex
from typing import Final, cast

import attrs
import trio

from restbroker.config.core import Config, LoadedConfig
from restbroker.errors import StoreUnavailable, UsageError
from restbroker.job import rubyjson
from restbroker.job.event_command import UnfitEvent
from restbroker.job.json_types import Json
from restbroker.light import define, field, frozen
from restbroker.operate import enqueue
from restbroker.operate.connect import open_store
from restbroker.operate.context import context_of
from restbroker.operate.handovers import TOLD, CommandJobs
from restbroker.operate.problems import problems
from restbroker.operate.summary import Summaries
from restbroker.operate.system import stopped_keys, system
from restbroker.servers.findings import Finding, ok
from restbroker.store import queues
from restbroker.store.client import Client, raw, visible
from restbroker.store.connection import Connection
from restbroker.store.leases import LeaseHeld, acquire_in
from restbroker.store.server import time_s
from restbroker.telemetry.events import OperatorWarning, Report

LOOK_S: Final = 10.0
MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
MOST: Final = 10
"""So many messages are pushed in an hour."""
_LEASE_MS: Final = 30_000
_EXPIRE_S: Final = 600.0
_MOST_ROWS: Final = 200
_DIED_S: Final = 600.0
"""For so long after its last death a cause is a row."""
_OVER: Final = " is over: it was not seen for an hour"
_BACK: Final = " was so for more than a minute, and no longer is"
_HOLDS: Final = ("TargetDown", "TargetDenied", "TargetPaused", "DeadSetFull", "Refused")
"""With such a row a target carries no news; that there was one is told once it is gone."""
_STEPS: Final = {"targets": "targets", "processes": "processes", "jobs": "queues"}
_STEP: Final = "restbroker stats --problems"
_TRY_S: Final = 15.0
_UNANSWERED: Final = {"code": "Unanswered", "message": "No answer came.", "cure": "Start `restbroker run`."}


@frozen
class Entry:
    """Since when a row is there (0: only that it is over was told), since when it is gone (0: it is not), when told.

    All in epoch seconds. `jid`: the job that told it, until its end is known.
    """

    since_s: float
    gone_s: float = 0.0
    told_s: float = 0.0
    jid: str = ""


def decide(
    told: Mapping[str, Entry], rows: Collection[str], now_s: float, carrier: str = ""
) -> tuple[dict[str, tuple[str, str]], dict[str, Entry]]:
    """Return the rows to tell now, each with the job's id and a note ("": it is there), and what is known from now on.

    Rows are `CODE SUBJECT`, the gravest first. `carrier`: the target that carries the news.
    """
    own = {f"{code} {carrier}" for code in _HOLDS}
    room = MOST - sum(now_s - entry.told_s < HOUR_S for entry in told.values()) if own.isdisjoint(rows) else 0
    due: dict[str, tuple[str, str]] = {}
    known: dict[str, Entry] = {}
    for name in dict.fromkeys([*rows, *told]):
        entry, place = told.get(name, Entry(now_s)), name
        rests = now_s - entry.told_s >= HOUR_S
        if name in rows:
            entry = attrs.evolve(entry, since_s=now_s if entry.gone_s else entry.since_s, gone_s=0.0)
        elif not entry.gone_s:
            # What went within an hour of being told was told, also if it came again in between.
            entry = attrs.evolve(entry, since_s=entry.since_s if rests else entry.told_s, gone_s=now_s)
        lasted_s = (entry.gone_s or now_s) - entry.since_s
        is_new = entry.since_s > entry.told_s and lasted_s >= MINUTE_S and (name in rows or name in own)
        was_told = 0.0 < entry.since_s <= entry.told_s
        is_over = was_told and entry.gone_s > 0.0 and now_s - entry.gone_s >= HOUR_S
        if rests and (is_new or is_over) and len(due) < room:
            jid = sha256(f"{name} {entry.since_s} {entry.told_s}".encode()).hexdigest()[:24]
            due[name] = jid, _OVER if is_over else "" if name in rows else _BACK
            # That it is over counts for an hour beside the row, which is new if it comes again.
            place, since_s = (f"over {name}", 0.0) if is_over else (name, entry.since_s)
            entry, rests = attrs.evolve(entry, since_s=since_s, told_s=now_s, jid=jid), False
        if not (entry.gone_s and rests) or is_new or (entry.told_s and entry.since_s):
            known[place] = entry
    return due, known


@define(eq=False)
class Teller:
    """A service that tells, in the process that has the lease; `current` returns the configuration that counts now."""

    current: Callable[[], Config]
    connection: Connection
    report: Report
    _holder: str = field(factory=lambda: token_hex(8))
    _dead: Summaries | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Look every ten seconds until cancelled; after a failure, which is reported, in a minute."""
        task_status.started()
        while True:
            wait_s = LOOK_S
            try:
                await self.connection.ask(self.look)
            except StoreUnavailable:
                pass
            # As with the pages: whatever a look stumbles over in Redis, a broker must not end for it.
            except Exception as error:  # noqa: BLE001
                why = getattr(error, "message", type(error).__name__)
                self.report(OperatorWarning("TellFails", f"Nothing is told: {why}", getattr(error, "hint", None)))
                wait_s = MINUTE_S
            await trio.sleep(wait_s)

    def look(self, client: Client) -> None:
        """Look once, and push what is due. Raise `StoreUnavailable` or `StoreRefused`."""
        config, key, fails = self.current(), client.keys.tell, None
        lease = acquire_in(client, key, self._holder, _LEASE_MS, ["lease"])["lease"]
        if config.tell is None or not isinstance(lease, LeaseHeld):
            return
        rows, now_s = self._rows(client, config), time_s(client)
        state = json.loads(raw(client.command("HGET", key, "state") or b"{}"))
        told = {name: Entry(*noted) for name, noted in state.items()}
        for name, entry in told.items():
            failure = _failure(client, entry, now_s - (config.tell.expire_s or _EXPIRE_S) - MINUTE_S)
            if failure is not None:
                fails, told[name] = failure, attrs.evolve(entry, jid="")
        due, known = decide(told, rows, now_s, config.tell.target)
        for name, (jid, note) in due.items():
            try:
                request = _request(config, name, note, *rows.get(name, ()))
            except UnfitEvent:
                fails = "UnfitEvent"
                continue
            queues.push_once(client, request.queue, jid, enqueue.payload(request, jid, now_s), at_s=None, lock=None)
        state = {name: attrs.astuple(entry) for name, entry in known.items()}
        client.command("HSET", key, "state", json.dumps(state), *(() if fails is None else ("fails", fails)))

    def _rows(self, client: Client, config: Config) -> dict[str, tuple[int, str]]:
        """Return how many there are of each row, and the first step."""
        seen, context = system(client, config.queues), context_of(config)
        wrong = problems(seen, config, stopped_keys(client, config.targets), seen.now_s)
        found = [
            (alarm.code, alarm.subject, alarm.page, 1) for alarm in wrong[:_MOST_ROWS] if alarm.code != "TellFails"
        ]
        if self._dead is None or self._dead.context != context:
            self._dead = Summaries("dead", context)
        died = self._dead.now(client, 0.3).causes if seen.totals["dead"] else ()
        late = (cause for cause in died if cause.target and cause.last_s > seen.now_s - _DIED_S)
        found += (("JobsDied", f"{cause.target} {cause.code}", None, cause.jobs) for cause in late)
        rows: dict[str, tuple[int, str]] = {}
        for code, subject, page, count in found:
            name = f"{code} {visible(subject, 200)}"
            step = "dead summary" if code == "JobsDied" else _STEPS.get(page or "", "check")
            rows[name] = rows.get(name, (0,))[0] + count, f"restbroker {step}"
        return rows


def _request(config: Config, name: str, note: str, count: int = 1, step: str = _STEP) -> enqueue.JobRequest:
    """Return the job that tells of a row. Raise `UnfitEvent` if an argument does not take its words."""
    if config.tell is None:
        raise UsageError("The configuration has no Tell.", "docs/get-told.md shows one.")
    code, _, subject = name.partition(" ")
    text = f"restbroker: {name}{note or (f' ({count:,})' if count > 1 else '')}. First: {step}"
    request = CommandJobs(config).request(config.tell, dict(zip(TOLD, (text, code, subject, count, step), strict=True)))
    expire_s = config.tell.expire_s or _EXPIRE_S
    return attrs.evolve(request, retry=False, to_dead=False, wants_reply=True, expire_s=expire_s)


def _failure(client: Client, entry: Entry, given_up_s: float) -> str | None:
    """Return the code with which the row's job failed, "" if it was done; None: there is none, or no answer yet."""
    answer = client.command("LINDEX", client.keys.reply(f"restbroker:reply:{entry.jid}"), 0) if entry.jid else None
    if answer is None and (not entry.jid or entry.told_s >= given_up_s):
        return None
    return _error(None if answer is None else rubyjson.object_of(raw(answer))).get("code", "")


def _error(answer: Mapping[str, Json] | None) -> Mapping[str, str]:
    """Return the error of an answer, {} if it has none: code, message and cure."""
    return cast("Mapping[str, str]", _UNANSWERED if answer is None else answer.get("error") or {})


def try_tell(loaded: LoadedConfig) -> list[Finding]:
    """Tell of a test, and return what came of it. Raise `UsageError`, `StoreUnavailable` or `StoreRefused`."""
    with open_store(loaded.config) as client:
        request, jid = _request(loaded.config, "Test Tell", ""), token_hex(12)
        enqueue.push(client, request, jid, time_s(client))
        error = _error(enqueue.wait(client, jid, _TRY_S))
        client.command("HSET", client.keys.tell, "fails", error.get("code", ""))
    if error:
        what = f"What is told does not arrive ({error['code']}): {error['message']}"
        return [Finding("problem", "Tell", "TellFails", what, hint=error["cure"])]
    return [ok("Tell", "Told", "The target of Tell did what it was told: see that it reached you.")]
