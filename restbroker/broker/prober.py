"""Probes a target whose breaker is tripped, for all processes together, and pauses the target for all of them.

A generation runs one prober per pool. The process with the lease probes and shares the result through Redis, so that
a dead target gets one probe every second or two, however many processes wait for it. Always holds: a result from before
this pool's breaker tripped does not reset it; a process uses the result of another one only where it is the same for
all (the target does not work, or works as before), and probes by itself where its own login or the server's version
matter, at its start, and while Redis is away; a pause that a prober made ends by itself.
"""

import math
import random
from collections.abc import Awaitable, Callable
from typing import Concatenate, Literal, ParamSpec, TypeVar

import attrs
import orjson
import trio

from restbroker.broker.breaker import Breaker
from restbroker.broker.health import StoreHealth
from restbroker.broker.identity import Identity
from restbroker.broker.judging import unreachable_reason
from restbroker.broker.rules import UNTOUCHED_S
from restbroker.broker.target_plan import TargetPlan
from restbroker.config.target_secrets import remove_secrets
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.outcome import Probe, Reason
from restbroker.light import define
from restbroker.servers.contract import DirectLink
from restbroker.store import limits, probing
from restbroker.store.client import Client, visible
from restbroker.store.connection import Connection
from restbroker.store.probing import ProbeBusy, ProbeClaim, ProbeGranted, ProbeResult
from restbroker.transport.message import MaybeSent, NotSent

P = ParamSpec("P")
T = TypeVar("T")
Pause = Literal["denied", "retry_after"]
ProbeFinding = Probe | Reason
"""What a probe found, or why it was not answered."""

_LEASE_S = 15.0
"""Seconds without a result until another process probes. A longer time-out of the request does no harm."""
_COUNTS_S = 1.0
_DENIED_COUNTS_S = 3.5
"""Seconds for which a denial counts: fewer than between two probes, or a process would get its own one back."""
_LOOK_AGAIN_S = 0.2
_DENIED_PAUSE_S = 15.0
_SHARE_DENIAL_FOR_S = 60.0
"""Seconds for which a denial pauses others: by then they met it too, or they are let in and must not wait for us."""
_LONGEST_TEXT = 300
_LOOK_FOR_RESUME_S = 2.0
_PROBING_S = 15.0
"""For so many seconds longer than the first minute others wait, for the result of the first probe after it."""


