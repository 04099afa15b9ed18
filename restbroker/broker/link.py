"""Sends the requests of one delivery, and notes in the job whether bytes may have left; and why deliveries fail.

The processor makes a `JobLink` for each round of a delivery, the prober a `ProbeLink`. Always holds: no byte of a
command leaves unless its job is ours, the breaker admits jobs and the lease is fresh at that very moment.
"""

import time
from collections.abc import Coroutine
from typing import Any, TypeAlias

import attrs
import trio

from restbroker.broker.breaker import Breaker
from restbroker.broker.job_in_progress import SENDING, JobInProgress, Reservations
from restbroker.broker.lease import Lease
from restbroker.broker.redis_checks import RedisChecks
from restbroker.broker.target_plan import TargetPlan
from restbroker.config.target_secrets import remove_secrets, spellings_of, spellings_of_texts
from restbroker.errors import ConfigError
from restbroker.job import hiding, redact
from restbroker.job.claims import JobClaims
from restbroker.job.command import Call, CommandSpec
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Probe, Reason, Rejected, Uncertain, Unsent
from restbroker.job.settle import reason_of
from restbroker.servers.contract import NotYet
from restbroker.store.claims import OtherHolder
from restbroker.transport.errors import MaybeSent, NotSent, Withdrawn
from restbroker.transport.idle import PartialExchange
from restbroker.transport.lean import LeanClient
from restbroker.transport.message import Request, Response, Transport

_Failed: TypeAlias = Rejected | Deferred | Uncertain | Unsent | Denied


class JobTakenAway(Withdrawn):
    """The job is not reserved here any more: a reaper has it, or it is in its queue again. It must not be sent."""


class JobExpired(Withdrawn):
    """The job expired. It must not be sent."""


class JobIsDuplicate(Withdrawn):
    """The job must not be sent: another one, `other`, has its idempotency key, or it was pushed twice itself."""

    def __init__(self, other: OtherHolder) -> None:
        super().__init__(other.job.jid)
        self.other = other


class SendingStopped(Withdrawn):
    """While the job waited for a connection, the breaker tripped, the lease ran out, or the pool began to stop."""


_LOGIN_REFUSED = (401, 403)
"""Statuses of a request that was not run, since its login may not have that done."""


