"""Which jobs are plain ones; the request of each, and what came of its answer. The fast path has one for each job.

Always holds: the outcome of an answer that is kept depends on its status and body alone, as the connector's plan says;
`receive` ends in a finished job or in one that is handed over with all that came, and never in both.
"""

import time
from typing import Final, Protocol

import attrs

from restbroker.broker.admission import Admission, AdmittedJob, ReusableAdmission
from restbroker.broker.endpoints import Endpoint
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.target_plan import TargetPlan
from restbroker.job.active_job import WRAPPED
from restbroker.job.arguments import Submission
from restbroker.job.claims import KEY_FIELD, LOCK_FIELD
from restbroker.job.command import Command
from restbroker.job.job import EFFECTED_FIELD, MAY_HAVE_RUN_FIELD, Job, read
from restbroker.job.outcome import Delivered, Reason
from restbroker.job.signing import ACCEPTED_FIELD
from restbroker.servers.contract import Plan, Planner
from restbroker.store.tickets import has_key
from restbroker.transport.answer import KnownHeads, Rest
from restbroker.transport.head import whole
from restbroker.transport.idle import Connection, PartialExchange
from restbroker.transport.lean import LeanClient
from restbroker.transport.upkeep import Readiness
from restbroker.transport.wire import Unwatched

_SHORT_BYTES: Final = 64
"""The longest body whose outcome is kept."""
_OUTCOMES: Final = 100
"""How many outcomes of one endpoint are kept."""
_ENDPOINTS: Final = 500
"""How many endpoints are kept, each once for each queue."""
_NOT_PLAIN: Final = frozenset(
    (ACCEPTED_FIELD, EFFECTED_FIELD, MAY_HAVE_RUN_FIELD, KEY_FIELD, LOCK_FIELD, "traceparent", WRAPPED)
)
"""Fields of which a plain job has none."""
_MOST_ARGS: Final = 4
_REPLY_IDS: Final = frozenset((type(None), str, int, float))
"""Types of the fourth argument of a plain job."""


class Path(Protocol):
    """Where an exchange ends."""

    heads: KnownHeads

    def start_held(self, exchange: "Exchange") -> bool:
        """Send the job now that it has a place in the breaker; return False if it does not take that."""
        ...

    def finish(self, exchange: "Exchange", outcome: Delivered) -> None:
        """Settle a job that was delivered, once all answers that came with this one were read."""
        ...

    def continue_in_task(self, exchange: "Exchange", error: Exception | None) -> None:
        """Have the general path go on; `error`: what broke the connection, if anything did."""
        ...


@attrs.define(eq=False)
class PlainEndpoint:
    """An endpoint, its plan, the head of its requests, and the pass of its jobs. `outcomes`: those of short answers."""

    endpoint: Endpoint
    plan: Plan
    head: bytes
    job_pass: ReusableAdmission | None
    outcomes: dict[tuple[int, bytes], Delivered] = attrs.field(factory=dict)

    def renew(self, job_pass: ReusableAdmission | None) -> None:
        """Note the pass of a job that came with another token."""
        self.job_pass = job_pass

    def outcome(self, status: int, body: bytes) -> Delivered | None:
        """Return what the answer means, as the plan says; None also if it fails to say."""
        found = self.outcomes.get((status, body))
        if found is not None:
            return found
        try:
            found = self.plan.outcome(status, body)
        except Exception:  # noqa: BLE001 - a bug of the connector, which the general path meets again and reports
            return None
        if found is not None and len(body) <= _SHORT_BYTES and len(self.outcomes) < _OUTCOMES:
            self.outcomes[status, body] = found
        return found


@attrs.define(eq=False)
class Exchange:
    """A plain job with what is needed to send it; then its request, and what came of the answer so far."""

    path: Path
    job: JobInProgress
    payload: Job
    endpoint: PlainEndpoint
    message: bytes
    connection: Connection | None = None
    started_s: float = 0.0
    due_s: float = 0.0
    data: bytes = b""

    def take_place(self) -> bool:
        """Send what waited for the breaker and has a place there now; return False if it does not take that."""
        return self.path.start_held(self)

    def send(self, connection: Connection, readiness: Readiness, now_s: float, due_s: float) -> bool:
        """Send the request over this connection and listen for the answer; return False if that is not all done.

        The answer is due at `due_s`; both times are on Trio's clock.
        """
        self.connection, self.started_s, self.due_s = connection, now_s, due_s
        try:
            return connection.wire.begin(self.message) and connection.wire.listen(self.receive, readiness)
        except Exception:  # noqa: BLE001 - whatever it is, the general path meets it again
            return False

    def receive(self, got: bytes | Exception) -> None:
        """Go on with what came: some bytes, none at the end, or what broke the connection."""
        if isinstance(got, bytes) and got:
            self.data = data = self.data + got if self.data else got
            answer = self.path.heads.read(data)
            if answer is Rest.MISSING:
                return
            if answer is not Rest.ODD:
                status, _, body = answer
                outcome = self.endpoint.outcome(status, body)
                if outcome is not None:
                    self.path.finish(self, outcome)
                    return
        self.path.continue_in_task(self, None if isinstance(got, bytes | Unwatched) else got)

    def end(self, error: Exception | None) -> PartialExchange:
        """Stop listening, and return the exchange as it is now; `error`: what broke the connection, if anything did."""
        assert self.connection is not None  # noqa: S101 - it was sent
        self.connection.wire.unlisten()
        return PartialExchange(
            connection=self.connection,
            message=self.message,
            started_s=self.started_s,
            due_s=self.due_s,
            received=self.data,
            error=error,
        )

    def admitted_job(self) -> AdmittedJob:
        """Return the job with its command, token and endpoint, as the worker needs it."""
        endpoint, args = self.endpoint.endpoint, self.payload.fields["args"]
        assert isinstance(args, list) and isinstance(args[1], dict)  # noqa: S101, PT018 - it is a plain one
        submission = Submission(Command(endpoint.endpoint, args[1]), args[2], self.job.reply_id)
        return AdmittedJob(self.payload, submission, endpoint)


