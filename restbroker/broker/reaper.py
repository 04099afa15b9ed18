"""Gives the jobs of dead processes back to their queues, and makes those dead, with an answer, that must not run again.

One task per process. Death is: the same heartbeat counter seen for `FENCE_AFTER_S` of this process' own healthy time,
or, on the same host, a process that is provably gone. Always holds: an identity is fenced (compare-and-set on the
counter) before any of its jobs is read; any doubt (an outage, another Redis) starts the observation from its beginning,
so a long outage makes no process take over from another.
"""

import random
import time
from collections.abc import Collection, Mapping, Sequence

import attrs
import trio

from restbroker.broker.health import FENCE_AFTER_S, ProcessTask
from restbroker.broker.same_host import Host, is_gone
from restbroker.broker.settler import stopped_warning, unserved_warning
from restbroker.broker.target_plan import TargetPlan
from restbroker.config.values import duration_text
from restbroker.errors import StoreRefused
from restbroker.job import active_job, arguments, display, hiding, retry, rubyjson, settle
from restbroker.job.crashes import crash_text
from restbroker.job.settlement import Dead, OrphanedJob
from restbroker.light import define, field, frozen
from restbroker.store import heartbeats, identities, order, queues, server
from restbroker.store.heartbeats import JobPutOff, MakeDead
from restbroker.store.identities import Registration
from restbroker.store.tickets import ticket_number
from restbroker.telemetry.events import JobDied, JobsRecovered, OperatorWarning

SCAN_S = 2.0
LOOK_S = 10.0
"""Seconds between two looks at Redis itself, and at the hands of queues, which hold up nobody who fetches."""
FREE_AFTER_S = 60.0
"""For so much longer than its request may take, a job is in progress at most."""
_FREE_EVERY_S = 15.0
_WARN_AGAIN_S = 600.0
_NAMED = 3
"""So many jobs that wait after crashes are named in the log."""
_REFUSED = "RecoveryRefused"
_PLACES = "`restbroker check` names keys of a wrong type: queues, dead, and schedule, where jobs wait after crashes."
_LISTS = "Check the types of the keys for answers: the response queue, restbroker:reply:NAME, and queues."


@frozen
class Observation:
    """A heartbeat counter, since when it has this value (in healthy seconds), and the record of its identity.

    `registration` is None if the record is not there, or cannot be read.
    """

    counter: int
    since_s: float
    registration: Registration | None


