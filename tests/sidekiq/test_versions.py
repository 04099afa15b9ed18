"""What a running broker leaves in Redis, read as each version of Sidekiq from 5 to 8.1 reads it, key by key.

Versions above 6.4.1 cannot run here; readers.py has their demands, and nightly/test_readers.py proves it.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Final

import pytest

from restbroker.store.client import integer, items, mapping, names, raw, text
from tests.sidekiq.readers import READERS, Place, Reader
from tests.support.scripted import RECORD_TTL_S, Citizen, job

SETS: Final[tuple[Place, ...]] = ("retry", "schedule", "dead")
HANGING: Final = 6
METRICS: Final = re.compile(r"(j\|.+|h\|.+|.+-[0-9]{2}-[0-9]+:[0-9]+)")
ANSWER: Final = b'"<script>an error</script>"'


@pytest.fixture
def every_state(citizen: Citizen) -> Citizen:
    """A broker with jobs in every state, good ones and odd ones, and with answers that are HTML."""
    citizen.server.body = lambda arrival: ANSWER if "s" in arrival.arguments["user"][:5] else b"0"
    citizen.configure(Concurrency=HANGING)
    citizen.start()
    citizen.push(
        *(job(f"hangs{number}", command="set_presence") for number in range(3)),
        job("fails1", command="send_message", created_at=1_700_000_000, enqueued_at=1_700_000_000),
        job("fails2", created_at="2006-01-02 15:04:05 UTC", tags="odd", failed_at="yesterday", retry_count="2"),
        job("fails3", retry=0, error_backtrace=["a line"], retry_for="x"),
        job("fails4", jid=None, encrypt=True).replace(b'"queue":"rest"', b'"queue":5'),
        job("refused1", display_class="Chosen", tags=["a", "b"]),
        *(b"5", b"[1]", b"{x", b'{"a":"\\ud800"}', b"null", b'{"args":["x"],"enqueued_at":"now"}'),
        job("encrypted", encrypt=True, args=[]),
        job("wrapped", wrapped="Mailer", args=[5], **{"class": "Sidekiq::ActiveJob::Wrapper"}),
        job("good1"),
        job("good2", command="<i>no command</i>"),
    )
    citizen.client.command("ZADD", "schedule", time.time() + 3600, job("later1", at=time.time() + 3600))
    citizen.wait_until_in("retry", 3)
    citizen.wait_until_in("dead", 11)
    identity = citizen.identity(citizen.brokers[0])
    # Behind the jobs that hang, a few more are taken, and the others wait.
    citizen.push(*(job(f"hangs{number}") for number in range(3, 40)))
    citizen.wait_until_recorded(identity, "busy", str(HANGING))
    assert citizen.queued() > 0
    return citizen


@pytest.mark.promise("Sidekiq: other versions", "every key of a running broker")
def test_every_version_reads_every_key_of_a_running_broker(every_state: Citizen) -> None:
    identity = every_state.identity(every_state.brokers[0])
    found = {key: kind_of(key, identity) for key in keys(every_state)}
    assert {"process", "work", "queue", *SETS, "counter", "queues", "processes"} <= set(found.values())
    for reader in READERS.values():
        for key, kind in found.items():
            READ[kind](every_state, reader, key)


def keys(citizen: Citizen) -> list[str]:
    return sorted(text(key) for key in items(citizen.client.command("KEYS", "*")))


def kind_of(key: str, identity: str) -> str:
    """What Sidekiq takes this key for; fails for a key that neither Sidekiq nor restbroker knows."""
    if key == identity:
        return "process"
    if key in (f"{identity}:work", f"{identity}:workers"):
        return "work"
    if key.startswith("queue:"):
        return "queue"
    if re.fullmatch(r"stat:(processed|failed)(:[0-9]{4}-[0-9]{2}-[0-9]{2})?", key):
        return "counter"
    if key in ("queues", "processes", *SETS):
        return key
    assert key == "process_cleanup" or key.startswith("restbroker:") or METRICS.fullmatch(key), key
    return "other"


def read_process(citizen: Citizen, reader: Reader, key: str) -> None:
    reader.process(key, citizen.record(key))
    assert 0 < ttl_s(citizen, key) <= RECORD_TTL_S


def read_work(citizen: Citizen, reader: Reader, key: str) -> None:
    assert 0 < ttl_s(citizen, key) <= RECORD_TTL_S
    shown = mapping(citizen.client.command("HGETALL", key))
    assert len(shown) == HANGING
    if key.endswith(f":{reader.work}"):
        for value in shown.values():
            reader.running_job(value)


def read_queue(citizen: Citizen, reader: Reader, key: str) -> None:
    members = items(citizen.client.command("LRANGE", key, 0, -1))
    assert members
    for member in members:
        reader.job("queue", raw(member))


def read_set(citizen: Citizen, reader: Reader, key: str) -> None:
    found = items(citizen.client.command("ZRANGE", key, 0, -1, "WITHSCORES"))
    assert found
    (place,) = (place for place in SETS if place == key)
    for member, score in zip(found[::2], found[1::2], strict=True):
        reader.job(place, raw(member))
        reader.score(text(score))


def read_counter(citizen: Citizen, reader: Reader, key: str) -> None:
    reader.counter(text(citizen.client.command("GET", key)))
    # Those of a day go away in the end, as Sidekiq's own.
    assert (ttl_s(citizen, key) > 0) == (key.count(":") == 2)


def read_names(citizen: Citizen, _reader: Reader, key: str) -> None:
    assert names(citizen.client.command("SMEMBERS", key))


def read_nothing(_citizen: Citizen, _reader: Reader, _key: str) -> None:
    """Keys that Sidekiq's pages for jobs and processes do not read; those of its metrics have tests of their own."""


def ttl_s(citizen: Citizen, key: str) -> int:
    return integer(citizen.client.command("TTL", key))


READ: Final[Mapping[str, Callable[[Citizen, Reader, str], None]]] = {
    "process": read_process,
    "work": read_work,
    "queue": read_queue,
    "retry": read_set,
    "schedule": read_set,
    "dead": read_set,
    "counter": read_counter,
    "queues": read_names,
    "processes": read_names,
    "other": read_nothing,
}
