"""The request of one plain job and what came of its answer. The fast path makes one for each, without a task.

Always holds: the outcome of an answer that is kept depends on its status and body alone, as the connector's plan says;
`receive` ends in a finished job or in one that is handed over with all that came, and never in both.
"""

from typing import Final, Protocol

import attrs

from restbroker.broker.admission import AdmittedJob, ReusableAdmission
from restbroker.broker.endpoints import Endpoint
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.job.arguments import Submission
from restbroker.job.command import Command
from restbroker.job.job import Job
from restbroker.job.outcome import Delivered
from restbroker.servers.contract import Plan
from restbroker.transport.answer import KnownHeads, Rest
from restbroker.transport.idle import Connection, PartialExchange
from restbroker.transport.wire import PlainWire

_SHORT_BYTES: Final = 64
"""The longest body whose outcome is kept."""
_OUTCOMES: Final = 100
"""How many outcomes of one endpoint are kept."""


class Path(Protocol):
    """Where an exchange ends."""

    heads: KnownHeads

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
    sent: int = 0
    data: bytes = b""

    def send(self, connection: Connection, wire: PlainWire, now_s: float, due_s: float) -> bool:
        """Send the request over this connection and listen for the answer; return False if not all of it left at once.

        The answer is due at `due_s`; both times are on Trio's clock.
        """
        self.connection, self.started_s, self.due_s = connection, now_s, due_s
        self.job.start_sending()
        try:
            self.sent = wire.send_now(self.message)
        except OSError:
            return False
        if self.sent != len(self.message):
            return False
        wire.listen(self.receive)
        return True

    def receive(self, got: bytes | Exception) -> None:
        """Go on with what came: some bytes, none at the end, or what broke the connection."""
        if isinstance(got, bytes) and got and self.sent == len(self.message):
            self.data = data = self.data + got if self.data else got
            answer = self.path.heads.read(data)
            if answer is Rest.MISSING:
                return
            if answer is not Rest.ODD:
                outcome = self.endpoint.outcome(*answer)
                if outcome is not None:
                    self.path.finish(self, outcome)
                    return
        elif isinstance(got, bytes):
            self.data += got
        self.path.continue_in_task(self, got if isinstance(got, Exception) else None)

    def partial(self, error: Exception | None) -> PartialExchange:
        """Return the exchange as it is now; `error`: what broke the connection, if anything did."""
        assert self.connection is not None  # noqa: S101 - it was sent
        return PartialExchange(
            connection=self.connection,
            message=self.message,
            sent=self.sent,
            started_s=self.started_s,
            due_s=self.due_s,
            received=self.data,
            error=error,
        )

    def admitted_job(self) -> AdmittedJob:
        """Return the job with its command, token and endpoint, as the processor needs it."""
        endpoint, args = self.endpoint.endpoint, self.payload.fields["args"]
        assert isinstance(args, list) and isinstance(args[1], dict)  # noqa: S101, PT018 - it is a plain one
        submission = Submission(Command(endpoint.endpoint, args[1]), args[2], self.job.reply_id)
        return AdmittedJob(self.payload, submission, endpoint)
