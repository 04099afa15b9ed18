"""The three ways in which a connector delivers: by its plans, step by step, and in a task for each round."""

from collections import Counter
from typing import Any, Final, Literal, TypeAlias, cast

import attrs

from restbroker.servers.contract import Connector, Plan, Planner

Way: TypeAlias = Literal["plan", "steps", "task"]
WAYS: Final[tuple[Way, ...]] = ("plan", "steps", "task")


class _By:
    """A connector that has no plans, or must have a task too. `planned` counts what its plans understood."""

    def __init__(self, connector: Connector, way: Way, planned: Counter[str]) -> None:
        self._connector, self._way, self._planned = connector, way, planned
        self._plans: dict[str, tuple[Plan, Plan]] = {}
        self.stepwise = way != "task"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connector, name)

    def plan(self, endpoint: str) -> Plan | None:
        if self._way != "plan" or not isinstance(self._connector, Planner):
            return None
        found = self._connector.plan(endpoint)
        if found is None:
            return None
        known = self._plans.get(endpoint)
        if known is None or known[0] is not found:

            def note() -> None:
                self._planned["jobs"] += 1
                found.on_outcome()

            known = self._plans[endpoint] = found, attrs.evolve(found, on_outcome=note)
        return known[1]


def by(connector: Connector, way: Way, planned: Counter[str]) -> Connector:
    """The same connector, which delivers in this way."""
    return cast("Connector", _By(connector, way, planned))
