"""A change that makes each job dearer does not pass unseen."""

from pathlib import Path

from tests.bench import calls_per_job
from tests.support.redis_server import RedisServer

GROWTH = 1.1
ADVICE = (
    "A job now takes {now} calls of functions, and {before} were written down. Profile what was added to the path of "
    "every job. If it is worth it, write the new number down: make count-calls, and say in the commit what it buys."
)


def test_a_job_does_not_take_a_tenth_more_calls_than_were_written_down(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    before, now = calls_per_job.committed(), calls_per_job.measured(redis_server, tmp_path)
    assert now.own <= before.own * GROWTH, ADVICE.format(now=now, before=before)
    assert now.all <= before.all * GROWTH, ADVICE.format(now=now, before=before)
