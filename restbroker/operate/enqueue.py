"""Pushes one command as a complete Sidekiq job, signed or with its token, and waits for its answer.

Called by `restbroker enqueue` and `ctl`. Always holds: it pushes what a Ruby client would push (byte for byte as Ruby
writes JSON, times as float seconds, which Sidekiq 5 to 8 all read as seconds), so that Sidekiq Web can show, delete and
reschedule it; a wait changes nothing, and says once why the job waits.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.errors import ConnectionEnded, RestbrokerError, StoreNotNow, StoreRefused, StoreUnavailable, UsageError
from restbroker.job import claims, expiry, fairness, rubyjson
from restbroker.job.claims import Lock
from restbroker.job.command import Command
from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.job.json_types import Json, as_text
from restbroker.job.order import ORDER_KEY, is_ordered, key_of
from restbroker.job.repair import fractional
from restbroker.light import field, frozen
from restbroker.operate import words
from restbroker.operate.connect import open_store
from restbroker.store import identities, queues
from restbroker.store.client import Client, counts, microseconds
from restbroker.store.identities import Registration
from restbroker.store.pauses import OPERATOR, paused_queues, paused_targets
from restbroker.store.queues import HeldLock

if TYPE_CHECKING:  # of use to few
    from restbroker.store.holders import Sight

_PATIENCE_S: Final = 2.0
"""How many seconds to say nothing while waiting: a process reports that a target is down at most 2.5 s later."""
_ROUND_S: Final = 30.0
"""How many seconds one wait lasts if there is no time-out; it is repeated."""
_REPEAT_S: Final = 10.0
"""For so long a push is repeated whose answer was lost: Redis remembers it for longer (`store.queues`)."""
_PAUSE_S: Final = 0.25
_QUICK_S: Final = 0.5
_EXAMPLE: Final = "For example: customer-7"
JOB_CLASS = "Restbroker"
"""No program looks up this class; Sidekiq Web shows `display_class` in its place."""


def _require_key(_request: object, field: "attrs.Attribute[str | None]", key: str | None) -> None:
    if key is not None and not fairness.is_key(key):
        most = fairness.LONGEST_KEY_BYTES
        raise UsageError(f"{field.name} takes a string of 1 to {most} bytes without control characters.", _EXAMPLE)


@frozen
class JobRequest:
    """One job to push. `at_s` (epoch seconds) schedules it; `wants_reply`: a client will wait for the answer.

    `expire_s`: how many seconds after `at_s`, or after the push, the job expires; None: the target's `Expire` decides.
    `lock`: taken at the push; no other job with its key is pushed until its `keep_s` seconds after the job is due.
    `reply_to`: the key for the answer; None: a key of the job's own. `fair_key`: by which it takes turns where `FairBy`
    is "fair_key". `order_key`: jobs of one such key are done in order where `OrderBy` is "order_key". Both raise
    `UsageError` if they are no keys. Not `to_dead`: it vanishes if it fails.
    """

    command: str
    arguments: Mapping[str, Json]
    queue: str
    token: Token
    retry: bool | int = True
    reply_id: str | None = None
    wants_reply: bool = False
    to_dead: bool = True
    ok_if_exists: bool = False
    at_s: float | None = None
    expire_s: float | None = None
    lock: Lock | None = None
    reply_to: str | None = None
    fair_key: str | None = field(default=None, validator=_require_key)
    order_key: str | None = field(default=None, validator=_require_key)

    def lock_at(self, now_s: float) -> Lock | None:
        """Return the lock as it is taken by a push at `now_s` (epoch seconds): it lasts from when the job is due."""
        if self.lock is None or self.at_s is None:
            return self.lock
        return attrs.evolve(self.lock, keep_s=self.lock.keep_s + max(0.0, self.at_s - now_s))


def payload(request: JobRequest, jid: str, now_s: float) -> bytes:
    """Return the job's bytes. Raise `UsageError` if its arguments do not fit into JSON, or if it is too large.

    A scheduled job has neither `at` nor `enqueued_at`: Sidekiq 7 and later add the latter when it becomes due.
    """
    moment_s = fractional(now_s)
    fields: dict[str, Json] = {
        "class": JOB_CLASS,
        "display_class": request.command,
        "args": None,
        "jid": jid,
        "queue": request.queue,
        "retry": request.retry,
        "created_at": moment_s,
    }
    if not request.to_dead:
        fields["dead"] = False
    if request.ok_if_exists:
        fields["ok_if_exists"] = True
    if request.wants_reply:
        fields["reply_to"] = request.reply_to or f"restbroker:reply:{jid}"
    if request.at_s is None:
        fields["enqueued_at"] = moment_s
    if request.expire_s is not None:
        fields[expiry.FIELD] = fractional((now_s if request.at_s is None else request.at_s) + request.expire_s)
    keys = {fairness.FAIR_KEY: request.fair_key, ORDER_KEY: request.order_key}
    fields |= {name: key for name, key in keys.items() if key is not None}
    if request.lock is not None:
        fields[claims.LOCK_FIELD] = claims.lock_fields(request.lock)
    try:
        args: list[Json] = [request.command, dict(request.arguments), _token(request, jid, now_s)]
        fields["args"] = args if request.reply_id is None else [*args, request.reply_id]
        raw = rubyjson.dumps(fields)
    except ValueError as error:
        raise UsageError(f"The arguments cannot be written as JSON: {error}.", "Check the values.") from error
    if len(raw) > PAYLOAD_LIMIT_BYTES:
        message = f"The job would have {len(raw)} bytes; {PAYLOAD_LIMIT_BYTES} are the limit, so it would die."
        raise UsageError(message, "Send less in one job.")
    return raw


def _token(request: JobRequest, jid: str, now_s: float) -> str:
    """Return the secret or, for a token whose jobs are signed, a signature for the time at which the job may run."""
    secret = request.token.secrets[0].reveal()
    if not request.token.signed:
        return secret
    from restbroker.job import signing  # of no use to a token that is sent as it is
    from restbroker.job.arguments import Submission

    at_s = int(now_s if request.at_s is None else request.at_s)
    # An empty reply id means none, as it does to the broker.
    submission = Submission(Command(request.command, request.arguments), None, request.reply_id or None)
    if not signing.is_signable(submission):
        message = f"The job has more than {signing.VALUES_LIMIT} values, too many for a signature."
        raise UsageError(message, "Send less in one job, or use a token that is not Signed.")
    return signing.sign(secret, request.token.name, at_s, jid=jid, submission=submission, queue=request.queue)


@frozen
class QueuedBefore:
    """The job that holds the lock, so that nothing was pushed. `is_found`: it was looked for, and not just believed."""

    jid: str
    is_found: bool

    @property
    def certainty(self) -> str:
        """How that is known, for people."""
        return "looked for" if self.is_found else "believed"


def push(client: Client, request: JobRequest, jid: str, now_s: float) -> QueuedBefore | None:
    """Push or schedule the job, once; return None, or the job that holds its lock.

    If that job took the lock or was settled last more than a minute ago, it is looked for, for seven seconds at most
    (`store.holders`); if it is nowhere, the lock is taken over.

    While Redis does not answer, the same push is repeated for ten seconds, unless this user may only push. Raise
    `StoreNotNow` if it was not pushed; after other errors of the store it may be.
    """
    raw, over = payload(request, jid, now_s), ""
    request = attrs.evolve(request, lock=request.lock_at(now_s))
    while (held := _push(client, request, jid, raw, over=over)) is not None:
        sight = _look_for(client, held, request.queue)
        if sight != "missing":
            return QueuedBefore(claims.lock_holder(held.value), is_found=sight == "found")
        over = held.value
    return None


def _push(client: Client, request: JobRequest, jid: str, raw: bytes, over: str) -> HeldLock | None:
    """Push or schedule the job as `push` does; return None, or the lock that another job holds."""
    began_s, is_doubtful = time.monotonic(), False
    while True:
        try:
            return queues.push_once(client, request.queue, jid, raw, at_s=request.at_s, lock=request.lock, over=over)
        except StoreUnavailable as error:
            is_unsent = isinstance(error, ConnectionEnded | StoreNotNow)
            is_doubtful = is_doubtful or not is_unsent
            if not is_doubtful:
                raise StoreNotNow(f"{error.message} The job was not queued.", error.hint) from error
            if time.monotonic() - began_s >= _REPEAT_S:
                raise _unknown_push_error(jid, error) from error
        except StoreRefused as error:
            if is_doubtful:
                raise _unknown_push_error(jid, error) from error
            if request.lock is not None:
                raise
            _push_plainly(client, request, jid, raw)
            return None
        time.sleep(_PAUSE_S)


def _look_for(client: Client, held: HeldLock, queue: str) -> "Sight":
    from restbroker.store import holders  # of use to few

    return holders.search_twice(client, claims.lock_holder(held.value), queue) if held.is_stale else "unsearched"


def _push_plainly(client: Client, request: JobRequest, jid: str, raw: bytes) -> None:
    """Push or schedule the job as any producer does, where Redis refuses more; nothing is repeated. Raise as `push`."""
    try:
        if request.at_s is None:
            queues.push(client, request.queue, [raw])
        else:
            queues.schedule(client, raw, request.at_s)
    except (ConnectionEnded, StoreNotNow) as error:
        raise StoreNotNow(f"{error.message} The job was not queued.", error.hint) from error
    except StoreUnavailable as error:
        raise _unknown_push_error(jid, error) from error


def _unknown_push_error(jid: str, error: RestbrokerError) -> StoreUnavailable:
    return StoreUnavailable(
        f"{error.message} The job {jid} may or may not have been queued.",
        "Check whether it was queued before you push it again.",
    )


@frozen
class ServingProcess:
    """A live process that serves a queue: its server's version, and why its target gets no jobs now, with a hint.

    `quiet`: it was ordered to take no more jobs; only a restart changes that.
    """

    server_version: str | None
    hindrance: str | None
    quiet: bool


_UNKNOWN = ServingProcess(server_version=None, hindrance=None, quiet=False)
"""Redis does not say: a process may serve the queue, and the version of its server is unknown."""


def find_process(client: Client, queue: str) -> ServingProcess | None:
    """Return a live process that serves this queue, a quiet one only if there is no other; None if there is none.

    If a process's record is damaged or Redis refuses it, the process may serve the queue; it is returned without
    details. Raise `StoreUnavailable`, and `StoreRefused` if Redis refuses the list of processes.
    """
    found: ServingProcess | None = None
    for process, known in _serving(client, queue):
        snapshot = {} if known is None else known.facts
        if known is None:
            found = _UNKNOWN
        elif known.takes_jobs:
            why = _why_down(snapshot) or _why_limited(snapshot)
            return ServingProcess(as_text(snapshot.get("server_version")), why, quiet=False)
        elif snapshot.get("quiet") is True and found is not _UNKNOWN:
            why = f"the process {process} is quiet: it takes no more jobs until it is restarted."
            found = ServingProcess(as_text(snapshot.get("server_version")), why, quiet=True)
    return found


def server_version_of(config: Config, target: Target) -> str | None:
    """Return the server's version as a running process found it; None if none did, or Redis answers too slowly."""
    try:
        with open_store(config, _QUICK_S) as client:
            found = find_process(client, target.queues[0])
    except (StoreUnavailable, StoreRefused):
        return None
    return None if found is None else found.server_version


