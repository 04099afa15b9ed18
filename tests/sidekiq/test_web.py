"""Every page of Sidekiq Web shows what restbroker has in progress, has put off and has given up, and none breaks by it.

One broker and one Sidekiq Web serve all tests of this file, which only look. The buttons: test_web_buttons.py.
"""

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from html import unescape
from typing import Final

import attrs
import pytest

from restbroker.job.json_types import Json
from restbroker.store.client import items, raw
from tests.support.answering import Arrival
from tests.support.html_page import Page
from tests.support.scripted import CONCURRENCY, QUEUE, Citizen, jid_of, job
from tests.support.shared import TOKEN
from tests.support.sidekiq_web import SidekiqWeb, among_ruby

NAMED_TOKEN: Final = "the secret of a token that has a name"
PASSWORD: Final = "pa55 <w>örd/&"
PER_PAGE: Final = 25
SCRIPT: Final = "<script>alert(1)</script>"
WORDS: Final = {
    "fails-html": f'no {SCRIPT} & <b>no</b> "quotes"',
    "fails-words": "Ошибка: Größe ☂ \U0001f600 を",
    "fails-nothing": "",
}
# Neither a job, nor a command, nor a token: each is dead for its own reason.
UNREADABLE: Final = (b"5", b"[1]", b"{x", b"", b"\x00\xff", b'{"class":"Add","args":["a"],"jid":"\\ud800"}')
EVERY_PAGE: Final = (
    "/",
    "/?days=7",
    "/?days=180",
    "/?poll=true",
    "/busy",
    "/busy?poll=true",
    "/queues",
    "/queues/rest",
    "/queues/rest?page=2",
    "/queues/rest?direction=asc",
    "/queues/rest?page=2&direction=asc&count=10",
    "/queues/empty",
    "/retries",
    "/retries?page=2",
    "/retries?page=1&poll=true",
    "/retries/0-none",
    "/scheduled",
    "/scheduled?page=2",
    "/scheduled/0-none",
    "/morgue",
    "/morgue?page=2",
    "/morgue?page=99",
    "/morgue/0-none",
)


@attrs.frozen
class Populated:
    """What runs for all tests of this file."""

    citizen: Citizen
    web: SidekiqWeb


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Populated]:
    """A broker with jobs in every state: all workers busy, the others queued, put off, scheduled, given up."""
    with among_ruby(tmp_path_factory.mktemp("populated"), _words) as (citizen, web):
        _populate(citizen)
        yield Populated(citizen, web)


@pytest.fixture
def web(populated: Populated) -> SidekiqWeb:
    return populated.web


def _words(arrival: Arrival) -> bytes:
    words = WORDS.get(str(arrival.arguments.get("user")), "no")
    return json.dumps({"status": "error", "message": words}, ensure_ascii=False).encode() if words else b""


def _populate(citizen: Citizen) -> None:
    citizen.configure(Tokens={"app": {"Secret": NAMED_TOKEN, "Allow": ["*"]}})
    broker = citizen.start()
    first_s = time.time() - 4000.5
    for number in range(27):
        args: list[Json] = ["send_stanza", {"user": f"fails{number}", "host": "example.org"}, NAMED_TOKEN]
        citizen.push(job(f"fails{number}", args=args, retry_count=8, failed_at=first_s))
    citizen.push(*[job(user) for user in WORDS])
    citizen.wait_until_in("retry", 30)
    _postpone(citizen)
    secret: dict[str, Json] = {"newpass": PASSWORD, "nested": {"password": PASSWORD}}
    citizen.push(*[job(f"refused{number}", command="get_roster", arguments=secret) for number in range(24)])
    citizen.push(job("bad-token", args=["stats", {}, "wrong"]), job("bad-name", args=[SCRIPT, {SCRIPT: SCRIPT}, TOKEN]))
    citizen.push(*UNREADABLE)
    citizen.wait_until_in("dead", 26 + len(UNREADABLE))
    citizen.ask("push.rb", how="perform_in", in_s=3600, args=["kick_user", {"user": "later"}, TOKEN])
    words = ("type=chat", "from=a@example.org", "to=b@example.org", "subject=", "body=x")
    citizen.restbroker("enqueue", "send_message", *words, "--in", "2h")
    for number in range(30):
        payload = job(f"scheduled{number}", command="ban_account")
        citizen.client.command("ZADD", "schedule", time.time() + 8000 + number, payload)
    # What refused so much gets fewer requests at a time for a while; a new process begins without that.
    broker.stop()
    broker = citizen.start()
    hanging = [job(f"hangs{number}", command="change_password", arguments=secret) for number in range(CONCURRENCY)]
    citizen.push(*hanging)
    citizen.wait_until_sent(30 + 24 + CONCURRENCY)
    citizen.push(*[job(f"queued{number}", command="register") for number in range(60)])
    citizen.wait_until_recorded(citizen.identity(broker), "busy", str(CONCURRENCY))


