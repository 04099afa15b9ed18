"""The events of settled jobs: of good ones how long they took, of each other one all that is known."""

import io
from collections import Counter

from restbroker.job.hiding import MASK
from restbroker.job.outcome import Delivered, Outcome, Reason, Rejected
from restbroker.telemetry.events import Event, JobFinished, JobsDelivered
from restbroker.telemetry.log import LogSink
from tests.broker.conftest import Harness


def counted(events: list[Event]) -> int:
    """How many jobs were reported."""
    groups = [event for event in events if isinstance(event, JobsDelivered)]
    return sum(isinstance(event, JobFinished) for event in events) + sum(
        len(durations_s) for group in groups for durations_s in group.took_s.values()
    )


async def settled(harness: Harness, count: int) -> list[Event]:
    """The events of a broker until it has reported so many jobs."""
    events: list[Event] = []
    harness.report = events.append
    await harness.serve_until(lambda: counted(events) >= count, "all are reported")
    assert counted(events) == count
    return events


async def test_delivered_jobs_are_reported_together_and_once_each(harness: Harness) -> None:
    harness.push("safe", 60)
    harness.push("once", 40)
    events = await settled(harness, 100)
    groups = [event for event in events if isinstance(event, JobsDelivered)]
    assert len(groups) < 100, "not each alone"
    assert not [event for event in events if isinstance(event, JobFinished)]
    jobs = [job for group in groups for job in group.each()]
    assert {job.jid for job in jobs} == {
        f"jid-{name}-{n}" for name, count in (("safe", 60), ("once", 40)) for n in range(count)
    }
    assert {(job.target, job.queue, job.outcome, job.fate, job.attempt, job.status) for job in jobs} == {
        ("t", "rest", "delivered", "ack", 1, 200)
    }
    for group in groups:
        times = Counter((job.command, job.duration_s) for job in group.each())
        assert times == Counter((name, time_s) for name, times_s in group.took_s.items() for time_s in times_s)


async def test_other_outcomes_are_reported_one_by_one(harness: Harness) -> None:
    outcomes: list[Outcome] = [
        Delivered("0", 0, 200),
        Delivered("0", 0, 200, note="already done"),
        Rejected(Reason("NotFound", "no such user", "Look.", 404)),
    ]
    harness.target.judge = lambda call, _response: outcomes[int(str(call.command.arguments["n"]))]
    harness.push("safe", 3)
    events = await settled(harness, 3)
    alone = {event.jid: event for event in events if isinstance(event, JobFinished)}
    assert alone.keys() == {"jid-safe-1", "jid-safe-2"}
    assert (alone["jid-safe-1"].outcome, alone["jid-safe-1"].fate, alone["jid-safe-1"].note) == (
        "delivered", "ack", "already done",
    )  # fmt: skip
    failed = alone["jid-safe-2"]
    assert (failed.outcome, failed.fate, failed.status, failed.code, failed.message, failed.hint) == (
        "rejected", "dead", 404, "NotFound", "no such user", "Look.",
    )  # fmt: skip


async def test_misplaced_token_is_not_shown_and_costs_no_time(harness: Harness) -> None:
    harness.token = "secret-token"
    for jid, command in enumerate(("secret-token", "a-secret-token", "safe", "safe")):
        harness.raw(b'{"class":"Add","jid":"%d","args":["%s",{},"secret-token"]}' % (jid, command.encode()))
    harness.raw(b'{"class":"Add","jid":"my secret-token","args":["safe",{},"secret-token"]}')
    groups = [event for event in await settled(harness, 5) if isinstance(event, JobsDelivered)]
    commands = Counter[str]()
    for group in groups:
        commands.update({name: len(times_s) for name, times_s in group.took_s.items()})
    assert commands == {MASK: 2, "safe": 3}
    assert {job.jid for group in groups for job in group.each()} == {"0", "1", "2", "3", MASK}
    assert {job.command for group in groups for job in group.each()} == {MASK, "safe"}


async def test_admitted_dead_jobs_have_a_line_and_refusals_are_summed(
    harness: Harness,
) -> None:
    harness.target.judge = lambda _call, _response: Rejected(Reason("NotFound", "no such user", "Look.", 404))
    harness.push("safe", 5)
    harness.push("once", 5, dead=False)
    harness.push("safe", 5, first=5, args=["safe", {}, "wrong"])
    stream = io.StringIO()
    log = LogSink(stream=stream)
    for event in await settled(harness, 15):
        log(event)
    log.tick(10.0)
    failed = [line for line in stream.getvalue().splitlines() if " job.failed " in line]
    for command in ("safe", "once"):
        for number in range(5):
            assert sum(f" jid=jid-{command}-{number} " in line for line in failed) == 1
    assert sum(" code=BadToken " in line for line in failed) == 1
    assert "jobs.failed target=t code=BadToken count=4" in stream.getvalue()
    assert "jobs.failed target=t code=NotFound" not in stream.getvalue()


async def test_delivered_job_with_refused_reply_is_reported_as_dead(harness: Harness) -> None:
    harness.client.command("SET", "queue:replies", "no list")
    harness.raw(b'{"class":"Add","jid":"j","args":["safe",{"n":0},"t","reply"]}')
    (event,) = [event for event in await settled(harness, 1) if isinstance(event, JobFinished)]
    assert (event.outcome, event.fate, event.code, event.command) == ("delivered", "dead", "ReplyRefused", "safe")
