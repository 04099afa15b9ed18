"""A producer whose Redis user may push to one queue only gets no job onto another one through restbroker.

The queue `default` here is that of Ruby workers which share the Redis; nobody here serves it.
"""

import json
from typing import Final

import pytest

from restbroker.errors import StoreRefused
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.replies import items, raw
from tests.support import process
from tests.support.scripted import QUEUE, Citizen
from tests.support.shared import FAST_RETRIES, TOKEN
from tests.support.wait import until

FOREIGN: Final = "default"


def attack(citizen: Citizen, *args: object) -> None:
    """Pushes an attacker's job as a Redis user with the rights that SECURITY.md names for producers."""
    # The last right is for the client of this test, which tells its name.
    rights = ["resetkeys", f"~queue:{QUEUE}", "nocommands", "+lpush", "+client|setname"]
    citizen.client.command("ACL", "SETUSER", "producer", "on", ">secret", *rights)
    fields = {"class": "AdminWorker", "jid": "evil", "queue": FOREIGN, "retry_queue": FOREIGN, "args": list(args)}
    producer = open_client(StoreSettings(citizen.redis.url.replace("redis://", "redis://producer:secret@")))
    try:
        with pytest.raises(StoreRefused, match="no permissions"):
            producer.command("LPUSH", f"queue:{FOREIGN}", b"{}")
        producer.command("LPUSH", f"queue:{QUEUE}", json.dumps(fields).encode())
    finally:
        producer.close()


def foreign(citizen: Citizen) -> list[bytes]:
    return [raw(job) for job in items(citizen.client.command("LRANGE", f"queue:{FOREIGN}", 0, -1))]


@pytest.mark.promise("Security: who can push to the queues", "to reach another queue through retry_queue")
def test_a_job_that_fails_is_tried_again_from_the_queue_that_it_was_pushed_to(citizen: Citizen) -> None:
    citizen.configure(Backoff=FAST_RETRIES)
    broker = citizen.start()
    attack(citizen, "check_account", {"user": "fails1", "host": "example.org"}, TOKEN)
    until(lambda: citizen.times_sent()["fails1"] > 2, "it is tried again and again")
    assert foreign(citizen) == []
    broker.wait_for(r"code=RetryQueueIgnored")


@pytest.mark.promise("Security: who can push to the queues", "to reach another queue through retry_queue")
@pytest.mark.nightly
def test_a_person_who_retries_a_job_with_a_wrong_token_pushes_it_back_to_where_it_came_from(citizen: Citizen) -> None:
    citizen.start()
    attack(citizen, "check_account", {"user": "fails1", "host": "example.org"}, "a guess", None, "more")
    citizen.wait_until_in("dead", 1)
    where = ["--config", str(citizen.config)]
    done = process.run(["dead", "retry", "evil", "--yes", *where], directory=citizen.directory)
    assert (done.returncode, done.stderr) == (0, "1 job retried.\n")
    until(
        lambda: citizen.members("dead")[0].get("retried_at") if citizen.size("dead") else None, "it becomes dead again"
    )
    assert (foreign(citizen), citizen.times_sent()["fails1"]) == ([], 0)


@pytest.mark.promise("Security: who can push to the queues", "to reach another queue through retry_queue")
@pytest.mark.nightly
def test_what_was_parked_for_a_queue_of_others_goes_there_only_when_a_person_says_so(citizen: Citizen) -> None:
    citizen.start()
    fields = {"class": "AdminWorker", "jid": "evil", "queue": FOREIGN, "args": [], "restbroker_attempts": []}
    citizen.client.command("ZADD", "dead", 5, json.dumps(fields), 6, json.dumps({**fields, "jid": "other"}))
    where = ["--config", str(citizen.config)]
    for words in (["retry", "evil"], ["retry", "--all", "--yes"], ["reschedule", "--all", "--in", "1s", "--yes"]):
        left = process.run(["dead", *words, *where], directory=citizen.directory)
        assert (left.returncode, "--foreign-queues" in left.stderr, foreign(citizen)) == (1, True, [])
    said = process.run(["dead", "retry", "evil", "--foreign-queues", "--yes", *where], directory=citizen.directory)
    assert (said.returncode, len(foreign(citizen)), citizen.size("dead")) == (0, 1, 1)