def find_holder(client: Client, queue: str, process: str) -> ServingProcess | None:
    """Return the state of the target in process HOST:PID, which has a job of this queue in progress; None if unknown.

    Raise `StoreUnavailable`, and `StoreRefused` if Redis refuses the list of processes.
    """
    known = dict(_serving(client, queue)).get(process)
    if known is None:
        return None
    snapshot = known.facts
    quiet = snapshot.get("quiet") is True
    return ServingProcess(as_text(snapshot.get("server_version")), _why_down(snapshot) or None, quiet=quiet)


def _serving(client: Client, queue: str) -> Iterator[tuple[str, Registration | None]]:
    """Yield the HOST:PID and the record of each live process that serves this queue; None if it cannot be read.

    One that was killed, and that no other process has found yet, is none.
    """
    live, now = client.commands([("HGETALL", client.keys.heartbeats), ("TIME",)])
    silent_since_s = microseconds(now) / 1e6 - identities.SILENT_S
    for identity in counts(live):
        try:
            known = identities.read(client, identity)
        except StoreRefused:
            yield identity, None
            continue
        is_silent = known is not None and (known.heartbeat_at_s or silent_since_s) < silent_since_s
        if known is not None and queue in known.queues and not is_silent:
            yield known.name, known


def _why_down(snapshot: Mapping[str, Json]) -> str:
    """Return why a worker pool's target gets no jobs, and what to do; empty if it gets some."""
    # A process that has just started asks the target within the second: nothing to tell of yet.
    told = () if as_text(snapshot.get("gate_code")) == "Starting" else ("gate_reason", "gate_cure")
    return " ".join(text for name in told if (text := as_text(snapshot.get(name))))


