"""Probes targets now as a broker probes a tripped one, to see whether they work and accept restbroker's login.

Called by `restbroker targets probe`. Always holds: nothing is changed there, no job is touched, and Redis is not used.
"""

import time
from collections.abc import Collection
from typing import Final, Literal

import attrs
import trio

from restbroker.app.build import plan_of
from restbroker.broker.link import probe, unreachable_reason
from restbroker.broker.target_plan import TargetPlan
from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.job.outcome import Probe
from restbroker.telemetry.counters import Counters
from restbroker.transport.errors import MaybeSent, NotSent

LIMIT_S: Final = 30.0
State = Literal["ok", "denied", "unhealthy", "unreachable"]
"""What a probe found. `denied`: it works, and refuses restbroker. `unhealthy`: it answers, and does not work."""


@attrs.frozen
class ProbeResult:
    """The result of probing a target. `took_ms`: for the whole probe, which may be more than one request."""

    target: str
    kind: str
    state: State
    version: str | None
    detail: str
    hint: str | None
    took_ms: float


async def probe_targets(config: Config, targets: Collection[str] = (), limit_s: float = LIMIT_S) -> list[ProbeResult]:
    """Probe each of these targets, or all, and return the results in the order of the configuration.

    All are probed at once, for `limit_s` seconds at most. Raise `ConfigError` if one cannot be used. Safe to cancel.
    """
    plan = plan_of(config, lambda _: None, Counters())
    plans = [one for one in plan.targets if not targets or one.target.name in targets]
    found: dict[str, ProbeResult] = {}

    async def ask(one: TargetPlan) -> None:
        found[one.target.name] = await _probe(one, limit_s)

    try:
        async with trio.open_nursery() as nursery:
            for one in plans:
                nursery.start_soon(ask, one)
    finally:
        with trio.CancelScope(shield=True):
            for one in plan.targets:
                await one.transport.aclose()
    return [found[one.target.name] for one in plans]


async def _probe(one: TargetPlan, limit_s: float) -> ProbeResult:
    target, begun_s = one.target, time.monotonic()
    state: State = "unreachable"
    version, detail, hint = None, f"No answer within {duration_text(limit_s)}.", "Check the server's load and log."
    if target.is_local:
        return ProbeResult(
            target.name,
            target.kind,
            "ok",
            version=None,
            detail="Its commands run in Redis: there is no server to ask.",
            hint=None,
            took_ms=0,
        )
    with trio.move_on_after(limit_s):
        try:
            answer = await probe(one)
        except (NotSent, MaybeSent) as problem:
            reason = unreachable_reason(problem)
            detail, hint = reason.message, reason.hint or ""
        else:
            state, version, detail, hint = _state(answer), answer.version, answer.detail, answer.hint or ""
    took_ms = round((time.monotonic() - begun_s) * 1000, 1)
    return ProbeResult(
        target.name, target.kind, state, version=version, detail=detail, hint=hint or None, took_ms=took_ms
    )


def _state(answer: Probe) -> State:
    match answer:
        case Probe(ok=True):
            return "ok"
        case Probe(denied=True):
            return "denied"
        case _:
            return "unhealthy"
