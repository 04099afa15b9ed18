"""What keeps a pool from taking jobs is told, ends by itself, and loses none."""

from restbroker.store import identities, jobs, pauses
from restbroker.store.jobs import Limits
from restbroker.telemetry.events import BrokerStarted, JobFinished, OperatorWarning
from tests.broker.conftest import Harness


def hindrance(harness: Harness) -> str | None:
    return harness.status.pools[0].hindrance if harness.status.pools else None


def told(harness: Harness) -> list[str]:
    return [event.code for event in harness.of(OperatorWarning)]


async def until_delivered(harness: Harness) -> None:
    await harness.until(lambda: harness.of(JobFinished), "it is delivered")
    await harness.until(lambda: hindrance(harness) is None, "nothing hinders it any more")


async def test_while_the_dead_set_is_full_no_job_is_taken_and_it_is_told(harness: Harness) -> None:
    harness.limits = Limits(dead=1)
    harness.client.command("ZADD", "dead", 1, "{}")
    harness.push()
    async with harness.broker():
        await harness.until(lambda: hindrance(harness) == "dead", "it holds")
        assert (told(harness), harness.target.calls, harness.size("queue:rest")) == (["DeadSetFull"], [], 1)
        harness.client.command("DEL", "dead")
        await until_delivered(harness)


async def test_while_its_target_is_paused_no_job_is_taken(harness: Harness) -> None:
    pauses.pause_target(harness.client, "t", "ann", "for a moment", None)
    harness.push()
    async with harness.broker():
        await harness.until(lambda: hindrance(harness) == "paused", "it holds")
        assert (harness.target.calls, harness.size("queue:rest")) == ([], 1)
        pauses.resume_target(harness.client, "t")
        await until_delivered(harness)


async def test_a_queue_that_is_no_list_is_told_and_served_once_it_is_one(harness: Harness) -> None:
    harness.client.command("SET", "queue:rest", "a text")
    async with harness.broker():
        await harness.until(lambda: hindrance(harness) == "refused", "it is refused")
        assert told(harness) == ["BadQueue"]
        harness.client.command("DEL", "queue:rest")
        harness.push()
        await until_delivered(harness)


async def test_jobs_that_redis_gave_us_unheard_are_found_at_the_next_fetch(harness: Harness) -> None:
    async with harness.broker():
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        (identity,) = identities.live_identities(harness.client)
        harness.push(into="aside")
        harness.client.command("RENAME", "queue:aside", "queue:rest")
        unheard = jobs.FetchRequest(identity, "t", harness.queues, 0, 1, 0)
        assert isinstance(jobs.fetch(harness.client, unheard), jobs.FetchResult)
        harness.push(first=1)
        await harness.until(lambda: len(harness.of(JobFinished)) == 2, "both are delivered")
    assert sorted(event.jid for event in harness.of(JobFinished)) == ["jid-safe-0", "jid-safe-1"]