@attrs.define(eq=False)
class PlainJobs:
    """Tells which jobs of one pool are plain ones, and makes their exchanges.

    The description of the fast path says what a plain job is.
    """

    plan: TargetPlan
    planner: Planner
    client: LeanClient
    admission: Admission
    _endpoints: dict[tuple[str, str], PlainEndpoint] = attrs.field(factory=dict)
    """By endpoint, as jobs name it, and queue."""

    def prepare(self, job: JobInProgress, path: Path) -> Exchange | None:
        """Return what is needed to send a plain job, whose exchange ends at `path`; None if it is none."""
        admission = self.admission
        if job.forgotten or job.size_bytes or admission.crashes.counts or has_key(job.ticket):
            return None
        payload = read(job.raw, job.queue, "")
        if (
            type(payload) is not Job
            or not payload.jid
            or payload.maybe_run
            or not _NOT_PLAIN.isdisjoint(payload.fields)
        ):
            return None
        args = payload.fields.get("args")
        if type(args) is not list or not 3 <= len(args) <= _MOST_ARGS:
            return None
        name, arguments, token, *more = args
        if type(name) is not str or type(arguments) is not dict:
            return None
        reply_id = more[0] if more else None
        if more and (type(reply_id) not in _REPLY_IDS or reply_id == ""):
            return None
        if reply_id is not None and self.plan.policy.reply_queue is None:
            return None
        endpoint = self._endpoints.get((name, job.queue))
        if endpoint is None or endpoint.plan is not self.planner.plan(endpoint.endpoint.endpoint):
            endpoint = self._find(name, job)
            if endpoint is None:
                return None
        elif not (
            (endpoint.job_pass is not None and admission.admit_with(endpoint.job_pass, job, payload, token, reply_id))
            or self._is_admitted(endpoint, job)
        ):
            return None
        body = endpoint.plan.body(arguments)
        return None if body is None else Exchange(path, job, payload, endpoint, whole(endpoint.head, body))

    def is_current(self, exchange: Exchange) -> bool:
        """Tell whether the request may still be sent as it was prepared; raise what the connector raises for a bug."""
        return self.planner.plan(exchange.endpoint.endpoint.endpoint) is exchange.endpoint.plan

    def _admit(self, job: JobInProgress) -> AdmittedJob | Reason:
        payload = self.admission.read(job, time.time())
        assert isinstance(payload, Job)  # noqa: S101 - it was read before
        return self.admission.admit(job, payload)

    def _is_admitted(self, endpoint: PlainEndpoint, job: JobInProgress) -> bool:
        """Tell whether a job of this endpoint is let in, by itself, and is a plain one."""
        admitted = self._admit(job)
        if isinstance(admitted, Reason) or admitted.endpoint is not endpoint.endpoint or job.fingerprint:
            return False
        endpoint.renew(self.admission.reusable_for(job, admitted))
        return True

    def _find(self, name: str, job: JobInProgress) -> PlainEndpoint | None:
        """Admit the job, and keep what is found of its endpoint; return None if it is no plain job."""
        admitted = self._admit(job)
        if isinstance(admitted, Reason) or admitted.endpoint.slot is not None or job.at_most_once or job.fingerprint:
            return None
        endpoint = admitted.endpoint
        plan = self.planner.plan(endpoint.endpoint)
        if plan is None:
            return None
        if len(self._endpoints) >= _ENDPOINTS:
            self._endpoints.clear()
        job_pass, head = self.admission.reusable_for(job, admitted), self.client.head_of(plan.request)
        found = self._endpoints[name, job.queue] = PlainEndpoint(endpoint, plan, head, job_pass)
        return found
