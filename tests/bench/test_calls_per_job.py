"""A change that makes each job dearer does not pass unseen."""

from pathlib import Path

from tests.bench import calls_per_job
from tests.bench.calls_per_job import ALONE, CROWD, Calls, Load
from tests.support.redis_server import RedisServer

GROWTH = 1.1
GROWTH_IN_A_CROWD = 1.5
CHEAPER = (
    "A job now takes {now} calls of functions, and {before} were written down: write the new number down, or what was "
    "gained can be lost unseen: make count-calls."
)
ADVICE = (
    "A job now takes {now} calls of functions, and {before} were written down. Profile what was added to the path of "
    "every job. If it is worth it, write the new number down: make count-calls, and say in the commit what it buys."
)


def test_a_job_does_not_take_a_tenth_more_calls_than_were_written_down_nor_so_many_less(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    before, now = compare(ALONE, GROWTH, redis_server, tmp_path)
    assert now.own * GROWTH >= before.own, CHEAPER.format(now=now, before=before)


def test_a_job_in_a_crowd_of_workers_does_not_take_half_as_many_calls_more_than_were_written_down(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    compare(CROWD, GROWTH_IN_A_CROWD, redis_server, tmp_path)


def compare(load: Load, growth: float, redis: RedisServer, directory: Path) -> tuple[Calls, Calls]:
    before, now = load.committed(), calls_per_job.measured(load, redis, directory)
    assert now.own <= before.own * growth, ADVICE.format(now=now, before=before)
    assert now.all <= before.all * growth, ADVICE.format(now=now, before=before)
    return before, now
