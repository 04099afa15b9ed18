"""The way to the target for one delivery, which remembers whether the effect may have left, and its failures."""

from collections.abc import Coroutine
from typing import Any

import attrs

from restbroker.broker.item import Item
from restbroker.broker.lane import Lane, LanePlan
from restbroker.config.hidden import without_secrets
from restbroker.errors import ConfigError
from restbroker.job.outcome import Probe, Reason
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response, Transport


class NotOurs(Exception):
    """The job is in other hands by now: a reaper's, or back in its queue. It must not be sent."""


class NotNow(Exception):
    """While the job waited for a connection, the gate closed, the lease ran out, or the lane began to stop."""


@attrs.frozen
class ProbeLink:
    """For a probe: whatever it asks may be sent at any time."""

    _transport: Transport

    def ask(self, request: Request) -> Coroutine[Any, Any, Response]:
        """See `Link`."""
        return self._transport.send(request)

    send = ask


@attrs.define(eq=False)
class WorkerLink:
    """Made by the worker for one round of delivering `item`.

    It is the transport's `Sender` too: a connection may come long after it was asked for.
    """

    lane: Lane
    item: Item
    went_on: bool = False
    """Something was asked after a sending that the server did not refuse: if no other follows, that one was not all."""
    _took: bool = False

    def ask(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Preparation: does not mark the job as sent."""
        if self._took:
            return self._ask_between(request)
        return self.lane.plan.transport.send(request)

    def send(self, request: Request) -> Coroutine[Any, Any, Response]:
        """The effect: what must not run twice is marked in Redis first. Raises `NotOurs` or `NotNow`: not sent.

        To be awaited at once. Without a coroutine of its own: each is one more to pass at every wake-up.
        """
        if self._took:
            # It goes on behind what was answered; of this one no byte has left.
            self.item.effected, self.item.sending = True, False
            self._took = self.went_on = False
        if self.item.at_most_once:
            return self._send_marked(request)
        return self.lane.plan.transport.send(request, self)

    def may_send(self) -> None:
        """See `Sender`."""
        lane = self.lane
        if self.item.ticket not in lane.in_hand:
            raise NotOurs
        if not lane.gate.is_open or lane.gate.stopped or not lane.lease.is_fresh:
            raise NotNow

    def sending(self) -> None:
        """See `Sender`."""
        self.item.sending = self._took = True

    def note_refused(self) -> None:
        """See `Sender`."""
        self._took = False

    async def _ask_between(self, request: Request) -> Response:
        """A question after something was sent. Without its answer nothing more is, so that it fails as `NotSent`."""
        self.went_on = True
        try:
            return await self.lane.plan.transport.send(request)
        except MaybeSent as problem:
            raise NotSent(problem.message, timed_out=problem.timed_out) from problem

    async def _send_marked(self, request: Request) -> Response:
        self.may_send()
        if not await self.lane.mark(self.item.ticket):
            raise NotOurs
        return await self.lane.plan.transport.send(request, self)


async def probe(plan: LanePlan) -> Probe:
    """Asks the target something harmless. Raises `NotSent` or `MaybeSent`; a bug in the connector is "not well".

    No text of what was found has a secret of the target.
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
    """Why nothing was sent, or why a question was not answered."""
    if isinstance(secret := problem.__cause__, ConfigError):
        return Reason("SecretUnusable", secret.message, f"Jobs wait in Redis. {secret.cure or 'Mend it.'}")
    if isinstance(problem, NotSent) and problem.tls:
        cure = "Jobs wait in Redis. Check the server's certificate, and that this system knows its authority."
        return Reason("TlsRefused", problem.message, cure)
    cure = "Jobs wait in Redis. Check that the server runs, and the target's URL."
    return Reason("TargetUnreachable", problem.message, cure)


def unanswered(problem: MaybeSent) -> Reason:
    """Why nobody knows whether what was sent has run."""
    if problem.timed_out:
        cure = (
            "The server hangs or is overloaded: check its load and log. If the command takes that long, raise "
            "RequestTimeout."
        )
        return Reason("TimedOut", problem.message, cure)
    cure = "The server stopped, or a proxy in front drops connections: check the logs of both."
    return Reason("ConnectionLost", problem.message, cure)
