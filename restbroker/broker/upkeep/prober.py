"""Finds out when a closed target works again: one prober over all processes, and pauses that all of them keep.

A life runs one per lane. Whoever has the turn probes and tells the others through Redis, so that a dead target sees one
probe every second or two, however many processes wait for it. Always holds: what was found before this lane's gate
closed does not open it; a process believes others only in what is the same for all (that the target does not work, or
works as it did), and asks by itself where its own credentials or the server's version matter, at its start, and while
Redis cannot be asked; a pause made here ends by itself.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Concatenate, Literal, ParamSpec, Protocol, TypeVar

import attrs
import orjson
import trio

from restbroker.broker.delivery.gate import Gate
from restbroker.broker.delivery.link import probe, unreachable
from restbroker.broker.health import StoreHealth
from restbroker.broker.lane import Lane
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.outcome import Probe, Reason
from restbroker.store import limits, probing
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.store.probing import ProbeBusy, ProbeGranted, ProbeResult, Turn
from restbroker.transport.errors import MaybeSent, NotSent

P = ParamSpec("P")
T = TypeVar("T")
Pause = Literal["denied", "retry_after"]
Found = Probe | Reason
"""What a probe found, or why it was not answered."""

_TURN_S = 15.0
"""After so long without a result, somebody else probes. A longer time-out of the request does no harm."""
_COUNTS_S = 1.0
_DENIED_COUNTS_S = 3.5
"""Less than the shortest time between two looks, or a process would hear its own denial instead of asking again."""
_LOOK_AGAIN_S = 0.2
_DENIED_PAUSE_S = 15.0
_SHARE_DENIAL_FOR_S = 60.0
"""By then the others met the denial themselves, or they are let in and must not wait for us."""
_LONGEST_TEXT = 300


class Others(Protocol):
    """What the processes of one Redis tell each other about a target. Nothing here raises."""

    async def turn(self) -> Turn:
        """Asks who probes. `Yours` if Redis cannot be asked."""
        ...

    async def tell(self, text: bytes, counts_s: float) -> None:
        """Ends this process' turn with what it found; it counts for `counts_s` seconds."""
        ...

    async def pause(self, why: Pause, for_s: float) -> None:
        """Has no process fetch for the target for `for_s` seconds."""
        ...

    async def resume(self, why: Pause) -> None:
        """Ends such a pause."""
        ...


@attrs.define(eq=False)
class Prober:
    """`ask` probes; it raises `NotSent` or `MaybeSent` when the target cannot be reached."""

    gate: Gate
    ask: Callable[[], Awaitable[Probe]]
    others: Others
    _paused: bool = False

    async def run(self) -> None:
        """Opens the gate whenever the target works again, until cancelled."""
        while True:
            await self.gate.closed()
            await self._until_due()
            # At the start too: an earlier life of this process may have paused it, before its login was mended.
            may_be_paused = self._paused or self.gate.is_new
            self.gate.learn(await self._find_out())
            if may_be_paused and self.gate.is_open:
                self._paused = False
                await self.others.resume("denied")

    async def _until_due(self) -> None:
        jitter = random.random()  # noqa: S311 - spreads probes, protects nothing
        # No single sleep: a Retry-After or a denial may move the moment meanwhile.
        while (wait_s := self.gate.probe_in_s(jitter)) > 0:
            await self._share()
            await trio.sleep(wait_s)

    async def _share(self) -> None:
        gate = self.gate
        if gate.held_for_s:
            await self.others.pause("retry_after", gate.held_for_s)
        elif gate.denied is not None and gate.let_in and gate.closed_for_s < _SHARE_DENIAL_FOR_S:
            self._paused = True
            await self.others.pause("denied", _DENIED_PAUSE_S)

    async def _find_out(self) -> Found:
        if self.gate.is_new:
            return await self._ask()
        while True:
            match await self.others.turn():
                case ProbeGranted():
                    found = await self._ask()
                    denied = isinstance(found, Probe) and found.denied
                    counts_s = _DENIED_COUNTS_S if denied else _COUNTS_S * random.uniform(1, 2)  # noqa: S311 - as above
                    await self.others.tell(encode(found), counts_s)
                    return found
                case ProbeResult(text, age_ms) if age_ms / 1000 < self.gate.closed_for_s:
                    told = decode(text)
                    return told if told is not None and self._believes(told) else await self._ask()
                case ProbeResult() | ProbeBusy():
                    await trio.sleep(_LOOK_AGAIN_S * random.uniform(0.75, 1.25))  # noqa: S311 - as above

    def _believes(self, told: Found) -> bool:
        gate = self.gate
        if isinstance(told, Probe) and told.ok:
            return gate.let_in and gate.denied is None and told.version in {None, gate.server_version}
        return (isinstance(told, Probe) and told.denied) == (gate.denied is not None)

    async def _ask(self) -> Found:
        try:
            return await self.ask()
        except (NotSent, MaybeSent) as problem:
            return unreachable(problem)


def encode(found: Found) -> bytes:
    """As others read it: cut to a bounded length, and always JSON."""
    fields = attrs.asdict(found)
    return orjson.dumps({name: _cut(value) if isinstance(value, str) else value for name, value in fields.items()})


def decode(text: bytes) -> Found | None:
    """What another process found; None if it speaks of something that this version does not know."""
    try:
        fields = orjson.loads(text)
        return Probe(**fields) if "ok" in fields else Reason(**fields)
    except (ValueError, TypeError):
        return None


def _cut(text: str) -> str:
    # Four bytes a character at most: a control character would take six.
    return "".join(one if one.isprintable() else " " for one in text[:_LONGEST_TEXT])


@attrs.define(eq=False)
class OverRedis:
    """`Others` over a lane's own connection; every call is one short script. `owner` is the lane's identity."""

    store: Connection
    health: StoreHealth
    target: str
    owner: str

    async def turn(self) -> Turn:
        """As `Others`."""
        turn = await self._call(probing.claim, self._name, self.owner, probing.milliseconds(_TURN_S))
        return ProbeGranted() if turn is None else turn

    async def tell(self, text: bytes, counts_s: float) -> None:
        """As `Others`."""
        await self._call(probing.publish, self._name, self.owner, text, probing.milliseconds(counts_s))

    async def pause(self, why: Pause, for_s: float) -> None:
        """As `Others`."""
        await self._call(limits.pause, self.target, why, for_s)

    async def resume(self, why: Pause) -> None:
        """As `Others`."""
        await self._call(limits.resume, self.target, why)

    @property
    def _name(self) -> str:
        return f"probe:{self.target}"

    async def _call(self, do: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """None if Redis cannot be asked, or does not allow it."""
        if not self.health.is_up:
            return None
        began_s = trio.current_time()
        try:
            return await self.store.call(do, *args, **kwargs)
        except StoreUnavailable as error:
            self.health.lost(error, began_s)
        except StoreRefused:
            pass  # a user without the right to these keys: then every process probes by itself
        return None


async def run(lane: Lane) -> None:
    """Probes a lane's target whenever its gate is closed, until cancelled."""

    async def ask() -> Probe:
        return await probe(lane.plan)

    others = OverRedis(lane.store, lane.health, lane.plan.target.name, lane.identity)
    await Prober(lane.gate, ask, others).run()
