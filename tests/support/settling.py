"""Jobs to be settled, the facts of a try, and what is read out of a settlement. For tests of `job.settle`."""

import json
from typing import Any, TypeVar

import attrs

from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.command import CommandSpec
from restbroker.job.job import Job, read
from restbroker.job.outcome import Reason
from restbroker.job.policy import Context, Policy
from restbroker.job.settle import Final, settle
from restbroker.job.settlement import Dead, Retry, Schedule

NOW_S = 1_700_000_000.123456
WHY = Reason("ServerError", "it broke", "mend it", 500)
ONCE = CommandSpec("send_message", (), "unsafe")
Kind = TypeVar("Kind")


def job(**fields: Any) -> Job:
    """One that stood in the queue "q"."""
    payload = {"class": "Add", "args": ["cmd", {}, "t"], "jid": "a" * 24, "queue": "elsewhere", **fields}
    return read_again(json.dumps(payload).encode())


def read_again(raw: bytes) -> Job:
    """A payload as the next process reads it."""
    entry = read(raw, "q", "0" * 24)
    assert isinstance(entry, Job)
    return entry


def context(**changes: Any) -> Context:
    policy = Policy(SidekiqBackoff(), reply_queue="replies")
    return attrs.evolve(Context(policy, NOW_S, 0.0, 7, "b" * 24, 0.0123456, "cmd"), **changes)


def settled(kind: type[Kind], entry: Job, spec: CommandSpec | None, outcome: Final, **changes: Any) -> Kind:
    settlement = settle(entry, spec, outcome, context(**changes))
    assert isinstance(settlement, kind)
    return settlement


def payload(settlement: object) -> dict[str, Any]:
    """What is stored of the job."""
    assert isinstance(settlement, Retry | Dead | Schedule)
    fields = json.loads(settlement.payload)
    assert isinstance(fields, dict)
    return fields