@define(eq=False)
class ProbeSharing:
    """How the processes of one Redis share probes and pauses of a target. No method raises; all are safe to cancel.

    `store`: a pool's own connection; every call is one short script. `owner` is the pool's identity.
    """

    store: Connection
    health: StoreHealth
    target: str
    owner: Identity

    async def claim(self) -> ProbeClaim:
        """Return `ProbeGranted` if this process is to probe; else a shared `ProbeResult`, or `ProbeBusy`.

        `ProbeGranted` too if Redis is away or refuses the call.
        """
        claim = await self._call(probing.claim, self._name, self.owner.name, _LEASE_S)
        return ProbeGranted() if claim is None else claim

    async def publish(self, text: bytes, counts_s: float) -> None:
        """End this process' lease and share its result: `text`, from `encode`, is valid for `counts_s` seconds."""
        await self._call(probing.publish, self._name, self.owner.name, text, counts_s)

    async def pause(self, why: Pause, for_s: float) -> None:
        """Keep every process from fetching for the target for `for_s` seconds; not if Redis is away or refuses it."""
        await self._call(limits.pause, self.target, why, for_s)

    async def resume(self, why: Pause) -> None:
        """End a pause that was made for this reason; not if Redis is away or refuses it."""
        await self._call(limits.resume, self.target, why)

    async def paused_for_s(self) -> float | None:
        """Return for how many seconds a Retry-After still pauses all processes, 0 if none does; None: not known."""
        left_s = await self._call(limits.pauses, self.target)
        return None if left_s is None else left_s.get("retry_after", 0.0)

    @property
    def _name(self) -> str:
        return f"probe:{self.target}"

    async def _call(self, do: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Call `do` and return its result; None if Redis cannot be reached, or does not allow it."""
        if not self.health.is_up:
            return None
        began_s = trio.current_time()
        try:
            return await self.store.call(do, *args, **kwargs)
        except StoreUnavailable as error:
            self.health.record_outage(error, began_s)
        except StoreRefused:
            pass  # a user without the right to these keys: then every process probes by itself
        return None


@define(eq=False)
class Prober:
    """Resets a breaker when its target works. `ask` sends a probe; it raises `NotSent` or `MaybeSent` if unanswered.

    `before_result` is awaited before a result is reported to the breaker, which may have jobs sent at once.
    """

    breaker: Breaker
    ask: Callable[[], Awaitable[Probe]]
    sharing: ProbeSharing
    before_result: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    _paused: bool = False
    _shared_until_s: float = -math.inf
    """Until when a Retry-After pauses all processes by our word."""

    async def run(self) -> None:
        """Probe while the breaker is tripped, and report each result to it (`record_probe`), until cancelled."""
        while True:
            await self.breaker.wait_to_probe()
            await self._until_due()
            # At the start too: an earlier generation of this process may have paused it, before its login was fixed.
            at_start = self.breaker.is_untried
            found = await self._find_out()
            await self.before_result()
            self.breaker.record_probe(found)
            if self.breaker.admits:
                await self._end_pauses(at_start=at_start)

    async def probe_after_denial(self, denial: Reason) -> bool:
        """Tell, by a probe, whether the target admits the broker though it denied a job; if not, trip the breaker."""
        found = await self._ask()
        if isinstance(found, Reason):
            self.breaker.trip(found)
            return False
        if found.denied:
            self.breaker.deny(denial)
        elif not found.ok:
            self.breaker.trip(Reason("TargetUnwell", found.detail))
        return found.ok

    async def _until_due(self) -> None:
        jitter = random.random()  # noqa: S311 - spreads probes, protects nothing
        # No single sleep: a Retry-After or a denial may move the moment meanwhile.
        while (wait_s := self.breaker.probe_in_s(jitter)) > 0:
            if self.breaker.paused_for_s:
                await self._share_pause()
                wait_s = min(wait_s, _LOOK_FOR_RESUME_S)
            else:
                await self._share_denial()
            await trio.sleep(wait_s)

    async def _end_pauses(self, *, at_start: bool) -> None:
        if self._paused or at_start:
            self._paused = False
            await self.sharing.resume("denied")
        is_ours = self._shared_until_s > trio.current_time()
        # What lasts longer than any first minute was shared after it by a process that is gone, or will probe, too.
        if is_ours or (at_start and (await self.sharing.paused_for_s() or 0.0) > UNTOUCHED_S + _PROBING_S):
            await self.sharing.resume("retry_after")
        self._shared_until_s = -math.inf

    async def _share_pause(self) -> None:
        """Pause all processes for a Retry-After, or end ours if a person resumed the target."""
        breaker, now_s = self.breaker, trio.current_time()
        held_s, for_s = breaker.held_for_s, breaker.paused_for_s
        if held_s:
            for_s = min(for_s, held_s + _PROBING_S)
        if now_s + for_s > self._shared_until_s + 1:
            self._shared_until_s = now_s + for_s
            await self.sharing.pause("retry_after", for_s)
        elif now_s + 1 < self._shared_until_s and await self.sharing.paused_for_s() == 0:
            breaker.rules.end_pause()

    async def _share_denial(self) -> None:
        breaker = self.breaker
        if breaker.denied is not None and breaker.was_let_in and breaker.tripped_for_s < _SHARE_DENIAL_FOR_S:
            self._paused = True
            await self.sharing.pause("denied", _DENIED_PAUSE_S)

    async def _find_out(self) -> ProbeFinding:
        if self.breaker.is_untried:
            return await self._ask()
        while True:
            match await self.sharing.claim():
                case ProbeGranted():
                    found = await self._ask()
                    denied = isinstance(found, Probe) and found.denied
                    counts_s = _DENIED_COUNTS_S if denied else _COUNTS_S * random.uniform(1, 2)  # noqa: S311 - as above
                    await self.sharing.publish(encode(found), counts_s)
                    return found
                case ProbeResult(text, age_ms) if age_ms / 1000 < self.breaker.tripped_for_s:
                    shared = decode(text)
                    return shared if shared is not None and self._believes(shared) else await self._ask()
                case ProbeResult() | ProbeBusy():
                    await trio.sleep(_LOOK_AGAIN_S * random.uniform(0.75, 1.25))  # noqa: S311 - as above

    def _believes(self, finding: ProbeFinding) -> bool:
        breaker = self.breaker
        if isinstance(finding, Probe) and finding.ok:
            return breaker.was_let_in and breaker.denied is None and finding.version in {None, breaker.server_version}
        return (isinstance(finding, Probe) and finding.denied) == (breaker.denied is not None)

    async def _ask(self) -> ProbeFinding:
        try:
            return await self.ask()
        except (NotSent, MaybeSent) as problem:
            return unreachable_reason(problem)


def encode(found: ProbeFinding) -> bytes:
    """Return the JSON that other processes read, with each text cut to a bounded length."""
    fields = attrs.asdict(found)
    fields["cure"] = fields.pop("hint")
    # Four bytes a character at most: a control character would take six.
    texts = {name: visible(value, _LONGEST_TEXT) for name, value in fields.items() if isinstance(value, str)}
    return orjson.dumps({**fields, **texts})


def decode(text: bytes) -> ProbeFinding | None:
    """Return the result that `encode` put into `text`; None if another version wrote it and it cannot be read."""
    try:
        fields = orjson.loads(text)
        fields["hint"] = fields.pop("cure")
        return Probe(**fields) if "ok" in fields else Reason(**fields)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


async def probe(plan: TargetPlan) -> Probe:
    """Send the target a harmless request, and return what its connector makes of the answer.

    Raise `NotSent` or `MaybeSent` if there was none. A bug in the connector gives a `Probe` that is not `ok`. No text
    of the result has a secret of the target.
    """
    try:
        found = await plan.connector.probe(DirectLink(plan.transport))
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
