"""Whatever stands in the fields of a job: every version of Sidekiq shows what restbroker makes of it."""

import json
import random
from typing import Any, Final, Literal, assert_never

from restbroker.job import settle
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.job import Job, read
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Reason, Rejected
from restbroker.job.policy import Context, Policy
from restbroker.job.settlement import Dead, Retry, Schedule, Settlement
from tests.sidekiq.readers import JOB_WRAPPER, READERS

JOBS: Final = 1500
NOW_S: Final = 1_700_000_000.25

ODD: Final[list[Json]] = [
    None, True, False, 0, -1, 25, 3.7, 1e15, 1e-5, 2**70, 1_700_000_000, 1_700_000_000_123, 1_700_000_000.5, "", "true",
    "false", "5", "5.5", "NaN", "2023-11-14 22:13:20 UTC", "a\0\n☂😀", "x" * 3000, [], [[]], [None], ["a", 5], {},
    {"a": {}}, {"arguments": []}, {"arguments": 5},
]  # fmt: skip
NAMES: Final = [
    *("class", "args", "jid", "queue", "retry", "retry_for", "retry_queue", "retry_count", "dead", "created_at"),
    *("enqueued_at", "failed_at", "retried_at", "at", "tags", "backtrace", "error_backtrace", "error_class", "cattr"),
    *("error_message", "display_class", "wrapped", "encrypt", "expiry", "locale", "bid", "profile", "discarded_at"),
    *("restbroker_attempts", "restbroker_uncertain", "restbroker_deferred", "restbroker_deferred_at", "", "other"),
]
CLASSES: Final[list[Json]] = [JOB_WRAPPER, "Sidekiq::ActiveJob::Wrapper", "Sidekiq::Extensions::DelayedClass", "Add"]
WRAPPED: Final[list[Json]] = ["Job", "ActionMailer::DeliveryJob", "ActionMailer::MailDeliveryJob"]
ARGS: Final[list[Json]] = [
    [{"job_class": "Job", "arguments": []}], [{"job_class": "Job", "arguments": ["c", {}, "t"]}],
    [{"arguments": []}], [{"arguments": ["M", "m", "deliver_now", {"args": [1]}]}], [{"arguments": [1, 2]}], ["--- x"],
    ["ActionMailer::DeliveryJob"], ["ActionMailer::MailDeliveryJob"], ["--- !ruby/object:Object {}"],
]  # fmt: skip


def _odd_job(chance: random.Random, number: int) -> bytes:
    fields: dict[str, Any] = {name: chance.choice(ODD) for name in chance.sample(NAMES, chance.randint(1, 8))}
    for name, values in (("class", CLASSES), ("wrapped", WRAPPED), ("args", ARGS)):
        if chance.random() < 0.3:
            fields[name] = chance.choice(values)
    return json.dumps({**fields, "number": number}).encode()


def _settled(raw: bytes, chance: random.Random, number: int) -> Dead | Retry | Schedule | None:
    """What happens to it in one of the ways that jobs are stored again; None if it says itself that it shall vanish."""
    job = read(raw, "rest", f"{number:024x}")
    assert isinstance(job, Job), job
    context = Context(Policy(SidekiqBackoff()), NOW_S + number / 1000, chance.random(), number % 1000, "")
    reason = Reason("ServerError", "It says: ☂\0", "Look.", 500)
    made: Settlement
    match chance.randrange(3):
        case 0:
            made = settle.settle(job, None, Rejected(reason), context)
        case 1:
            made = settle.settle(job, None, Deferred(reason, None), context)
        case _:
            made = settle.postpone(job, context)
    return made if isinstance(made, Dead | Retry | Schedule) else None


def _made() -> list[Dead | Retry | Schedule]:
    # The same jobs in each run.
    chance = random.Random(2026)
    made = [_settled(_odd_job(chance, number), chance, number) for number in range(JOBS)]
    return [settlement for settlement in made if settlement is not None]


def _zset(settlement: Dead | Retry | Schedule) -> Literal["dead", "retry", "schedule"]:
    match settlement:
        case Dead():
            return "dead"
        case Retry():
            return "retry"
        case Schedule():
            return "schedule"
        case _:
            assert_never(settlement)


def test_each_version_shows_every_job_of_odd_fields() -> None:
    stored = _made()
    for reader in READERS.values():
        for end in stored:
            reader.job(_zset(end), end.payload)
    assert len(stored) > 0.9 * JOBS