def _why_limited(snapshot: Mapping[str, Json]) -> str | None:
    """Return what holds all jobs of a target back for longer than a moment, and what to do."""
    limited = as_text(snapshot.get("limited")) or ""
    if limited == "paused":
        return words.PAUSED
    hint = words.LIMIT_HINTS.get(limited)
    return None if hint is None else f"{words.LIMITS[limited]}. {hint}"


def find_process_if_known(client: Client, queue: str) -> ServingProcess | None:
    """Return the result of `find_process`; if Redis refuses the query, return a process without details.

    Redis may refuse it to a producer although a process serves the queue.
    """
    try:
        return find_process(client, queue)
    except StoreRefused:
        return _UNKNOWN


@frozen
class PauseNotice:
    """A person's pause of the queue or target with this name. `what` is "queue" or "target".

    `text` is a sentence that says who paused it and why.
    """

    what: str
    name: str
    text: str

    @property
    def resume_command(self) -> str:
        """The command that ends the pause."""
        import shlex

        return f"restbroker {self.what}s resume {shlex.quote(self.name)}"


def pause_of(client: Client, queue: str, target: str) -> PauseNotice | None:
    """Return a person's pause of this queue or target; None if neither is paused, or if Redis refuses the query.

    Raise `StoreUnavailable`.
    """
    with suppress(StoreRefused):
        if (pause := paused_queues(client).get(queue)) is not None:
            return PauseNotice("queue", queue, words.pause_sentence(f"The queue {queue}", pause))
    with suppress(StoreRefused):
        for pause in paused_targets(client, [target]).get(target, ()):
            if pause.reason == OPERATOR:
                return PauseNotice("target", target, words.pause_sentence(f"The target {target}", pause))
    return None


