"""A job in progress changes its two states along the table, whatever is called in whatever order, and never else."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.broker import job_in_progress
from restbroker.broker.job_in_progress import (
    ADMITTED,
    FETCHED,
    NONE,
    SENDING,
    DeliveryState,
    IllegalTransition,
    JobInProgress,
    SettlingState,
)
from restbroker.broker.tokens import Proof
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job.job import Job, read
from restbroker.job.settlement import Ack, Requeue
from tests.support.transitions import LEGAL_STEPS, watched


def shown() -> tuple[Job, Proof]:
    payload = read(b'{"jid": "j", "args": []}', "q", "", 0)
    assert isinstance(payload, Job)
    return payload, Proof(Token("default", (Secret("t"),)), "t", is_previous=False)


def admit(job: JobInProgress, *, once: bool) -> None:
    payload, proof = shown()
    job.admit(payload, proof, "c", None, once=once)


CALLS: dict[str, Callable[[JobInProgress], None]] = {
    "admit": lambda job: admit(job, once=True),
    "mark": JobInProgress.mark,
    "start_sending": JobInProgress.start_sending,
    "finish_part": lambda job: job.hold(effected=True),
    "hold": JobInProgress.hold,
    "answer": JobInProgress.answer,
    "decide": lambda job: job.decide(Requeue()),
    "decide_delivered": lambda job: job.decide_delivered(Ack(), 200, 0.1, None),
    "revise": lambda job: job.revise(Ack()),
    "request": JobInProgress.request,
    "refuse": JobInProgress.refuse,
    "confirm": JobInProgress.confirm,
}


def a_job() -> JobInProgress:
    return JobInProgress("1:1", 1, "q", b"{}")


@given(st.lists(st.sampled_from(sorted(CALLS)), max_size=30))
def test_order_of_calls_never_leaves_the_table(names: list[str]) -> None:
    """A refused call changes nothing."""
    with pytest.MonkeyPatch.context() as patch, watched(patch, is_provoked=True):
        job = a_job()
        for name in names:
            before = (job.delivery, job.settling, job.settlement, job.effected)
            try:
                CALLS[name](job)
            except IllegalTransition:
                assert (job.delivery, job.settling, job.settlement, job.effected) == before
            assert (job.settlement is None) == (job.settling is NONE)


def test_every_state_is_reached_and_every_step_of_it_taken() -> None:
    with pytest.MonkeyPatch.context() as patch, watched(patch, is_provoked=True) as transitions:
        waiting: list[list[str]] = [[]]
        known: set[tuple[DeliveryState, SettlingState]] = set()
        while waiting:
            path = waiting.pop()
            job = a_job()
            for name in path:
                CALLS[name](job)
            if (job.delivery, job.settling) in known:
                continue
            known.add((job.delivery, job.settling))
            for name, call in CALLS.items():
                other = a_job()
                for step in path:
                    CALLS[step](other)
                try:
                    call(other)
                except IllegalTransition:
                    continue
                waiting.append([*path, name])
    assert transitions.met == LEGAL_STEPS
    assert known == {(state, other) for state in DeliveryState for other in SettlingState}


def test_held_job_waits_as_unsent_and_its_done_part_stays_done() -> None:
    job = a_job()
    assert job.delivery is FETCHED
    admit(job, once=True)
    job.start_sending()
    assert job.is_uncertain
    job.hold(effected=True)
    assert (job.delivery, job.is_uncertain, job.was_sent) == (ADMITTED, True, True)
    job.start_sending()
    job.hold()
    assert (job.delivery < SENDING, job.effected) == (True, True)


def test_names_of_states_are_those_of_the_enums() -> None:
    assert [getattr(job_in_progress, state.name) for state in (*DeliveryState, *SettlingState)] == [
        *DeliveryState,
        *SettlingState,
    ]
