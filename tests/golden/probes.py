"""What the probe of each kind of server makes of each status and body.

Always holds: what is found depends on no clock, no network and no order. Numbers of statuses are written as N.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Final

import trio
import trio.testing

from restbroker.config.target import Target
from restbroker.job.outcome import Probe
from restbroker.servers import registry
from restbroker.servers.contract import Ports
from restbroker.transport.message import NotSent, Response
from tests.golden.cases import KINDS, Body, Kind
from tests.golden.fates import target_of
from tests.golden.memory import SERVICES, Memory, Way

_MOST_BODIES: Final = 6
_ALL: Final = range(100, 600)
_NOW_S: Final = 1_800_000_000.0


def text() -> str:
    """The probes of all kinds."""
    return "\n".join(line for name, kind in KINDS.items() for line in [f"# {name}", *_of(kind), ""])


def _of(kind: Kind) -> Iterator[str]:
    """What it says, each with a number; then for each body which of it at which statuses."""
    target, said = target_of(kind), dict[str, int]()
    well = [Body(f"the answer to {words}", data) for words, (_, data) in kind.well.items()]
    alike: dict[str, list[str]] = {}
    for body in (*kind.bodies[:_MOST_BODIES], *well):
        alike.setdefault(_spans(target, body, said), []).append(body.name)
    yield from (f"[{number}] {words}" for words, number in said.items())
    yield from (f"= {', '.join(names)}: {spans}" for spans, names in alike.items())


def _spans(target: Target, body: Body, said: dict[str, int]) -> str:
    async def found() -> list[tuple[int, int]]:
        answers = [(status, Response(status, body.headers, body.data, 0.0)) for status in _ALL]
        return [(status, said.setdefault(await _found(target, answer), len(said) + 1)) for status, answer in answers]

    probes = trio.run(found, clock=trio.testing.MockClock(autojump_threshold=0))
    spans = []
    for number, span in itertools.groupby(probes, key=lambda one: one[1]):
        statuses = [status for status, _ in span]
        spans.append(f"{statuses[0]}-{statuses[-1]} [{number}]")
    return ", ".join(spans)


async def _found(target: Target, answer: Response) -> str:
    away = NotSent("Connection refused")
    ports = Ports(lambda _: None, lambda: _NOW_S, Way(Memory(away, answer)), SERVICES)
    try:
        probe = await registry.open_connector(target, ports).probe(Memory(answer, answer))
    except NotSent as error:
        return f"raises NotSent: {error}"
    return re.sub(rf"\b{answer.status}\b", "N", written(probe))


def written(probe: Probe) -> str:
    """Return it in a line."""
    state = "ok" if probe.ok else "denied" if probe.denied else "unwell"
    version = f" {probe.version}" if probe.version else ""
    return f"{state}{version}: {probe.detail}{f' | {probe.hint}' if probe.hint else ''}"
