"""What is said of a job whose answer did not come in time."""

import json
from typing import Final

import attrs
import pytest

from restbroker.console.times import local
from restbroker.operate.answer import state_text
from restbroker.operate.context import ConfigContext
from restbroker.operate.enqueue import ServingProcess
from restbroker.operate.entry import JobView
from restbroker.operate.explain import Location, Timeline
from restbroker.operate.job_search import Kind

AT_S: Final = 1_700_000_000.0
FAILED: Final = {
    "error_class": "ServerError",
    "error_message": "500 The server says: internal_error.",
    "retry_count": 1,
    "restbroker_attempts": [{"code": "ServerError"}, {"code": "ServerError"}],
}
WHY: Final = "ServerError: 500 The server says: internal_error"


def timeline(kind: Kind, **fields: object) -> Timeline:
    raw = json.dumps({"class": "R", "jid": "j1", "queue": "rest", "args": ["status", {}, "t"], **fields}).encode()
    place = Location(kind, kind, JobView(raw, AT_S, ConfigContext({})).entry())
    return Timeline("j1", (place,), (), unseen=())


@pytest.mark.parametrize(
    ("kind", "failed", "told"),
    [
        ("queue", False, "it is still queued and will be tried once the queue rest is resumed"),
        ("retry", True, f"it failed twice ({WHY}) and will be tried again at {local(AT_S)}"),
        ("schedule", False, f"it is scheduled for {local(AT_S)}"),
        ("in progress", False, "it is in progress"),
        ("in progress", True, f"it is in progress again; it failed twice ({WHY})"),
        ("dead", True, f"it is dead: it failed twice ({WHY})"),
    ],
)
def test_what_is_said_is_true_where_the_job_is(kind: Kind, failed: bool, told: str) -> None:
    assert state_text(timeline(kind, **(FAILED if failed else {})), local, " once the queue rest is resumed") == told


@pytest.mark.parametrize(("failed", "before"), [(False, ""), (True, f"failed twice ({WHY}) and ")])
def test_a_job_whose_process_cannot_send_it_is_said_to_wait(failed: bool, before: str) -> None:
    found = timeline("in progress", **(FAILED if failed else {}))
    held = ServingProcess(server_version=None, hindrance="The server is down.", quiet=False)
    found = attrs.evolve(found, locations=(attrs.evolve(found.locations[0], serving=held),))
    assert state_text(found, local) == f"it {before}waits for its target, which gets no jobs now"


def test_of_a_job_that_was_not_found_nothing_is_claimed_that_was_not_seen() -> None:
    assert state_text(Timeline("j1", (), (), unseen=()), local) == "it is in no queue and no set any more"
    told = state_text(Timeline("j1", (), (), unseen=("the dead set",)), local)
    assert told == "it is queued, in progress, or waits for its next try"
