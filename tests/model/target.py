"""The target of a simulated world: transport and connector in one, which counts what ran."""

from collections.abc import Callable

import attrs
import trio

from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.outcome import Deferred, Delivered, Outcome, Probe, Reason
from restbroker.servers.contract import Link
from restbroker.transport.message import NotSent, Request, Response, Sender

SPECS = {"safe": CommandSpec("safe", (), "safe"), "once": CommandSpec("once", (), "unsafe")}


@attrs.define(eq=False)
class SimulatedTarget:
    """`begun` has the jid of each command that the client began to send, `ran` of those that arrived, with their
    times on Trio's clock.
    """

    status: int = 200
    up: bool = True
    duration_s: Callable[[], float] = lambda: 0.05
    begun: list[str] = attrs.field(factory=list)
    ran: list[tuple[str, float]] = attrs.field(factory=list)

    @property
    def jids(self) -> list[str]:
        """What ran, in its order."""
        return [jid for jid, _ in self.ran]

    @property
    def catalogue(self) -> Catalogue:
        """The commands."""
        return Catalogue("1.0", SPECS)

    def spec(self, endpoint: str) -> CommandSpec | None:
        """One command."""
        return SPECS.get(endpoint)

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        """Runs a command, unless the server is down."""
        await trio.lowlevel.checkpoint()
        if sender is not None:
            sender.may_send()
            sender.start_sending()
        self.begun.append(request.body.decode())
        if not self.up:
            raise NotSent("Nobody listens.")
        self.ran.append((request.body.decode(), trio.current_time()))
        await trio.sleep(self.duration_s())
        return Response(self.status, {}, b"0", 0.0)

    async def keep_none(self) -> None:
        """Nothing is kept."""

    async def aclose(self) -> None:
        """Nothing is open."""

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """200 is done, everything else "not now"."""
        jid = str(call.command.arguments.get("jid"))
        response = await link.send(Request("POST", "/", call.timeout_s, body=jid.encode("utf-8", "replace")))
        if response.status == 200:
            return Delivered("0", 0, 200)
        return Deferred(Reason("ServerError", f"status {response.status}", None, response.status))

    async def probe(self, _link: Link) -> Probe:
        """Fine, unless the server is down."""
        await trio.lowlevel.checkpoint()
        if not self.up:
            raise NotSent("Nobody listens.")
        return Probe(ok=True, denied=False, version="1.0", detail="fine")

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Has no background work."""
        task_status.started()
        await trio.sleep_forever()
