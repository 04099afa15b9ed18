"""What the end of a round means: the outcome that counts for the job, without secrets, noted by the breaker.

Its life calls `interpret` in step 7 of a job's life (`delivery.py`), for each round that did not simply deliver its
job, and settles the job by what it returns, or has another round. Always holds: what comes out of here shows no secret,
whatever a connector put into it; of a job that was not sent, nothing says that it was; and what comes back unsent is
held before anything else becomes of it, so that another life of it may begin.
"""

from typing import Final, TypeAlias

import attrs

from restbroker.broker.breaker import Breaker
from restbroker.broker.delivery import Delivery, JobExpired, JobIsDuplicate, JobTakenAway, Part, SendingStopped
from restbroker.broker.job_in_progress import SENDING, JobInProgress, Reservations
from restbroker.broker.steps import AwaitedWithoutTask
from restbroker.broker.target_plan import TargetPlan
from restbroker.config.target_secrets import spellings_of, spellings_of_texts
from restbroker.errors import ConfigError
from restbroker.job import hiding, redact, settle
from restbroker.job.command import Call, CommandSpec
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected, Uncertain, Unsent
from restbroker.job.settle import reason_of
from restbroker.light import define
from restbroker.servers.contract import NotYet
from restbroker.transport.message import MaybeSent, NotSent

_UNSENT: Final = (JobTakenAway, SendingStopped, JobExpired, JobIsDuplicate)
_Failed: TypeAlias = Rejected | Deferred | Uncertain | Unsent | Denied


@define(eq=False)
class Judge:
    """Judges the rounds of one pool."""

    plan: TargetPlan
    reservations: Reservations
    breaker: Breaker

    def interpret(self, delivery: Delivery, ended: Outcome | Exception | None, took_s: float) -> Outcome | None:
        """Return what came of a round, without secrets, once the breaker has noted it; None: it is to be sent again.

        No text of an outcome shows a token, a secret argument, or, unless it is delivered, a secret of the target, no
        matter what the connector made of it. Raise `NotYet`, `JobExpired` and `JobIsDuplicate`, of an unsent job.
        """
        job, spec = delivery.job, delivery.admitted.endpoint.spec
        if isinstance(ended, _UNSENT) or (isinstance(ended, NotYet) and not job.was_sent):
            return self._record_unsent(job, ended)
        if not isinstance(ended, Exception) and not isinstance(ended, Outcome):
            ended = TypeError("It returned no outcome.")
        outcome = outcome_of(self.plan, job, ended, spec) if isinstance(ended, Exception) else ended
        outcome = self._record_outcome(delivery, outcome, took_s, counts=not isinstance(ended, MemoryError))
        if isinstance(outcome, Denied | Unsent):
            job.hold(effected=delivery.part is Part.TOOK_AND_ASKED)
            return Uncertain(_PART_DONE) if job.is_uncertain else outcome
        if isinstance(outcome, Deferred) and job.effected and job.at_most_once:
            return Uncertain(_PART_DONE)
        if not isinstance(outcome, Uncertain):
            job.answer()
        return outcome

    def _record_outcome(self, delivery: Delivery, outcome: Outcome, took_s: float, *, counts: bool) -> Outcome:
        """Return what the connector's outcome means for this job, without secrets, once the breaker has noted it.

        `counts`: it says something about the target, and not about our memory.
        """
        job, call = delivery.job, delivery.call()
        if not isinstance(outcome, Delivered):
            outcome = redact_outcome(self.plan, outcome, call, delivery.admitted.endpoint.spec)
            if job.delivery < SENDING:
                outcome = settle.before_sending(outcome)
            elif job.at_most_once and isinstance(outcome, Denied):
                # Before the breaker sees it: no probe is asked whether it may be sent again.
                outcome = settle.apply_at_most_once(outcome)
        # Else it says what its connector thinks of a job, and nothing about the target.
        if counts and (job.delivery >= SENDING or not is_ours(outcome)):
            in_slot, is_retry, once = delivery.slot is not None, call.attempt > 1, job.at_most_once
            self.breaker.observe(outcome, job.command, took_s, in_slot=in_slot, is_retry=is_retry, once=once)
        return settle.apply_at_most_once(outcome) if job.at_most_once else outcome

    def _record_unsent(self, job: JobInProgress, why: Exception) -> Uncertain | None:
        """Note that the job was not sent, and release it if it is not ours; `Uncertain` if it must not be begun again.

        None: it waits to be sent, unless it was released. Raise `NotYet`, `JobExpired` and `JobIsDuplicate` again.
        """
        job.hold()
        if isinstance(why, NotYet | JobExpired | JobIsDuplicate):
            raise why
        if isinstance(why, JobTakenAway) and not self.reservations.has(job):
            return None
        if job.is_uncertain:
            # Also if Redis gave it away: it applies nothing then, but if the job comes again, it is known that it ran.
            return Uncertain(_PART_DONE)
        if isinstance(why, JobTakenAway):
            self.reservations.release(job.ticket)
        return None


