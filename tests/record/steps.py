"""What restbroker does at a server while the answers are recorded, and again while they are played.

Called by `python -m tests.record` and by `tests/golden/recorded.py`. Always holds: each request goes out by the
connector (or `check`) of the kind, so that it is what restbroker sends; steps run one after another, on one connector
for each login.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, TypeAlias, assert_never
from unittest import mock

import attrs

from restbroker.config.target import Target
from restbroker.job.json_types import Json
from restbroker.job.outcome import Outcome, Probe
from restbroker.servers import registry
from restbroker.servers.ejabberd import session
from restbroker.servers.findings import Finding
from tests.servers import sides
from tests.servers.sides import Side

TOKEN: Final = "TOKEN"
"""What stands in the place of a bearer token, which is another one each time."""

ADDRESS: Final = "address"
"""A client without login, which the server knows by the address: 127.0.0.2."""

Entries: TypeAlias = Callable[[str, str], Mapping[str, Any]]
"""The target in env.json by login and the server's origin."""
Result: TypeAlias = Outcome | Probe | Sequence[Finding]


@attrs.frozen
class Step:
    """One thing that is done with a login. `about`: what is to be seen there, where that is not plain."""

    login: str
    does: Literal["command", "probe", "check"] = "command"
    command: str = ""
    arguments: Mapping[str, Json] = attrs.field(factory=dict)
    maybe_run: bool = False
    ok_if_exists: bool = False
    about: str = ""

    def written(self) -> dict[str, Any]:
        """Return it as JSON, without what is usual; `about` is the exchange's."""
        plain = Step(self.login, about=self.about)
        return {"login": self.login} | {
            name: value for name, value in attrs.asdict(self).items() if value != getattr(plain, name)
        }


@attrs.frozen
class Steps:
    """The steps of one recorded file, and how each login's target is configured."""

    steps: Sequence[Step]
    entries: Entries


async def run(
    steps: Steps, origin: str, each: Callable[[Step, Result], None], before: Callable[[Step], object] = lambda _: None
) -> None:
    """Do all steps at this server, call `before` each, and give `each` what came of it."""
    async with AsyncExitStack() as stack:
        # On a busy machine any login seems slow, and more is asked than was recorded.
        stack.enter_context(mock.patch.object(session, "SLOW_LOGIN_S", inf))
        place = Path(stack.enter_context(TemporaryDirectory()))
        known: dict[str, tuple[Target, Side]] = {}
        for step in steps.steps:
            before(step)
            if step.login not in known:
                target = sides.target_of(place, steps.entries(step.login, origin))
                known[step.login] = target, await stack.enter_async_context(sides.opened(target))
            each(step, await _result(step, *known[step.login]))


async def _result(step: Step, target: Target, side: Side) -> Result:
    match step.does:
        case "command":
            how = {"maybe_run": step.maybe_run, "ok_if_exists": step.ok_if_exists}
            return await side.call(step.command, step.arguments, **how)
        case "probe":
            return await side.probe()
        case "check":
            return await registry.check(target)
        case _:
            assert_never(step.does)
