"""Odd payloads of real producers: each is delivered, or lies where an operator finds it, readable by Ruby's Sidekiq.

A `restbroker run` process and a Sidekiq 6.4.1 process, whose worker always fails, work on the same raw bytes. No page
of Sidekiq Web breaks by what restbroker has put somewhere, and no Retry loses it: Ruby takes an entry out first, and
then refuses what it does not like.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import attrs
import pytest

from restbroker.job.format import named_large
from restbroker.job.job import fields_of
from restbroker.store.client import Client, StoreSettings, integer, items, open_client, raw
from tests.sidekiq.odd_payloads import COMMAND, DUE, MADE_S, ROWS, SHOWN, UNREADABLE, Row, fields, job
from tests.support import ruby
from tests.support.answering import Arrival
from tests.support.process import started
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.scripted import QUEUE, Citizen, ready
from tests.support.shared import TOKEN
from tests.support.sidekiq_web import SidekiqWeb, visiting
from tests.support.wait import until

SETS: Final = ("retry", "dead", "schedule")
PAGES: Final = ("/", "/busy", "/queues", f"/queues/{QUEUE}")
T = TypeVar("T")
_SENT: Final = {row.name: row for row in ROWS if row.sent}
_REFUSED: Final = {row.name: row for row in ROWS if not row.sent}
# What restbroker or the failure may change; the rest stays, in its order.
_CHANGING: Final = {
    *("args", "at", "class", "created_at", "display_class", "encrypt", "enqueued_at", "error_backtrace", "error_class"),
    *("error_message", "failed_at", "jid", "queue", "retried_at", "retry_count", "retry_for", "tags"),
}


# It takes anything but false and null for the name of a queue, and any queue.
_RUBYS_QUEUES: Final = {
    "retry_queue is another queue": "slow",
    "retry_queue is a number": 5,
    "retry_queue is empty": "",
}


@attrs.frozen
class Entry:
    """A member of a sorted set; `fields` is None if it is no object. `large`: the bytes in the key that it names."""

    zset: str
    score: float
    text: bytes
    fields: Any
    large: bytes | None = None

    @property
    def words(self) -> str:
        """Where it is, as `Row` says it."""
        retried = " retried" if self.fields.get("retried_at") else ""
        return f"{self.zset} {self.fields['retry_count']:.0f}{retried}"

    @property
    def failed_last_s(self) -> float:
        """When it failed, as it says itself."""
        return float(self.fields.get("retried_at") or self.fields["failed_at"])


@attrs.frozen
class Aftermath:
    """What a Redis holds when all jobs were executed once; what later fixtures do there changes none of it.

    `wrong`: what Ruby found wrong with an entry; `listed`: the jids that restbroker lists; `counted`: how many were
    executed, and how many of these failed; `links`: to the details of entries, from the lists of Sidekiq Web.
    """

    entries: list[Entry]
    queued: Mapping[str, list[bytes]] = attrs.field(factory=dict)
    wrong: Mapping[str, list[list[str | None]]] = attrs.field(factory=dict)
    arrivals: Mapping[str, list[Arrival]] = attrs.field(factory=dict)
    listed: Mapping[str, list[str]] = attrs.field(factory=dict)
    counted: tuple[int, int] = (0, 0)
    links: list[str] = attrs.field(factory=list)

    def of(self, user: str) -> list[Entry]:
        """The entries of one job."""
        return [entry for entry in self.entries if entry.fields is not None and entry.fields.get("mark") == user]

    def end(self, user: str, pushed: bytes) -> str:
        """Where one job is, in the words of `Row`."""
        if any(entry.zset == "dead" and entry.text == pushed for entry in self.entries):
            return "raw in dead"
        found = self.of(user)
        assert len(found) <= 1, found
        return found[0].words if found else "lost"


def _user(kind: str, name: str) -> str:
    return kind + "-" + re.sub(r"\W+", "-", name)


def _named(payload: bytes, user: str) -> bytes:
    return payload.replace(b"USER", user.encode())


def _pushed() -> list[bytes]:
    payloads = [_named(payload, _user("odd", name)) for name, (payload, _) in UNREADABLE.items()]
    for row in ROWS:
        payloads += [row.as_pushed(_user("works", row.name)), row.as_pushed(_user("fails", row.name))]
        # Most of what the server answers is good, or the breaker would open.
        payloads.append(_named(job(), "plain"))
    return payloads


def _shown() -> list[bytes]:
    return [_named(job(**changed), _user("fails", name)) for name, changed in SHOWN.items()]


def _queued(client: Client) -> dict[str, list[bytes]]:
    keys = [raw(key) for key in items(client.command("KEYS", "queue:*"))]
    return {
        key.decode().removeprefix("queue:"): [raw(job) for job in items(client.command("LRANGE", key, 0, -1))]
        for key in keys
    }


def _entries(client: Client) -> list[Entry]:
    found = []
    for zset in SETS:
        flat = [raw(item) for item in items(client.command("ZRANGE", zset, 0, -1, "WITHSCORES"))]
        for text, score in zip(flat[::2], flat[1::2], strict=True):
            large = [client.command("GET", f"restbroker:large:{name}") for name in named_large(text)]
            found.append(Entry(zset, float(score), text, _object(text), raw(large[0]) if large else None))
    return found


def _object(text: bytes) -> Any:
    try:
        value = json.loads(text.decode(), parse_int=_integer)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _integer(digits: str) -> int | str:
    # Python reads no longer ones.
    return int(digits) if len(digits) < 4000 else digits


def _by_user(arrivals: list[Arrival]) -> dict[str, list[Arrival]]:
    found: dict[str, list[Arrival]] = {}
    for arrival in arrivals:
        found.setdefault(_key(arrival), []).append(arrival)
    return found


def _key(arrival: Arrival) -> str:
    # A job without arguments says by its command who it is.
    return str(arrival.arguments.get("user", arrival.command))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(redis_binary(), tmp_path_factory.mktemp("odd-redis")).start()
    yield server
    server.close()


@pytest.fixture(scope="module", params=["sealed", pytest.param("plain", marks=pytest.mark.nightly)])
def tokens(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def citizen(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory, tokens: str) -> Iterator[Citizen]:
    """Two brokers in turn: one leaves the tokens in stored jobs, the other puts signatures in their places."""
    with ready(tmp_path_factory.mktemp("odd-restbroker"), redis) as citizen:

        def act(arrival: Arrival) -> int:
            user = _key(arrival)
            return 429 if user.startswith("later") else citizen.script(attrs.evolve(arrival, arguments={"user": user}))

        citizen.server.act = act
        if tokens == "sealed":
            citizen.configure(Token=None, Tokens={"default": {"Secret": TOKEN, "Allow": ["*"]}})
        citizen.client.command("FLUSHDB")
        yield citizen


@pytest.fixture(scope="module")
def ours(citizen: Citizen) -> Aftermath:
    """What restbroker did."""
    client = citizen.client
    for name, (payload, _) in DUE.items():
        client.command("ZADD", "schedule", 1_700_000_000, _named(payload, _user("due", name)))
    citizen.push(*_pushed(), *_shown(), _named(job(), "later"))
    broker = citizen.start()
    until(lambda: not integer(client.command("ZCOUNT", "schedule", 0, 1_700_000_001)), "what is due is moved")
    citizen.wait_until_idle(60)
    entries, queued = _entries(client), _queued(client)
    assert broker.stop() == 0
    processed, failed = (int(raw(client.command("GET", f"stat:{name}"))) for name in ("processed", "failed"))
    return Aftermath(
        entries,
        queued,
        citizen.ask("odd_entries.rb"),
        _by_user(citizen.server.arrivals),
        {"retry": _listed(citizen, "retries"), "dead": _listed(citizen, "dead")},
        (processed, failed),
        _links(citizen),
    )


def _links(citizen: Citizen) -> list[str]:
    """Opens the pages that list jobs, of which none may break."""
    with visiting(citizen.redis.url, citizen.directory / "web") as web:
        for page in PAGES:
            web.open(page)
        return [link for path in ("/retries", "/scheduled", "/morgue") for link in _listed_on(web, path)]


def _listed_on(web: SidekiqWeb, path: str) -> Iterator[str]:
    number = 1
    while links := web.open(f"{path}?page={number}").links_to(f"{path}/"):
        yield from links
        number += 1


def _listed(citizen: Citizen, command: str) -> list[str]:
    return [listed["jid"] for listed in json.loads(citizen.restbroker(command, "--json", "--limit", "10000"))]


@pytest.fixture(scope="module")
def rubys(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """What Sidekiq did."""
    url = redis.url.removesuffix("/0") + "/1"
    client = open_client(StoreSettings(url))
    client.command("LPUSH", "queue:rest", *_pushed(), job(args=["the last one"], mark="end"))
    # One thread, so that the last one is the last one.
    command = [ruby.ruby(), "/usr/bin/sidekiq", "-r", str(ruby.SCRIPTS / "odd_worker.rb"), "-q", "rest", "-c", "1"]
    directory = tmp_path_factory.mktemp("odd-sidekiq")
    with started([], command=command, directory=directory, environ=ruby.environment(url)) as sidekiq:
        until(lambda: client.command("GET", "finished"), "Sidekiq has executed all", 60)
        until(
            lambda: b'"mark":"end"' in b"".join(entry.text for entry in _entries(client)), "it has failed the last one"
        )
        assert sidekiq.stop() == 0
    yield Aftermath(_entries(client))
    client.close()


@pytest.fixture(scope="module")
def retried(citizen: Citizen, ours: Aftermath, tokens: str) -> Aftermath:
    """What restbroker did after Ruby's "Retry all" of the retry set and the dead set, at a server that is well.

    Some jobs, and all with a plain id at night, are retried by the button of their own page.
    """
    citizen.script.mended.set()
    citizen.server.arrivals.clear()
    plain = [link for link in ours.links if re.fullmatch(r"/(retries|morgue)/[\d.]+-[\w-]{,99}", link)]
    with visiting(citizen.redis.url, citizen.directory / "web") as web:
        for link in plain[:: 20 if tokens == "sealed" else 1]:
            details = web.open(link)
            assert details.url.endswith(link), f"{link} led to {details.url}"
            web.press(details, details.form(link), "retry")
    citizen.ask("odd_entries.rb", retry=["retry", "dead"])
    assert (citizen.size("retry"), citizen.size("dead")) == (0, 0)
    broker = citizen.start()
    citizen.wait_until_idle(60)
    entries, queued = _entries(citizen.client), _queued(citizen.client)
    assert broker.stop() == 0
    return Aftermath(entries, queued, citizen.ask("odd_entries.rb"), _by_user(citizen.server.arrivals))


def refused(rows: Mapping[str, T], check: Callable[[str, T], None]) -> dict[str, str]:
    """What is wrong with each of these rows, by its name."""
    wrong = {}
    for name, row in rows.items():
        try:
            check(name, row)
        except (AssertionError, LookupError, ValueError) as error:
            wrong[name] = repr(error)
    return wrong


@pytest.mark.promise("Sidekiq: odd payloads", "delivered, or where Sidekiq's rules say")
def test_an_odd_job_is_delivered_once_to_a_server_that_works(ours: Aftermath) -> None:
    def check(name: str, _row: Row) -> None:
        user = _user("works", name)
        (arrival,) = ours.arrivals[user]
        assert arrival.arguments.get("user", arrival.command) == user
        assert ours.of(user) == []

    assert not refused(_SENT, check)


@pytest.mark.promise("Sidekiq: retries", "retry: true, a number, none")
def test_an_odd_job_that_fails_goes_where_sidekiqs_rules_say(ours: Aftermath) -> None:
    def check(name: str, row: Row) -> None:
        user = _user("fails", name)
        assert len(ours.arrivals[user]) == 1
        assert ours.end(user, row.as_pushed(user)) == row.ours
        for entry in ours.of(user):
            _assert_well_written(entry, row, user)

    assert not refused(_SENT, check)


def test_job_with_impossible_args_dies_unsent_with_the_reason(ours: Aftermath) -> None:
    def check(name: str, row: Row) -> None:
        for user in (_user("works", name), _user("fails", name)):
            assert user not in ours.arrivals
            assert ours.end(user, b"") == row.ours
            (entry,) = ours.of(user)
            _assert_well_written(entry, row, user)

    assert not refused(_REFUSED, check)


def _assert_well_written(entry: Entry, row: Row, user: str) -> None:
    pushed: Mapping[str, Any] = fields_of(row.as_pushed(user)) or {}
    written = entry.fields
    assert written["error_class"] == row.code
    assert isinstance(written["error_message"], str)
    assert (written["queue"], isinstance(written["class"], str)) == ("rest", True)
    if row.jid is None:
        assert re.fullmatch("[0-9a-f]{24}", written["jid"])
    else:
        assert written["jid"] == row.jid.replace("USER", user)
    if isinstance(pushed.get("args"), list):
        # The third is the token.
        assert written["args"][:2] == pushed["args"][:2]
    kept = [name for name in pushed if name not in _CHANGING]
    assert {name: written[name] for name in kept} == {name: pushed[name] for name in kept}
    assert [name for name in written if name in kept] == kept
    _assert_times(entry, row)


def _assert_times(entry: Entry, row: Row) -> None:
    written = entry.fields
    for name in ("created_at", "enqueued_at", "failed_at", "retried_at"):
        moment_s = written.get(name)
        assert moment_s is None or (isinstance(moment_s, float) and not moment_s.is_integer())
        assert moment_s is None or MADE_S - 1 < moment_s < entry.score + 1
    if row.first_s is not None:
        assert written["failed_at"] == pytest.approx(row.first_s, abs=1e-5)
    elif "retried" not in row.ours:
        assert written["failed_at"] > MADE_S + 1e6
    if entry.zset == "retry":
        _assert_due(entry)
    else:
        assert entry.score == pytest.approx(entry.failed_last_s, abs=0.01)


def _assert_due(entry: Entry) -> None:
    count = entry.fields["retry_count"]
    wait_s = entry.score - entry.failed_last_s
    assert count**4 + 15 - 0.01 <= wait_s <= count**4 + 15 + 10 * (count + 1)


@pytest.mark.promise("Sidekiq: odd payloads", "delivered, or where Sidekiq's rules say")
@pytest.mark.nightly
def test_sidekiq_treats_a_failing_odd_job_as_the_table_says(rubys: Aftermath) -> None:
    def check(name: str, row: Row) -> None:
        user = _user("fails", name)
        assert rubys.end(user, row.as_pushed(user)) == row.ruby
        for entry in rubys.of(user):
            assert entry.fields["queue"] == _RUBYS_QUEUES.get(name, "rest")
            if entry.zset == "retry" and entry.fields.get("retried_at", entry.fields.get("failed_at")):
                _assert_due(entry)

    assert not refused({**_SENT, **_REFUSED}, check)


@pytest.mark.promise("Sidekiq: odd payloads", "what is no job is dead as an object")
def test_payload_that_is_no_job_dies_wrapped_and_whole(ours: Aftermath) -> None:
    def check(name: str, row: tuple[bytes, str]) -> None:
        text = _named(row[0], _user("odd", name))
        (entry,) = [entry for entry in ours.entries if _content(entry) == text and entry.fields["queue"] == "rest"]
        assert entry.words == "dead 0"
        assert entry.fields["class"] == "Restbroker::Unreadable"
        assert entry.fields["error_class"] in ("UnreadablePayload", "PayloadTooLarge")
        # Its own id, where the text has one.
        own = re.findall(rb'"jid": ?"([\w-]+)"', row[0].replace(b"USER", _user("odd", name).encode()))
        assert entry.fields["jid"].encode() in own or re.fullmatch("[0-9a-f]{24}", entry.fields["jid"])
        assert isinstance(entry.fields["failed_at"], float)

    assert not refused(UNREADABLE, check)


def _content(entry: Entry) -> bytes:
    match entry.fields:
        case {"class": "Restbroker::Unreadable", "args": [text]}:
            return str(text).encode()
        case {"class": "Restbroker::Unreadable", "args": [_, int()]}:
            assert entry.large is not None
            return entry.large
        case {"class": "Restbroker::Unreadable", "args": [coded, _]}:
            return base64.b64decode(coded)
        case _:
            return b"nothing wrapped"


@pytest.mark.promise("Sidekiq: odd payloads", "what is no job is dead as an object")
@pytest.mark.nightly
def test_sidekiq_itself_keeps_it_dead_and_raw_or_loses_it(rubys: Aftermath) -> None:
    def check(name: str, row: tuple[bytes, str]) -> None:
        payload, end = row
        user = _user("odd", name)
        assert rubys.end(user, _named(payload, user)) == end

    assert not refused(UNREADABLE, check)


def test_due_payload_goes_to_its_queue_unchanged_or_dies(ours: Aftermath) -> None:
    def check(name: str, row: tuple[bytes, str]) -> None:
        payload, end = row
        user = _user("due", name)
        text = _named(payload, user)
        if end == "works":
            assert len(ours.arrivals[user]) == 1
        elif end == "dead":
            (entry,) = [
                found for found in ours.entries if _content(found) == text and found.fields["queue"] == "default"
            ]
            assert entry.words == "dead 0"
        else:
            assert ours.queued[end] == [text]

    assert not refused(DUE, check)


@pytest.mark.promise("Sidekiq: scheduled jobs", "what a server puts off waits here too, untried")
def test_a_job_that_is_put_off_waits_in_schedule_untried(ours: Aftermath) -> None:
    (entry,) = [entry for entry in ours.entries if entry.zset == "schedule"]
    assert entry.fields["args"][:2] == [COMMAND, {"user": "later"}]
    plain = fields(jid="later", mark="later", args=entry.fields["args"])
    assert {name: entry.fields[name] for name in plain} == plain
    assert entry.fields.keys().isdisjoint({"failed_at", "retry_count", "at"})


@pytest.mark.promise("Sidekiq: retries", "buttons find an entry by score and jid")
def test_no_two_entries_of_one_moment_share_a_score(ours: Aftermath) -> None:
    scores = [entry.score for entry in ours.entries if entry.zset == "dead"]
    assert len(scores) == len(set(scores)) > 50


@pytest.mark.promise("Sidekiq: odd payloads", "no page breaks by what restbroker writes")
def test_no_page_of_sidekiq_web_breaks_and_each_entry_is_listed(ours: Aftermath) -> None:
    assert len(set(ours.links)) == len(ours.links) == len(ours.entries)


@pytest.mark.promise("Sidekiq: odd payloads", "the API reads, and writes again, every entry")
def test_rubys_api_reads_rewrites_and_could_push_every_entry(ours: Aftermath) -> None:
    for zset in SETS:
        assert len(ours.wrong[zset]) == sum(entry.zset == zset for entry in ours.entries) > 0
        assert [pair for pair in ours.wrong[zset] if pair[1] is not None] == []


def test_retry_all_and_a_mended_server_deliver_every_odd_job(ours: Aftermath, retried: Aftermath) -> None:
    def check(name: str, row: Row) -> None:
        user = _user("fails", name)
        if row.ours == "lost":
            assert user not in retried.arrivals
        else:
            (arrival,) = retried.arrivals[user]
            assert arrival.arguments == ours.arrivals[user][0].arguments
        assert retried.of(user) == []

    assert not refused(_SENT, check)
    for name in SHOWN:
        user = _user("fails", name)
        assert (user in retried.arrivals) == (user in ours.arrivals), name


def test_malformed_dead_job_dies_again_readable_after_a_retry(ours: Aftermath, retried: Aftermath) -> None:
    again = [entry for entry in retried.entries if entry.zset == "dead"]
    assert len(again) == 2 * len(_REFUSED) + len(UNREADABLE) + sum(
        _user("fails", name) not in ours.arrivals for name in SHOWN
    )
    assert {entry.words for entry in again} == {"dead 0 retried"}
    assert [pair for pairs in retried.wrong.values() for pair in pairs if pair[1] is not None] == []