def outcome_of(plan: TargetPlan, job: JobInProgress, problem: Exception, spec: CommandSpec | None) -> Outcome:
    """Return the outcome for an exception that the connector raised.

    `spec`: the command in the catalogue, None if it is in none.
    """
    match problem:
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
            if isinstance(problem, AwaitedWithoutTask):
                reason = attrs.evolve(reason, message=f"{reason.message} {_NO_TASK}")
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
    # If an argument names a secret, the server's words are hidden by its kind; the sentences are ours.
    secrets = redact.secret_values(spec, call.command.arguments, with_texts=False, show_bodies=plan.shows_bodies)
    of_target = spellings_of(plan.target.all_secrets)
    hide = hiding.make_hide(secrets, of_target | spellings_of_texts(plan.tokens.values))
    reason = outcome.reason.hide_secrets(hide, hiding.EXCERPT_LIMIT)
    if isinstance(outcome, Uncertain | Unsent) or outcome.text is None:
        return attrs.evolve(outcome, reason=reason)
    # Its producer's own secrets are in its own answer.
    bodies = hiding.spellings_of(secret for secret in secrets if isinstance(secret, hiding.Bodies))
    return attrs.evolve(outcome, reason=reason, text=hiding.mask_secrets(outcome.text, of_target | bodies))


_SILENT: Final = "The server hangs or is overloaded: check its load and log."


def unreachable_reason(problem: NotSent | MaybeSent) -> Reason:
    """Return the reason for a request that could not be sent, or for a look-up or probe without an answer."""
    if isinstance(secret := problem.__cause__, ConfigError):
        return Reason("SecretUnusable", secret.message, f"Jobs wait in Redis. {secret.hint or 'Fix it.'}")
    if isinstance(problem, NotSent) and problem.tls:
        return Reason("TlsRefused", problem.message, f"Jobs wait in Redis. {problem.tls_hint}")
    is_silent = isinstance(problem, MaybeSent) and problem.timed_out
    check = _SILENT if is_silent else "Check that the server runs, and the target's URL."
    if isinstance(problem, NotSent) and problem.hint is not None:
        check = problem.hint
    return Reason("TargetUnreachable", problem.message, f"Jobs wait in Redis. {check}")


def no_answer_reason(problem: MaybeSent) -> Reason:
    """Return the reason for a command that was sent and not answered, so that it may have run."""
    if problem.timed_out:
        hint = f"{_SILENT} If the command takes that long, raise RequestTimeout."
        return Reason("TimedOut", problem.message, hint)
    hint = "The server stopped, or a proxy in front drops connections: check the logs of both."
    return Reason("ConnectionLost", problem.message, hint)


_NO_TASK = "`deliver` awaited something else than its link: `await link.task()` comes before that."
_PART_DONE = Reason(
    "Uncertain",
    "A part of the command ran; restbroker could not send the rest, and AtMostOnce forbids sending it again.",
    "Check on the server what was done. A retry sends the whole command again.",
)
