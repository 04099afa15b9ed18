"""Runs a state machine of Hypothesis against a server: many random histories. Used by the models of this folder."""

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.store.pools import Server


def run_histories(machine: type[RuleBasedStateMachine], server: Server, *, histories: int, steps: int) -> None:
    """Run the machine with `server` as its own; `histories` counts where MODEL_HISTORIES names no number."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        type("Machine", (machine,), {"server": server}),
        settings=settings(
            print_blob=True,
            max_examples=int(os.environ.get("MODEL_HISTORIES", histories)),
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=checks,
        ),
    )