def _postpone(citizen: Citizen) -> None:
    """Jobs that failed once are due in 15 s: too soon for tests that look at them."""
    for member in items(citizen.client.command("ZRANGE", "retry", 0, -1)):
        citizen.client.command("ZINCRBY", "retry", 7000, raw(member))


@pytest.mark.promise("Security: who can open Sidekiq Web", "as a producer, to run a script in a browser")
@pytest.mark.promise("Sidekiq: web pages and API", "every page, with paging and live poll")
def test_every_page_renders_and_runs_no_script_but_sidekiqs_own(web: SidekiqWeb) -> None:
    for page in map(web.open, EVERY_PAGE):
        assert "Sidekiq v6.4.1" in page.text
        assert set(page.scripts) <= {"/javascripts/application.js", "/javascripts/dashboard.js"}, page.url


@pytest.mark.promise("Sidekiq: web pages and API", "Dashboard, /stats")
def test_the_dashboards_figures_and_history_are_those_of_redis(populated: Populated) -> None:
    figures = populated.web.json("/stats")["sidekiq"]
    assert isinstance(figures, dict)
    waiting, dead = populated.citizen.queued(), 26 + len(UNREADABLE)
    expected = {"busy": CONCURRENCY, "processes": 1, "enqueued": waiting, "scheduled": 32, "retries": 30, "dead": dead}
    expected |= {"processed": 30 + dead, "failed": 30 + dead}
    assert {name: figures[name] for name in expected} == expected
    summary = f"{30 + dead} Processed {30 + dead} Failed {CONCURRENCY} Busy {waiting} Enqueued"
    assert f"{summary} 30 Retries 32 Scheduled {dead} Dead" in populated.web.open("/").text
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert f'"{today}":{30 + dead}' in unescape(populated.web.open("/?days=7").html)


@pytest.mark.promise("Defects of the Go original", "Sidekiq did not see its process")
@pytest.mark.promise("Sidekiq: the process record", "every field that Ruby shows")
@pytest.mark.promise("Sidekiq: the process record", "jobs in progress")
@pytest.mark.promise("Security: who can open Sidekiq Web", "to read secrets of jobs in progress")
@pytest.mark.promise("Sidekiq: what is seen, and rights", "in progress neither token nor passwords are seen")
@pytest.mark.promise("Sidekiq: the process record", "without token and passwords")
def test_busy_shows_the_process_and_its_jobs_without_secrets(populated: Populated) -> None:
    broker = populated.citizen.brokers[-1]
    page = populated.web.open("/busy")
    row = page.row(f"{socket.gethostname()}:{broker.process.pid} ")
    assert "restbroker" in row[0]
    assert f"Queues: {QUEUE}" in row[0]
    started_at, memory, threads, busy = row[1:5]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d .*", started_at)
    assert re.fullmatch(r"[\d,]+ (KB|MB)", memory)
    assert (threads, busy) == (str(CONCURRENCY), str(CONCURRENCY))
    assert "100% Utilization" in page.text
    jobs = [row for row in page.rows if len(row) == 7]
    assert {row[2] for row in jobs} == {jid_of(f"hangs{number}") for number in range(CONCURRENCY)}
    identity = populated.citizen.identity(broker)
    assert {(row[0], row[3], row[4]) for row in jobs} == {(identity, QUEUE, "change_password")}
    assert len({row[1] for row in jobs}) == CONCURRENCY
    for row in jobs:
        assert re.search(r'"change_password", \{"user"=>"hangs\d", .*"newpass"=>"\*\*\*"', row[5]), row
    shown = page.html + page.text + unescape(page.html)
    assert not [secret for secret in (TOKEN, PASSWORD, "pa55") if secret in shown]


