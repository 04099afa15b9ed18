"""The way to the target for one delivery, which remembers whether the effect may have left; and why deliveries fail."""

from collections.abc import Coroutine
from typing import Any

import attrs

from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.worker_pool import TargetPlan, WorkerPool
from restbroker.config.hidden import without_secrets
from restbroker.errors import ConfigError
from restbroker.job.outcome import Probe, Reason
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response, Transport


class NotOurs(Exception):
    """The job is in other hands by now: a reaper's, or back in its queue. It must not be sent."""


class NotNow(Exception):
    """While the job waited for a connection, the breaker tripped, the lease ran out, or the pool began to stop."""


@attrs.frozen
class ProbeLink:
    """The way to the target for a probe, which may send its requests at any time."""

    _transport: Transport

    def ask(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Send the request and return the answer; raise `NotSent` or `MaybeSent`."""
        return self._transport.send(request)

    send = ask


@attrs.define(eq=False)
class JobLink:
    """The way to the target for one round of delivering `item`, made by the worker.

    It is the transport's `Sender` too, as a connection may come long after the request for it.
    """

    pool: WorkerPool
    item: JobInProgress
    went_on: bool = False
    """Whether a question followed a sending that was not refused: if no other sending follows, a part is missing."""
    _took: bool = False

    def ask(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Send a request that prepares the delivery, and return the answer. The job does not count as sent.

        Raise `NotSent` or `MaybeSent`; only `NotSent` once something was sent.
        """
        if self._took:
            return self._ask_between(request)
        return self.pool.plan.transport.send(request)

    def send(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Send the request that has the effect, and return the answer; mark in Redis first what must not run twice.

        Raise `NotOurs` or `NotNow`: not sent; or what `Transport.send` raises. To be awaited at once: it has no
        coroutine of its own, since each is one more to pass at every wake-up.
        """
        if self._took:
            # It goes on behind what was answered; of this one no byte has left.
            self.item.effected, self.item.sending = True, False
            self._took = self.went_on = False
        if self.item.at_most_once:
            return self._send_marked(request)
        return self.pool.plan.transport.send(request, self)

    def may_send(self) -> None:
        """Raise `NotOurs` if the job is in other hands by now, `NotNow` if nothing may be sent at the moment."""
        pool = self.pool
        if self.item.ticket not in pool.in_hand:
            raise NotOurs
        if not pool.breaker.admits or pool.breaker.stopped or not pool.lease.is_fresh:
            raise NotNow

    def sending(self) -> None:
        """Note in the item that its first byte may leave from now on."""
        self.item.sending = self._took = True

    def note_refused(self) -> None:
        """Note that the server refused what was sent: a request behind it does not go on from there."""
        self._took = False

    async def _ask_between(self, request: Request) -> Response:
        """Send a question after something was sent; raise `NotSent` without an answer, as nothing more is sent then."""
        self.went_on = True
        try:
            return await self.pool.plan.transport.send(request)
        except MaybeSent as problem:
            raise NotSent(problem.message, timed_out=problem.timed_out) from problem

    async def _send_marked(self, request: Request) -> Response:
        self.may_send()
        if not await self.pool.mark(self.item.ticket):
            raise NotOurs
        return await self.pool.plan.transport.send(request, self)


async def probe(plan: TargetPlan) -> Probe:
    """Send the target something harmless, and return what was found; raise `NotSent` or `MaybeSent`.

    A bug in the connector is "not well". No text of what was found has a secret of the target.
    """
    try:
        found = await plan.connector.probe(ProbeLink(plan.transport))
    except (NotSent, MaybeSent):
        raise
    except Exception as error:  # noqa: BLE001 - a connector's bug must not end the prober
        bug = plan.bug("The probe", error)
        return Probe(ok=False, denied=False, version=None, detail=bug.message, cure=bug.cure)
    return attrs.evolve(
        found,
        version=without_secrets(found.version, plan.target),
        detail=without_secrets(found.detail, plan.target),
        cure=without_secrets(found.cure, plan.target),
    )


def unreachable(problem: NotSent | MaybeSent) -> Reason:
    """Return why nothing was sent, or why a question was not answered."""
    if isinstance(secret := problem.__cause__, ConfigError):
        return Reason("SecretUnusable", secret.message, f"Jobs wait in Redis. {secret.cure or 'Mend it.'}")
    if isinstance(problem, NotSent) and problem.tls:
        cure = "Jobs wait in Redis. Check the server's certificate, and that this system knows its authority."
        return Reason("TlsRefused", problem.message, cure)
    cure = "Jobs wait in Redis. Check that the server runs, and the target's URL."
    return Reason("TargetUnreachable", problem.message, cure)


def unanswered(problem: MaybeSent) -> Reason:
    """Return why it is unknown whether what was sent has run."""
    if problem.timed_out:
        cure = (
            "The server hangs or is overloaded: check its load and log. If the command takes that long, raise "
            "RequestTimeout."
        )
        return Reason("TimedOut", problem.message, cure)
    cure = "The server stopped, or a proxy in front drops connections: check the logs of both."
    return Reason("ConnectionLost", problem.message, cure)
