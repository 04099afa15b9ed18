"""The link of a probe; what an exception or an outcome of a connector means for a job, and why deliveries fail.

Always holds: what comes out of here shows no secret, whatever a connector put into it.
"""

from collections.abc import Coroutine
from typing import Any, TypeAlias

import attrs

from restbroker.broker.job_in_progress import SENDING, JobInProgress
from restbroker.broker.target_plan import TargetPlan
from restbroker.config.target_secrets import remove_secrets, spellings_of, spellings_of_texts
from restbroker.errors import ConfigError
from restbroker.job import hiding, redact
from restbroker.job.command import Call, CommandSpec
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Probe, Reason, Rejected, Uncertain, Unsent
from restbroker.job.settle import reason_of
from restbroker.servers.contract import NotYet
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response, Transport

_Failed: TypeAlias = Rejected | Deferred | Uncertain | Unsent | Denied


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