@pytest.mark.promise("Security: who can open Sidekiq Web", "to read secrets of jobs in progress")
@pytest.mark.promise("Sidekiq: what is seen, and rights", "in retries and dead a signature stands for a token")
@pytest.mark.promise("Sidekiq: what is seen, and rights", "in its queue a job is what was pushed")
def test_retries_show_a_signature_and_dead_jobs_what_they_need(web: SidekiqWeb) -> None:
    """The flat token stays where the original would look for it, passwords where the command needs them."""
    retry = web.open(_link(web, "/retries", jid_of("fails7")))
    for page in (web.open("/retries?page=1"), web.open("/retries?page=2"), retry):
        assert NAMED_TOKEN not in unescape(page.html)
    assert re.search(r'"host"=>"example.org"\}, "v1q:app:\d+:[0-9a-f]+"', retry.text), retry.text
    dead = web.open(_link(web, "/morgue", jid_of("refused7")))
    assert f'"{TOKEN}"' in dead.text
    assert f'"newpass"=>"{PASSWORD}"' in dead.text
    assert f'"{TOKEN}"' in web.open(f"/queues/{QUEUE}").text, "as its producer pushed it"


@pytest.mark.promise("Sidekiq: web pages and API", "Queues, a queue's pages")
def test_a_queue_shows_its_size_and_latency_and_each_job_once(populated: Populated) -> None:
    waiting = populated.citizen.queued()
    name, size, latency, _ = populated.web.open("/queues").row(QUEUE)
    assert (name, size) == (QUEUE, str(waiting))
    assert 0 < float(latency.split()[0]) < 600
    assert populated.web.json("/stats/queues")[QUEUE] == waiting
    titles: list[str] = []
    page = populated.web.open(f"/queues/{QUEUE}")
    for number in range(1, -(-waiting // PER_PAGE) + 1):
        if number > 1:
            # As the pager leads there.
            page = populated.web.open(_pager(page, number))
        titles += re.findall(r'<tr title="(\w+)">', page.html)
    newest_first = [jid_of(f"queued{number}") for number in reversed(range(60))][:waiting]
    assert titles == newest_first


@pytest.mark.promise("Sidekiq: web pages and API", "details behind each link")
@pytest.mark.nightly
@pytest.mark.parametrize(
    ("path", "zset"),
    [("/retries", "retry"), ("/scheduled", "schedule"), ("/morgue", "dead")],
)
def test_each_entry_of_a_list_leads_to_its_details(populated: Populated, path: str, zset: str) -> None:
    links: list[str] = []
    page = populated.web.open(path)
    while True:
        links += page.links_to(f"{path}/")
        if len(page.links_to(f"{path}/")) < PER_PAGE:
            break
        page = populated.web.open(_pager(page, len(links) // PER_PAGE + 1))
    members = {str(fields["jid"]) for fields in populated.citizen.members(zset)}
    assert len(links) == populated.citizen.size(zset) == len(members)
    for link in links:
        details = populated.web.open(link)
        assert details.url.endswith(link), f"{link} led to {details.url}"
        score, _, jid = link.removeprefix(f"{path}/").partition("-")
        assert f"JID {jid}" in details.text
        assert jid in members
        # Sidekiq finds the entry by this text.
        found = items(populated.citizen.client.command("ZRANGE", zset, score, score, "BYSCORE"))
        assert [json.loads(raw(member))["jid"] for member in found] == [jid]


@pytest.mark.promise("Sidekiq: retries", "the class as the name")
@pytest.mark.promise("Sidekiq: dead jobs", "tries used up")
def test_jobs_stand_under_their_commands_names(web: SidekiqWeb) -> None:
    assert _names(web, "/retries", 4) == {"send_stanza": 27, "check_account": len(WORDS)}
    # No name was made of what is none.
    dead = {"get_roster": 24, "stats": 1, "Add": 1, "Restbroker::Unreadable": len(UNREADABLE)}
    assert _names(web, "/morgue", 3) == dead


@pytest.mark.promise("Sidekiq: retries", "error, count, first and last failure")
def test_details_of_a_retry_show_its_error_and_its_tries(web: SidekiqWeb) -> None:
    for user, words in WORDS.items():
        details = web.open(_link(web, "/retries", jid_of(user)))
        said = f"The server says: {' '.join(words.split())}" if words else "The server answered with status 500"
        assert said in details.text
        assert "Error Class ServerError" in details.text
        assert "Originally Failed" in details.text
    details = web.open(_link(web, "/retries", jid_of("fails7")))
    assert re.search(r"Retry Count 9 Last Retry \d{4}-\d\d-\d\d .* Next Retry \d{4}-\d\d-\d\d", details.text)


@pytest.mark.promise("Sidekiq: odd payloads", "details pages show no markup of ours")
@pytest.mark.promise("Security: who can open Sidekiq Web", "as a producer, to run a script in a browser")
@pytest.mark.promise("Security: who can open Sidekiq Web", "as a server, to run a script in a browser")
def test_markup_of_a_server_or_a_producer_is_shown_as_text(web: SidekiqWeb) -> None:
    """In lists and details; in the answer of a server as in what a producer calls a command and its arguments."""
    for path, user in (("/retries", "fails-html"), ("/morgue", "bad-name")):
        pages = [web.open(f"{path}?page={number}") for number in (1, 2)]
        pages.append(web.open(_link(web, path, jid_of(user))))
        assert sum(SCRIPT in page.text for page in pages) == 2
        for page in pages:
            assert set(page.scripts) == {"/javascripts/application.js"}, page.html
            assert "<b>" not in page.html
            assert SCRIPT not in page.html


@pytest.mark.promise("Sidekiq: odd payloads", "what is no job is dead as an object")
def test_unreadable_payloads_are_shown_as_what_came(web: SidekiqWeb) -> None:
    rows = [row for number in (1, 2) for row in web.open(f"/morgue?page={number}").rows]
    dead = [row for row in rows if "Unreadable" in row[3]]
    assert len(dead) == len(UNREADABLE)
    assert {row[4] for row in dead} >= {'"5"', '"[1]"', '"{x"', '""'}
    assert all(row[5].startswith("UnreadablePayload: The payload is") for row in dead)


def _names(web: SidekiqWeb, path: str, column: int) -> Counter[str]:
    rows = [row for number in (1, 2) for row in web.open(f"{path}?page={number}").rows]
    return Counter(row[column] for row in rows if len(row) > column)


def _link(web: SidekiqWeb, path: str, jid: str) -> str:
    found = [link for number in (1, 2) for link in web.open(f"{path}?page={number}").links_to(f"{path}/")]
    (link,) = {link for link in found if link.endswith(f"-{jid}")}
    return link


def _pager(page: Page, number: int) -> str:
    found = {link for link in page.links if re.search(rf"\?(.*&)?page={number}$", link)}
    assert len(found) == 1, f"{page.url} leads to page {number} by {found}"
    return found.pop()