def waiting_notes(
    found: ServingProcess | None, paused: PauseNotice | None, queue: str, jobs: str = "the job"
) -> Iterator[str]:
    """Yield why `jobs` that are pushed to this queue now will wait: its process, as far as it is known, and a pause."""
    if found is None:
        yield f"note: no running process serves the queue {queue}; {jobs} will wait for one."
    elif found.quiet:
        yield f"note: {found.hindrance} No other process serves the queue {queue}; {jobs} will wait."
    if paused is not None:
        yield f"note: {paused.text} {jobs.capitalize()} will wait: {paused.resume_command}"


def why_waiting(client: Client, queue: str, target: str | None) -> str | None:
    """Return why the jobs of this queue wait, if that can be found out; None if nothing stops them.

    `target` is the target that serves the queue, None if it is unknown. Raise `StoreUnavailable`.
    """
    paused = None if target is None else pause_of(client, queue, target)
    if paused is not None:
        return f"{paused.text} Resume it: `{paused.resume_command}`."
    found = find_process_if_known(client, queue)
    if found is None:
        return None if target is None else f"No running process serves the queue {queue}; its jobs wait for one."
    return None if found.hindrance is None else f"The server of the queue {queue} gets no jobs now: {found.hindrance}"


def wait(client: Client, jid: str, timeout_s: float) -> Mapping[str, Json] | None:
    """Return the answer to a job pushed with `wants_reply`; None if it is still queued after `timeout_s` seconds.

    The keys are jid, command, text, status, outcome, answer, error, attempts and duration_ms. Raise `StoreUnavailable`
    or `StoreRefused` if it cannot wait, and `RestbrokerError` if the answer cannot be read. After an interrupt the
    answer stays in Redis until it expires.
    """
    raw = queues.wait_reply(client, jid, timeout_s)
    if raw is None:
        return None
    details = rubyjson.object_of(raw)
    if details is None:
        raise RestbrokerError(f"The answer to {jid} is not a JSON object.", "Another program wrote to its reply key.")
    return details


