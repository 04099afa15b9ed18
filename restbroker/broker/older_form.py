"""Has pools take nothing while jobs wait in their queues in a form of an older version.

The generation runs one watcher. Always holds: it looks until none was seen for a minute; a pool looks once more before
its first fetch.
"""

from collections.abc import Sequence
from typing import Final

import attrs
import trio

from restbroker.broker.health import ProcessTask
from restbroker.broker.target_plan import TargetPlan
from restbroker.errors import StoreRefused
from restbroker.store import older_form
from restbroker.telemetry.events import OperatorWarning

_EVERY_S: Final = 1.0
_CLEAN_S: Final = 60.0
_WARN_AGAIN_S: Final = 600.0


@attrs.define(eq=False)
class OlderForm(ProcessTask):
    """The watcher of one generation's pools."""

    plans: Sequence[TargetPlan]
    _warned_at_s: dict[str, float] = attrs.field(factory=dict)

    async def run(self) -> None:
        """Look every second until none was seen for a minute."""
        seen_at_s = trio.current_time()
        targets = {plan.target.name: plan.target.queues for plan in self.plans}
        while targets and trio.current_time() - seen_at_s < _CLEAN_S:
            try:
                found = await self.until_up(older_form.find, targets)
            except StoreRefused:
                # Each fetch says so, too.
                found = {}
            for plan in self.plans:
                plan.hold_back(is_older=plan.target.name in found)
            for target, where in found.items():
                seen_at_s = trio.current_time()
                self._warn(target, where)
            await trio.sleep(_EVERY_S)

    def _warn(self, target: str, where: str) -> None:
        now_s = trio.current_time()
        if now_s - self._warned_at_s.get(target, -_WARN_AGAIN_S) >= _WARN_AGAIN_S:
            self._warned_at_s[target] = now_s
            message = f"Jobs of the target {target} wait in the form of an older version ({where}): none is taken."
            self.report(OperatorWarning("OlderForm", message, older_form.HINT, target=target))
