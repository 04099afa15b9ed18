"""A target that is probed, and what it may answer. For tests of the breaker and the prober."""

import attrs
import trio

from restbroker.job.outcome import Probe, Reason, Unsent
from restbroker.transport.message import NotSent

FINE = Probe(ok=True, denied=False, version="24.12", detail="ejabberd 24.12")
DENIED = Probe(ok=False, denied=True, version=None, detail="401")
UNSENT = Unsent(Reason("TargetUnreachable", "refused"))


@attrs.define(eq=False)
class Target:
    """Answers each probe with the next of `answers`; the last one stays."""

    answers: list[Probe | NotSent] = attrs.field(factory=lambda: [FINE])
    probed_at_s: list[float] = attrs.field(factory=list)

    async def ask(self) -> Probe:
        self.probed_at_s.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, NotSent):
            raise answer
        return answer