@frozen
class AnswerWait:
    """The wait for one job, pushed at `pushed_at_s` (epoch seconds). `target`: that of its queue.

    `say` prints a note for people, `local` returns a moment as they read it.
    """

    client: Client
    settings: Config
    target: Target
    request: JobRequest
    jid: str
    pushed_at_s: float
    say: Callable[[str], None]
    local: Callable[[float], str]

    @property
    def expires_at_s(self) -> float | None:
        """When it expires (epoch seconds); None: no time of its own was given."""
        one = self.request
        return None if one.expire_s is None else (self.pushed_at_s if one.at_s is None else one.at_s) + one.expire_s

    @property
    def _ordered_key(self) -> str | None:
        """The key in which it is kept in order, if it is."""
        target, one = self.target, self.request
        keys = {ORDER_KEY: one.order_key, fairness.FAIR_KEY: one.fair_key}
        key = key_of(target.order, target.fairness, keys, one.arguments)
        return key if key is not None and is_ordered(key) else None

    def answer(self, timeout_s: float | None, *, is_explained: bool) -> Mapping[str, Json] | None:
        """Return the answer, or None if it does not come in time (None: no limit); say once what the job waits for.

        `is_explained`: it was said why the job will wait. Raise `StoreUnavailable` or `StoreRefused`.
        """
        why = partial(why_waiting, self.client, self.request.queue, self.target.name)
        notes: list[Callable[[], str | None]] = [] if is_explained else [why]
        if self._ordered_key:
            notes.append(self._busy_text)
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            remaining_s = _ROUND_S if ends_s is None else max(ends_s - time.monotonic(), 0.0)
            found = wait(self.client, self.jid, min(remaining_s, _PATIENCE_S) if notes else remaining_s)
            if found is not None:
                return found
            for note in [*notes]:
                if (text := note()) is not None:
                    self.say(text)
                    notes.remove(note)
            if ends_s is not None and time.monotonic() >= ends_s:
                return None

    def _busy_text(self) -> str | None:
        """Return behind which job of its key the job is held, with what to do; None if it is not."""
        from restbroker.operate import order_wait
        from restbroker.operate.context import context_of

        with suppress(StoreRefused):
            known, key = context_of(self.settings), self._ordered_key or ""
            busy = order_wait.of_key(self.client, known, self.target, key, jid=self.jid)
            return None if not busy or busy.is_own else " ".join((busy.text(self.local), *busy.next_steps))
        return None
