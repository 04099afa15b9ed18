"""What a running broker leaves in Redis, read as each version of Sidekiq from 5 to 8.1 reads it, key by key.

Versions above 6.4.1 cannot run here; readers.py has their demands, and is proven itself: each defect that was measured
on Sidekiq Web, put into a good record or job, is refused by exactly the versions that it broke.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.store.replies import integer, items, mapping, names, raw, text
from tests.sidekiq.readers import READERS, PageGone, Place, Reader, ShownWrong
from tests.support.scripted import RECORD_TTL_S, Citizen, job
from tests.support.sidekiq_web import visiting

ALL: Final = set(READERS)
NEW: Final = {"8.0", "8.1"}
OLD: Final = ALL - NEW
NONE: Final = set[str]()
SETS: Final[tuple[Place, ...]] = ("retry", "schedule", "dead")
PLACES: Final[tuple[Place, ...]] = ("queue", *SETS)
HANGING: Final = 6
IDENTITY: Final = "host:1:0123456789ab"
METRICS: Final = re.compile(r"(j\|.+|h\|.+|.+-[0-9]{2}-[0-9]+:[0-9]+)")
ANSWER: Final = b'"<script>an error</script>"'


def good_info() -> dict[str, Any]:
    return {
        "hostname": "host",
        "started_at": 1_700_000_000.5,
        "pid": 1,
        "tag": "restbroker",
        "concurrency": 10,
        "queues": ["rest"],
        "weights": [{"rest": 0}],
        "labels": ["ejabberd"],
        "identity": IDENTITY,
        "version": "restbroker 1",
        "embedded": False,
        "capsules": {"ejabberd": {"concurrency": 10, "mode": "strict", "weights": {"rest": 0}}},
    }


def good_process(info: Mapping[str, Any]) -> dict[str, str]:
    numbers = {"busy": "1", "beat": "1700000000.5", "rss": "40000", "rtt_us": "120", "concurrency": "10"}
    return {"info": json.dumps(info), "quiet": "false", **numbers}


def good_job() -> dict[str, Any]:
    return {
        "class": "Add",
        "args": ["check_account", {"user": "a"}, "token"],
        "jid": "0123456789abcdef01234567",
        "queue": "rest",
        "retry": True,
        "created_at": 1_700_000_000.25,
        "enqueued_at": 1_700_000_000.5,
        "failed_at": 1_700_000_001.5,
        "retry_count": 0,
        "error_class": "HTTP500",
        "error_message": "no",
    }


def good_work() -> dict[str, Any]:
    return {"queue": "rest", "run_at": 1_700_000_000, "payload": json.dumps(good_job())}


def refusals(read: Callable[[Reader], None]) -> tuple[set[str], set[str]]:
    """The versions that lose a page over it, and those that show something false."""
    gone, wrong = set[str](), set[str]()
    for version, reader in READERS.items():
        try:
            read(reader)
        except PageGone:
            gone.add(version)
        except ShownWrong:
            wrong.add(version)
    return gone, wrong


def refusals_of_job(place: Place, fields: object) -> tuple[set[str], set[str]]:
    """The same for a job, or for what stands in the place of one; bytes are as they are."""
    member = fields if isinstance(fields, bytes) else json.dumps(fields)
    return refusals(lambda reader: reader.job(place, member))


def without(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def test_a_good_record_and_good_jobs_are_refused_by_no_version() -> None:
    assert refusals(lambda reader: reader.process(IDENTITY, good_process(good_info()))) == (NONE, NONE)
    assert refusals(lambda reader: reader.in_hand(json.dumps(good_work()))) == (NONE, NONE)
    for place in PLACES:
        assert refusals_of_job(place, good_job()) == (NONE, NONE)


@pytest.mark.promise("Sidekiq: other versions", "info: started_at a number")
@pytest.mark.promise("Sidekiq: other versions", "info: queues, weights, capsules")
@pytest.mark.promise("Sidekiq: other versions", "info: concurrency")
def test_a_defect_of_a_process_info_is_refused_by_the_versions_that_it_breaks() -> None:
    info = good_info()
    rows: list[tuple[Mapping[str, Any], set[str], set[str]]] = [
        (without(info, "started_at"), ALL, NONE),
        (without(info, "concurrency"), {"7", "8.0"}, {"5", "6.4", "6.5"}),
        (without(info, "queues"), {"5", "6.4", "6.5"}, NONE),
        (without(info, "capsules"), {"8.0"}, NONE),
        ({**info, "labels": None}, NONE, NONE),
        ({**info, "weights": {"rest": 0}}, NONE, NONE),
        ({**info, "weights": [None]}, {"7", "8.0"}, NONE),
        ({**info, "identity": "other"}, NONE, ALL),
        ({**info, "embedded": True}, NONE, ALL),
        *(
            (without(info, name), NONE, NONE)
            for name in ("version", "embedded", "tag", "pid", "hostname", "weights", "labels")
        ),
    ]
    found = [refusals(lambda reader, one=one: reader.process(IDENTITY, good_process(one))) for one, _, _ in rows]  # type: ignore[misc]
    assert found == [(gone, wrong) for _, gone, wrong in rows]


@pytest.mark.promise("Sidekiq: other versions", "the record's field concurrency")
def test_a_missing_field_of_a_process_is_refused_by_the_versions_that_need_it() -> None:
    needed_by = {"info": ALL, "quiet": ALL, "rss": NONE, "rtt_us": NONE, "concurrency": {"8.1"}}
    for name, wrong in needed_by.items():
        fields = without(good_process(good_info()), name)
        assert refusals(lambda reader, fields=fields: reader.process(IDENTITY, fields)) == (NONE, wrong), name  # type: ignore[misc]


@pytest.mark.promise("Sidekiq: other versions", "jobs in progress: run_at and payload")
def test_a_defect_of_a_job_in_hand_is_refused_by_the_versions_that_it_breaks() -> None:
    rows: list[tuple[Mapping[str, Any], set[str]]] = [
        ({"run_at": "1700000000"}, ALL),
        ({"run_at": 1_700_000_000.5}, NONE),
        ({"payload": good_job()}, NONE),
        ({"payload": without(good_job(), "class")}, NONE),
        ({"payload": None}, ALL),
    ]
    for change, gone in rows:
        value = json.dumps({**good_work(), **change})
        assert refusals(lambda reader, value=value: reader.in_hand(value)) == (gone, NONE), value  # type: ignore[misc]


@pytest.mark.promise("Sidekiq: other versions", "times are numbers with a fraction")
@pytest.mark.promise("Sidekiq: other versions", "failed_at and retried_at")
@pytest.mark.promise("Sidekiq: other versions", "queue in every set")
@pytest.mark.promise("Sidekiq: other versions", "jid")
@pytest.mark.promise("Sidekiq: other versions", "tags a list")
@pytest.mark.promise("Sidekiq: other versions", "error_backtrace packed, not a list")
def test_a_defect_of_a_job_is_refused_by_the_versions_that_it_breaks() -> None:
    rows: list[tuple[Iterable[Place], Mapping[str, Any], set[str], set[str]]] = [
        (["retry"], {"failed_at": None}, ALL, NONE),
        (["retry"], {"failed_at": "2006-01-02 15:04:05 UTC"}, ALL, NONE),
        (["retry", "dead"], {"created_at": "2006-01-02"}, ALL, NONE),
        (PLACES, {"enqueued_at": "2006-01-02"}, ALL, NONE),
        (PLACES, {"enqueued_at": None, "created_at": None}, NONE, NONE),
        (PLACES, {"enqueued_at": 1_700_000_000}, NONE, NEW),
        (PLACES, {"enqueued_at": 1_700_000_000_000}, NONE, OLD),
        (SETS, {"queue": None}, {"8.1"}, NONE),
        (SETS, {"jid": None}, NONE, ALL),
        (PLACES, {"tags": "a"}, ALL, NONE),
        (["retry", "dead"], {"error_backtrace": ["a"]}, {"7", *NEW}, NONE),
        (PLACES, {"args": {}}, NONE, NONE),
        (PLACES, {"args": "x"}, NONE, NONE),
        (SETS, {"error_message": None}, NONE, NONE),
        (SETS, {"error_message": ["a"]}, NONE, NONE),
        (["retry"], {"retry_count": -1}, NONE, NONE),
        (["retry"], {"retry_count": "2"}, ALL, NONE),
        (["retry"], {"retry_count": 2}, ALL, NONE),
        (PLACES, {"encrypt": True, "args": []}, ALL, NONE),
        (PLACES, {"display_class": "<b>"}, NONE, ALL),
        (SETS, {"restbroker_attempts": ["<b>"]}, NONE, ALL),
    ]
    for places, change, gone, wrong in rows:
        for place in places:
            assert refusals_of_job(place, {**good_job(), **change}) == (gone, wrong), (place, change)


@pytest.mark.promise("Sidekiq: other versions", "objects, nothing else")
def test_what_is_no_object_is_refused_by_every_version() -> None:
    for place in PLACES:
        for value in (5, [1], None, "text"):
            assert refusals_of_job(place, value) == (ALL, NONE)


@pytest.mark.promise("Sidekiq: other versions", "text that Ruby parses")
def test_what_ruby_cannot_parse_is_refused_by_every_version() -> None:
    for broken in (b"{x", b"", b'{"a": NaN}', b'{"a": "\\ud800"}', b'{"a":' * 101 + b"1" + b"}" * 101):
        assert refusals_of_job("queue", broken) == (ALL, NONE)
        assert refusals_of_job("retry", broken) == ({"8.1"}, ALL - {"8.1"})
        assert refusals_of_job("schedule", broken) == ({"8.1"}, ALL - {"8.1"})
        assert refusals_of_job("dead", broken) == (NONE, ALL)


@pytest.mark.promise("Sidekiq: other versions", "scores from which a link can be made")
def test_a_score_whose_link_leads_nowhere_is_refused_by_every_version() -> None:
    for score in ("-5", "1e+17", "1700000000000", "inf", "0"):
        assert refusals(lambda reader, score=score: reader.score(score)) == (NONE, ALL)  # type: ignore[misc]


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
def test_every_key_of_a_running_broker_is_one_that_every_version_reads(every_state: Citizen) -> None:
    identity = every_state.identity(every_state.brokers[0])
    found = {key: kind_of(key, identity) for key in keys(every_state)}
    assert {"process", "work", "queue", *SETS, "counter", "queues", "processes"} <= set(found.values())
    for reader in READERS.values():
        for key, kind in found.items():
            READ[kind](every_state, reader, key)


@pytest.mark.promise("Sidekiq: odd payloads", "details pages show no markup of ours")
def test_html_in_a_servers_answer_is_text_on_every_details_page_of_sidekiq_web(
    every_state: Citizen, tmp_path: Path
) -> None:
    with visiting(every_state.redis.url, tmp_path / "web") as web:
        for listed in ("/retries", "/morgue"):
            links = web.open(listed).links_to(f"{listed}/")
            pages = [web.open(link) for link in links]
            assert sum("an error" in page.text for page in pages) >= 2
            assert not any("an error" in script for page in pages for script in page.scripts)


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
            reader.in_hand(value)


def read_queue(citizen: Citizen, reader: Reader, key: str) -> None:
    members = items(citizen.client.command("LRANGE", key, 0, -1))
    assert members
    for member in members:
        reader.job("queue", raw(member))


def read_set(citizen: Citizen, reader: Reader, key: str) -> None:
    found = items(citizen.client.command("ZRANGE", key, 0, -1, "WITHSCORES"))
    assert found
    (place,) = (one for one in SETS if one == key)
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
