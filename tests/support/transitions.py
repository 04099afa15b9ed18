"""Compares every change of a job's two states with the table of those that are legal, while a broker runs in the test.

The broker itself checks only what costs nothing (`JobInProgress`). A change that is not in the table is noted, not
raised, and so is one that the broker refuses: the job would be dead as one that met a bug, and nothing else be seen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs
import pytest

from restbroker.broker.job_in_progress import DeliveryState, IllegalTransition, JobInProgress, SettlingState

LEGAL_STEPS: Final = frozenset(
    {
        ("FETCHED", "ADMITTED"),
        ("ADMITTED", "MARKED"),
        ("ADMITTED", "SENDING"),
        ("MARKED", "SENDING"),
        ("MARKED", "ADMITTED"),
        ("SENDING", "ANSWERED"),
        ("SENDING", "ADMITTED"),
        ("NONE", "DECIDED"),
        ("DECIDED", "REQUESTED"),
        ("DECIDED", "REFUSED"),
        ("DECIDED", "CONFIRMED"),
        ("REQUESTED", "REFUSED"),
        ("REQUESTED", "CONFIRMED"),
        ("REFUSED", "REQUESTED"),
        ("REFUSED", "CONFIRMED"),
    }
)
"""The legal changes: the arrows in the header of `restbroker.broker.job_in_progress`."""


@attrs.define(eq=False)
class Transitions:
    """The legal changes that were met, and what was not legal."""

    met: set[tuple[str, str]] = attrs.field(factory=set)
    illegal: list[str] = attrs.field(factory=list)

    def note(self, job: JobInProgress, state: DeliveryState | SettlingState) -> None:
        before = job.delivery if isinstance(state, DeliveryState) else job.settling
        if before == state:
            return
        if (before.name, state.name) in LEGAL_STEPS and not (isinstance(state, DeliveryState) and job.settling):
            self.met.add((before.name, state.name))
        else:
            self.illegal.append(
                f"{job.ticket}: {before.name} -> {state.name} ({job.delivery.name}, {job.settling.name})"
            )


@contextmanager
def watched(patch: pytest.MonkeyPatch, *, is_provoked: bool = False) -> Iterator[Transitions]:
    """Notes all changes inside the block; fails behind it if one was not legal, or refused.

    `is_provoked`: the test provokes refusals.
    """
    transitions = Transitions()
    set_plainly, make_error = JobInProgress.__setattr__, JobInProgress._illegal  # noqa: SLF001 - all refusals are made there

    def set_and_note(job: JobInProgress, name: str, value: object) -> None:
        if name in {"delivery", "settling"}:
            assert isinstance(value, DeliveryState | SettlingState)
            if hasattr(job, "settling"):  # else it is being made
                transitions.note(job, value)
        set_plainly(job, name, value)

    def note_and_make(job: JobInProgress, state: DeliveryState | SettlingState) -> IllegalTransition:
        error = make_error(job, state)
        if not is_provoked:
            transitions.illegal.append(f"{job.ticket}: {error}, refused")
        return error

    patch.setattr(JobInProgress, "__setattr__", set_and_note)
    patch.setattr(JobInProgress, "_illegal", note_and_make)
    yield transitions
    patch.setattr(JobInProgress, "__setattr__", set_plainly)
    patch.setattr(JobInProgress, "_illegal", make_error)
    assert not transitions.illegal, transitions.illegal