@attrs.frozen
class ProbeLink:
    """Sends the requests of a probe, which needs none of the checks for a job."""

    _transport: Transport

    def ask(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Send the request and return the answer; raise `NotSent`, or `MaybeSent` if it was sent and not answered."""
        return self._transport.send(request)

    send = ask

    async def task(self) -> None:
        """Do nothing: a probe has a task."""


@attrs.define(eq=False)
class SendChecks:
    """What every link of one pool checks before its request leaves."""

    transport: Transport
    reservations: Reservations
    breaker: Breaker
    lease: Lease
    redis_checks: RedisChecks


@attrs.define(eq=False)
class JobLink:
    """Sends the requests of one round of delivering `job`.

    It is the transport's `Sender` too, as a connection may come long after the request for it.
    """

    send_checks: SendChecks
    job: JobInProgress
    partial: PartialExchange | None = None
    """What the fast path has sent of the first request that takes effect; None once that was gone on with."""
    has_continued: bool = False
    """Whether a question followed a sending that was not refused: if no other sending follows, a part is missing."""
    _took: bool = False

    def ask(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Send a request without effect, such as a look-up, and return the answer. The job does not count as sent.

        Raise `NotSent`, or `MaybeSent` if there was no answer; after a `send` that the target did not refuse, raise
        `NotSent` in both cases.
        """
        if self._took:
            return self._ask_between(request)
        return self.send_checks.transport.send(request)

    def send(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Send a request that has an effect, and return the answer; mark an at-most-once job in Redis first.

        Raise `JobTakenAway`, `JobExpired`, `JobIsDuplicate` or `SendingStopped` if it may not be sent, or what
        `Transport.send` raises. Await it at once. This method is not `async`, since each level of coroutines costs time
        at every wake-up.
        """
        if self.partial is not None:
            return self._resume(request)
        if self._took:
            # It goes on behind what was answered; of this one no byte has left.
            self.job.finish_part()
            self._took = self.has_continued = False
        if self.job.claims is not None and not self.job.effected:
            return self._send_claimed(request, self.job.claims)
        if self.job.at_most_once:
            return self._send_marked(request)
        return self.send_checks.transport.send(request, self)

    async def task(self) -> None:
        """Do nothing: each delivery has a task."""

    def may_send(self) -> None:
        """Raise if the job must not be sent.

        `JobTakenAway`: it is in other hands; `JobExpired`: it expired; `SendingStopped`: nothing may be sent now.
        """
        send_checks = self.send_checks
        if not send_checks.reservations.has(self.job):
            raise JobTakenAway
        if self.job.is_expired(time.time()):
            raise JobExpired
        if not send_checks.breaker.admits or send_checks.breaker.stopped or not send_checks.lease.is_fresh:
            raise SendingStopped

    def note_sending(self) -> None:
        """Note in the job that its first byte may leave from now on."""
        self.job.start_sending()
        self._took = True

    def note_refused(self) -> None:
        """Note that the server refused the last request: the next one is no further part of the same job."""
        self._took = False

    def drop_partial(self) -> bool:
        """Close the connection of a request that the fast path sent, if no `send` took it over; tell whether it did."""
        partial, self.partial = self.partial, None
        if partial is None:
            return False
        assert isinstance(self.send_checks.transport, LeanClient)  # noqa: S101 - who began it
        self.send_checks.transport.take_back(partial.connection, trio.current_time(), fit=False)
        return True

    async def _resume(self, request: Request) -> Response:
        """Return the answer to the request that the fast path has sent, of the same bytes as this one.

        If they differ, the login is another one by now. Who is refused for a login has not run the command, so this
        request is sent then.
        """
        partial, self.partial, self._took = self.partial, None, True
        assert partial is not None and isinstance(self.send_checks.transport, LeanClient)  # noqa: S101, PT018 - who began it
        response = await self.send_checks.transport.resume(partial, request, self)
        if response.status in _LOGIN_REFUSED and self.send_checks.transport.message_of(request) != partial.message:
            return await self.send(request)
        return response

    async def _ask_between(self, request: Request) -> Response:
        """Send a question after something was sent; raise `NotSent` without an answer, as nothing more is sent then."""
        self.has_continued = True
        try:
            return await self.send_checks.transport.send(request)
        except MaybeSent as problem:
            raise NotSent(problem.message, timed_out=problem.timed_out) from problem

    async def _send_claimed(self, request: Request, claimed: JobClaims) -> Response:
        """Send the request once the job has its claims. Of a job that is done in part, the rest is sent without."""
        self.may_send()
        taken = await self.send_checks.redis_checks.claim(self.job.ticket, claimed)
        if taken is False:
            raise JobTakenAway
        if taken is not True:
            raise JobIsDuplicate(taken)
        if self.job.at_most_once:
            return await self._send_marked(request)
        return await self.send_checks.transport.send(request, self)

    async def _send_marked(self, request: Request) -> Response:
        self.may_send()
        if not await self.send_checks.redis_checks.mark(self.job.ticket):
            raise JobTakenAway
        self.job.mark()
        # Not even one that is safe to repeat by the catalogue: who set AtMostOnce says that it is not.
        return await self.send_checks.transport.send(attrs.evolve(request, repeatable=False), self)


async def probe(plan: TargetPlan) -> Probe:
    """Send the target a harmless request, and return what its connector makes of the answer.

    Raise `NotSent` or `MaybeSent` if there was none. A bug in the connector gives a `Probe` that is not `ok`. No text
    of the result has a secret of the target.
    """
    try:
        found = await plan.connector.probe(ProbeLink(plan.transport))
        return attrs.evolve(
            found,
            version=remove_secrets(found.version, plan.target),
            detail=remove_secrets(found.detail, plan.target),
            hint=None if found.hint is None else plan.target.name_own_keys(remove_secrets(found.hint, plan.target)),
        )
    except (NotSent, MaybeSent):
        raise
    except Exception as error:  # noqa: BLE001 - a connector's bug must not end the prober
        bug = plan.bug("The probe", error)
        return Probe(ok=False, denied=False, version=None, detail=bug.message, hint=bug.hint)


def require_outcome(returned: Outcome) -> Outcome:
    """Return what a connector returned; raise `TypeError` for what is no outcome, which nothing could be made of."""
    if not isinstance(returned, Outcome):
        raise TypeError("It returned no outcome.")
    return returned


def outcome_of(plan: TargetPlan, job: JobInProgress, problem: Exception, spec: CommandSpec | None) -> Outcome:
    """Return the outcome for an exception that the connector raised; raise a `NotYet` again if the job was not sent.

    `spec`: the command in the catalogue, None if it is in none.
    """
    match problem:
        case NotYet() if not job.was_sent:
            raise problem
        case NotSent(by_request=True):
            return Rejected(
                Reason("UnsendableRequest", problem.message, "The job's values would make an invalid request.")
            )
        case NotSent():
            return Unsent(unreachable_reason(problem))
        case MaybeSent() if job.delivery < SENDING:
            return Unsent(unreachable_reason(problem))
        case MaybeSent():
            return Uncertain(reason_of(spec, no_answer_reason(problem)))
        case _:
            reason = plan.bug("The connector", problem)
            return Deferred(reason, max_attempts=3) if job.delivery < SENDING else Uncertain(reason)


def is_ours(outcome: Outcome) -> bool:
    """Tell whether the outcome of a delivery that sent nothing was the connector's own, and no sign of the target.

    That is so for a job that it did or refused by itself; not if the outcome pauses the target.
    """
    match outcome:
        case Delivered():
            return outcome.by_us
        case Deferred():
            return not outcome.pause_target
        case _:
            return isinstance(outcome, Rejected)


def redact_outcome(plan: TargetPlan, outcome: _Failed, call: Call, spec: CommandSpec | None) -> Outcome:
    """Return an outcome whose texts show no token, secret argument, hidden message text or secret of the target.

    Its hint names the keys of the target. `spec` (None outside the catalogue) and the names of the arguments say which
    of them are secret.
    """
    outcome = _redact(plan, outcome, call, spec)
    reason = outcome.reason
    if reason.hint is None or (hint := plan.target.name_own_keys(reason.hint)) == reason.hint:
        return outcome
    return attrs.evolve(outcome, reason=attrs.evolve(reason, hint=hint))


def _redact(plan: TargetPlan, outcome: _Failed, call: Call, spec: CommandSpec | None) -> _Failed:
    bodies = frozenset() if plan.shows_bodies else redact.bodies_of(call.command.arguments)
    secrets, reason = redact.secret_values(spec, call.command.arguments) | bodies, outcome.reason
    of_target = spellings_of(plan.target.all_secrets)
    own = of_target | spellings_of_texts(plan.tokens.values)
    text = None if isinstance(outcome, Uncertain | Unsent) else outcome.text
    # It takes a third of the time of hiding, and nearly all answers repeat no secret.
    if len(reason.message) + len(reason.hint or "") <= hiding.EXCERPT_LIMIT and hiding.leaves_unchanged(
        filter(None, (reason.message, reason.hint, text)), secrets, own
    ):
        return outcome
    outcome = attrs.evolve(outcome, reason=reason.hide_secrets(hiding.make_hide(secrets, own), hiding.EXCERPT_LIMIT))
    if isinstance(outcome, Uncertain | Unsent) or text is None:
        return outcome
    return attrs.evolve(outcome, text=hiding.mask_secrets(text, of_target | hiding.spellings_of(bodies)))


def unreachable_reason(problem: NotSent | MaybeSent) -> Reason:
    """Return the reason for a request that could not be sent, or for a look-up or probe without an answer."""
    if isinstance(secret := problem.__cause__, ConfigError):
        return Reason("SecretUnusable", secret.message, f"Jobs wait in Redis. {secret.hint or 'Fix it.'}")
    if isinstance(problem, NotSent) and problem.tls:
        return Reason("TlsRefused", problem.message, f"Jobs wait in Redis. {problem.tls_hint}")
    hint = "Jobs wait in Redis. Check that the server runs, and the target's URL."
    return Reason("TargetUnreachable", problem.message, hint)


def no_answer_reason(problem: MaybeSent) -> Reason:
    """Return the reason for a command that was sent and not answered, so that it may have run."""
    if problem.timed_out:
        hint = (
            "The server hangs or is overloaded: check its load and log. If the command takes that long, raise "
            "RequestTimeout."
        )
        return Reason("TimedOut", problem.message, hint)
    hint = "The server stopped, or a proxy in front drops connections: check the logs of both."
    return Reason("ConnectionLost", problem.message, hint)