@define(eq=False)
class Reaper(ProcessTask):
    """The reaper of one process. It never reaps `our_identities`, which the process changes as generations come and go.

    `specs`: {queue: function that returns the `CommandSpec` of an endpoint, or None, from its target's catalogue}.
    `ordered`: the plans of its targets with `OrderBy`.
    """

    host: Host
    our_identities: Collection[str]
    specs: Mapping[str, settle.Specs]
    ordered: Sequence[TargetPlan] = ()
    _seen: dict[str, Observation] = field(factory=dict)
    _healthy_s: float = 0.0
    _scanned_at_s: float = float("inf")
    _epoch: tuple[int, str, str] | None = None
    _warned_at_s: dict[str, float] = field(factory=dict)
    _freed_at_s: float = 0.0
    _looked_at_s: float = float("-inf")

    async def run(self) -> None:
        """Scan about every two seconds until cancelled. What Redis refuses is reported once."""
        while True:
            try:
                await self.scan()
            except StoreRefused as error:
                # What one identity left behind can be damaged for good: said once, and the others' jobs still go back.
                self.warn_once(_REFUSED, error.message, error.hint)
            await trio.sleep(SCAN_S * random.uniform(0.7, 1.0))  # noqa: S311 - spreads scans of many processes

    async def scan(self) -> None:
        """Look at all heartbeats once: fence the identities that are dead, and requeue the jobs of all that are fenced.

        Wait while Redis is away. Raise `StoreRefused`.
        """
        # A gap between scans was no healthy time: what froze this process may have frozen the others too.
        now_s = trio.current_time()
        self._healthy_s += max(0.0, min(now_s - self._scanned_at_s, 2 * SCAN_S))
        self._scanned_at_s = now_s
        if now_s >= self._looked_at_s + LOOK_S or (self._epoch and self._epoch[0] != self.health.outages):
            await self._look_at_redis()
            # What dead processes left in the hands of our queues: of those that are paused we fetch nothing.
            await self.unless_refused(_REFUSED, "", queues.empty_hands, self.specs)
        live, dying = await self.until_up(identities.all_identities)
        dead = await self._dead(live, self._healthy_s)
        if dead:
            # Another one may have taken over without an outage: then no heartbeat was seen for long enough.
            await self._look_at_redis()
            dead = {identity: counter for identity, counter in dead.items() if identity in self._seen}
        for identity, counter in dead.items():
            if await self.until_up(heartbeats.fence, identity, counter):
                await self._recover(identity)
        for identity in dying:
            await self._recover(identity)
        if dead or dying:
            await self.unless_refused(_REFUSED, "", queues.empty_hands, self.specs)
        await self._free_keys()

    async def _look_at_redis(self) -> None:
        """Warn of what ails Redis; forget all that was observed if it is another one, or was away."""
        redis = await self.until_up(server.server, with_settings=False)
        self._looked_at_s = self._scanned_at_s
        self._warn_of(redis)
        epoch = (self.health.outages, redis.run_id, redis.role)
        if epoch != self._epoch:
            self._epoch = epoch
            self._seen.clear()

    def _warn_of(self, redis: server.ServerInfo) -> None:
        """Warn that Redis refuses writes or may soon, at first and every ten minutes."""
        now_s = trio.current_time()
        for problem in server.redis_problems(redis):
            if now_s - self._warned_at_s.get(problem.code, -_WARN_AGAIN_S) >= _WARN_AGAIN_S:
                self._warned_at_s[problem.code] = now_s
                self.report(OperatorWarning(problem.code, f"{problem.message} {problem.why}", problem.hint))

    async def _dead(self, live: Mapping[str, int], healthy_s: float) -> dict[str, int]:
        dead: dict[str, int] = {}
        for identity, counter in live.items():
            if identity in self.our_identities:
                continue
            known = self._seen.get(identity)
            if known is None:
                facts = await self.unless_refused(_REFUSED, "", identities.read, identity)
                known = Observation(counter, healthy_s, facts)
            elif known.counter != counter:
                known = attrs.evolve(known, counter=counter, since_s=healthy_s)
            self._seen[identity] = known
            gone = known.registration is not None and is_gone(known.registration.process, self.host)
            if gone or healthy_s - known.since_s >= FENCE_AFTER_S:
                dead[identity] = counter
        self._seen = {identity: seen for identity, seen in self._seen.items() if identity in live}
        return dead

    async def _free_keys(self) -> None:
        """Let keys go on of which a job is in progress for too long that no process has: a torn file leaves such."""
        if self._healthy_s < self._freed_at_s + _FREE_EVERY_S:
            return
        self._freed_at_s = self._healthy_s
        for plan in self.ordered:
            # Which job it was is not known any more.
            longest_s = max(plan.time_outs_s.values()) + FREE_AFTER_S
            await self.until_up(order.free_lost, plan.target.name, plan.target.queues, longest_s)

    async def _recover(self, identity: str) -> None:
        elsewhere: set[str] = set()
        died: dict[str, JobDied] = {}
        make_dead = _noting(elsewhere, died, self._make_dead)
        if (done := await self.unless_refused(_REFUSED, "", heartbeats.recover, identity, make_dead)) is None:
            return
        if done.jobs:
            waits_s = [put_off.job.waits_s for put_off in done.put_off]
            self.report(JobsRecovered(identity, done.jobs, done.maybe_run, done.dead, waits_s))
        if done.put_off:
            self.report(_crashed_again(done.put_off))
        if done.refused:
            message = f"{done.refused} jobs of {identity}, which is gone, can neither go back to their queues nor wait."
            self.warn_once(_REFUSED, message, _PLACES)
        for ticket in sorted(done.died & died.keys(), key=ticket_number):
            self.report(died[ticket])
        target = identity.rpartition(":")[2]
        for event in (died[ticket] for ticket in done.stopped_by):
            self.report(stopped_warning(target, event.queue, event.jid))
        for queue in sorted(elsewhere):
            self.report(unserved_warning(queue))
        if done.unanswered:
            message = f"{done.unanswered} jobs of a dead process became dead, but Redis refuses their answers."
            self.report(OperatorWarning("AnswerRefused", message, _LISTS))

    def _make_dead(self, orphan: OrphanedJob) -> Dead:
        return settle.settle_crashed(orphan, time.time(), self.specs.get(orphan.queue, lambda _: None))


def _noting(elsewhere: set[str], died: dict[str, JobDied], make_dead: MakeDead) -> MakeDead:
    """Return a function that makes jobs dead as `make_dead` does, and notes them; it is called in a thread.

    It adds to `elsewhere` the queue of a job whose `retry_queue` does not count, and to `died` by its ticket each job,
    once however often this is called for it.
    """

    def noted(orphan: OrphanedJob) -> Dead:
        if retry.names_foreign_queue(rubyjson.object_of(orphan.raw) or {}, orphan.queues):
            elsewhere.add(orphan.queue)
        settlement = make_dead(orphan)
        died[orphan.ticket] = _death(orphan, settlement)
        return settlement

    return noted


def _death(orphan: OrphanedJob, settlement: Dead) -> JobDied:
    code, jid, message = _open_texts(settlement.payload, "error_class", "jid", "error_message")
    command = display.command_of(rubyjson.object_of(settlement.payload) or {})
    return JobDied(code=code, command=command, jid=jid, queue=orphan.queue, message=message)


def _crashed_again(put_off: Sequence[JobPutOff]) -> OperatorWarning:
    """Return the warning of jobs that were in progress in several crashes, of which it names the most suspicious."""
    named = sorted(put_off, key=lambda one: one.job.crashes, reverse=True)[:_NAMED]
    texts = [
        f"{_open_texts(waiting.job.raw, 'jid')[0]} of the queue {waiting.queue!r} "
        f"{crash_text(waiting.job.crashes, duration_text(waiting.job.waits_s))}"
        for waiting in named
    ]
    more = len(put_off) - len(named)
    texts += [f"and {more} more" if more else ""]
    return OperatorWarning(
        "CrashedAgain",
        f"Jobs were in progress when processes died, and wait: {', '.join(filter(None, texts))}.",
        "Check the logs of the times when processes died. A job that was in progress six times becomes dead (Poison).",
    )


def _open_texts(payload: bytes, *names: str) -> list[str]:
    """Return these fields of a job as texts, without its token."""
    entry = active_job.unwrap(rubyjson.object_of(payload) or {})
    token = arguments.token(entry.get("args"))
    # A producer may have put the token into the wrong place as well.
    secrets = {token} if isinstance(token, str) and token else set[str]()
    return [hiding.text(str(entry.get(name)), secrets) for name in names]
