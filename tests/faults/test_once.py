"""Jobs with an `idempotency_key` under kill -9: of the jobs of one key one is done, and none is lost."""

import json
from collections import defaultdict
from collections.abc import Callable

import pytest

from restbroker.store.replies import items, raw
from tests.support.bench import CONCURRENCY, Bench, payload

MOST_SENT = 5
"""So many of the first twenty jobs in progress are sent at least: others are their twins."""

Tell = Callable[[str], None]


def pushes_of(key: int) -> list[bytes]:
    """A job, the same once more, as by who repeats a push, and one of another id."""
    first, twin = (
        json.loads(payload(number, "check_account", user=f"once{key}", host="example.org"))
        for number in (key, key + 10_000)
    )
    one, other = (json.dumps({**job, "idempotency_key": f"key-{key}"}).encode() for job in (first, twin))
    return [one, one, other]


@pytest.mark.promise("No command is lost", "jobs of one key, or a push that is repeated: done once")
@pytest.mark.parametrize(("keys", "kills"), [(80, 2), pytest.param(400, 5, marks=pytest.mark.nightly)])
def test_of_the_jobs_of_one_key_one_is_done_however_often_brokers_are_killed(
    bench: Bench, tell: Tell, keys: int, kills: int
) -> None:
    bench.start()
    for kill in range(kills):
        bench.proxy.answers.clear()
        round_keys = range(kill * keys // kills, (kill + 1) * keys // kills)
        sent_before = sum(map(len, bench.proxy.of_jobs().values()))
        bench.push([job for key in round_keys for job in pushes_of(key)])
        bench.wait_until_sent(sent_before + MOST_SENT)
        broker = bench.brokers[-1]
        broker.process.kill()
        broker.process.wait()
        bench.start()
        bench.proxy.answers.set()
    bench.wait_until_finished(120.0)
    sent = bench.proxy.of_jobs()
    jobs: dict[int, set[str]] = defaultdict(set)
    for job in sent:
        jobs[(int(job.split("-")[1], 16) - 1) % 10_000].add(job)
    assert sorted(jobs) == list(range(keys))
    assert {key: found for key, found in jobs.items() if len(found) > 1} == {}
    repeated = sum(len(exchanges) - 1 for exchanges in sent.values())
    assert kills <= repeated <= kills * CONCURRENCY
    values = [
        json.loads(raw(bench.client.command("GET", raw(key))))[:2]
        for key in items(bench.client.command("KEYS", "restbroker:once:*"))
    ]
    assert sorted(values) == sorted([min(found), "done"] for found in jobs.values())
    assert (bench.members("retry"), bench.members("dead")) == ([], [])
    tell(f"{3 * keys} jobs of {keys} keys, {kills} kill -9: {repeated} repeated after a kill, no key done by two jobs")
