"""Whatever a producer pushes: once restbroker has put it somewhere, no page of Sidekiq Web breaks by it.

And "Retry Now" loses none of it: Ruby takes an entry out first and then refuses what it does not like. A payload that
breaks a page while it still lies in its queue is its producer's, and nobody has touched it.
"""

import json
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.sidekiq.readers import JOB_WRAPPER
from tests.support.scripted import QUEUE, Citizen, job
from tests.support.shared import TOKEN
from tests.support.sidekiq_web import SidekiqWeb, among_ruby
from tests.support.wait import until

USER: Final = "fails-odd"
ABSENT: Final = object()
PAGES: Final = ("/", "/stats", "/busy", "/queues", f"/queues/{QUEUE}", "/retries", "/scheduled", "/morgue")
SCRIPT: Final = "<script>alert(1)</script>"
DATE: Final = "2006-01-02 15:04:05 UTC"

FIELDS: Final[dict[str, dict[str, Any]]] = {
    "no failed_at in a later retry": {"retry_count": 3, "retried_at": time.time() - 1.5},
    "failed_at a date, as go-workers writes it": {"retry_count": 3, "failed_at": DATE, "retried_at": DATE},
    "failed_at an object": {"retry_count": 3, "failed_at": {}},
    "retried_at a word in a later retry": {"retry_count": 3, "failed_at": time.time() - 9.5, "retried_at": "now"},
    "created_at a date": {"created_at": DATE},
    "created_at a word": {"created_at": "yesterday"},
    "enqueued_at a date": {"enqueued_at": DATE},
    "enqueued_at a word": {"enqueued_at": "yesterday"},
    "enqueued_at true": {"enqueued_at": True},
    "times null": {"created_at": None, "enqueued_at": None, "failed_at": None},
    "times missing": {"created_at": ABSENT, "enqueued_at": ABSENT},
    "times in whole seconds": {"created_at": 1700000000, "enqueued_at": 1700000000},
    "times in milliseconds, as Sidekiq 8 writes them": {"created_at": 1700000000123, "enqueued_at": 1700000000123},
    "times beyond every calendar": {"created_at": 1e300, "enqueued_at": -1e300},
    "queue missing": {"queue": ABSENT},
    "queue another one": {"queue": "elsewhere"},
    "queue an object": {"queue": {}},
    "jid missing": {"jid": ABSENT},
    "jid a number": {"jid": 7},
    "tags a text": {"tags": "urgent"},
    "tags an object": {"tags": {"a": 1}},
    "tags of everything": {"tags": [None, 1, {}, SCRIPT]},
    "error_backtrace a list": {"retry_count": 1, "failed_at": time.time() - 9.5, "error_backtrace": ["a", "b"]},
    "error_backtrace a text that is no trace": {"error_backtrace": "line 1"},
    "error_backtrace an empty text": {"error_backtrace": ""},
    # Deflated: an object, and a text.
    "error_backtrace an object": {"error_backtrace": "eJyrrgUAAXUA+Q=="},
    "error_backtrace one text": {"error_backtrace": "eJxTSlQCAAGZAKc="},
    "error_message null": {"retry_count": 1, "failed_at": time.time() - 9.5, "error_message": None},
    "error_message an object": {"error_message": {"a": 1}, "error_class": {}},
    "retry_count a text": {"retry_count": "2", "failed_at": time.time() - 9.5},
    "retry_count an object": {"retry_count": {}},
    "retry_count -1": {"retry_count": -1, "failed_at": time.time() - 9.5},
    "retry_count beyond every limit": {"retry_count": 10**30, "failed_at": time.time() - 9.5},
    "retry a text": {"retry": "often"},
    "retry_for a text": {"retry_for": "1h"},
    "at a text": {"at": "tomorrow"},
    "class missing": {"class": ABSENT},
    "class an object": {"class": {}},
    "class one of Sidekiq's own": {"class": "Sidekiq::Extensions::DelayedClass"},
    "class ActiveJob's": {"class": JOB_WRAPPER},
    "class ActiveJob's, wrapping": {"class": JOB_WRAPPER, "wrapped": "Mailer"},
    "class ActiveJob's, wrapping a mail": {"class": JOB_WRAPPER, "wrapped": "ActionMailer::MailDeliveryJob"},
    "class ActiveJob's, wrapping, without args": {"class": JOB_WRAPPER, "wrapped": "Mailer", "args": []},
    "class ActiveJob's, wrapping a number": {"class": JOB_WRAPPER, "wrapped": "Mailer", "args": [5]},
    "encrypted": {"encrypt": True},
    "encrypted without args": {"encrypt": True, "args": []},
    "args missing": {"args": ABSENT},
    "args null": {"args": None},
    "args an object": {"args": {"user": USER}},
    "args a text": {"args": "check_account"},
    "args JSON text": {"args": json.dumps(["check_account", {"user": USER, "host": "example.org"}, TOKEN])},
    "display_class an object": {"display_class": {}},
    "display_class a number": {"display_class": 5},
    "a field of every kind": {"odd": [None, True, 1e99, {"a": [SCRIPT]}, "\u0000\u202e☂"]},
}
BYTES: Final = {
    "a number": b"5",
    "a list": b"[1]",
    "a text": b'"text"',
    "null": b"null",
    "half an object": b'{"class":"Add"',
    "nothing": b"",
    "no text": b"\x00\xff\xfe",
    "half a surrogate pair": b'{"class":"Add","args":["\\ud800"],"jid":"1"}',
    "not a number": b'{"class":"Add","args":[NaN],"jid":"1"}',
    "a byte order mark": b'\xef\xbb\xbf{"class":"Add","args":[],"jid":"1"}',
    "markup": SCRIPT.encode(),
    "two keys of one name": b'{"class":"Add","args":[],"jid":"1","jid":"2"}',
    "too deep": b'{"class":"Add","args":' + b"[" * 200 + b"]" * 200 + b',"jid":"1"}',
    "too large": b'{"class":"Add","args":["' + b"a" * 1_100_000 + b'"],"jid":"1"}',
}


def _payload(fields: dict[str, Any]) -> bytes:
    merged = {**json.loads(job(USER)), **fields}
    return json.dumps({name: value for name, value in merged.items() if value is not ABSENT}).encode()


ODD: Final = {name: _payload(fields) for name, fields in FIELDS.items()} | BYTES


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Citizen, SidekiqWeb]]:
    with among_ruby(tmp_path_factory.mktemp("odd"), lambda _arrival: b'"no"') as (citizen, web):
        citizen.start()
        yield citizen, web


@pytest.mark.promise("Sidekiq: odd payloads", "no page breaks by what restbroker writes")
def test_no_page_breaks_and_no_retry_loses_the_job(running: tuple[Citizen, SidekiqWeb]) -> None:
    citizen, web = running
    citizen.script.mended.clear()
    citizen.client.command("DEL", "retry", "dead", "schedule")
    citizen.push(*ODD.values())
    # So many failures trip the breaker now and then, for a second or two.
    until(lambda: _kept(citizen) == len(ODD), "each job failed, or was refused", 60)
    for page in PAGES:
        _ = web.json(page) if page == "/stats" else web.open(page)
    # A try that comes due between two pages would move its job.
    assert citizen.brokers.pop().stop() == 0
    links = [link for path in ("/retries", "/morgue") for link in _links(web, path)]
    assert len(set(links)) == len(ODD)
    citizen.script.mended.set()
    citizen.server.arrivals.clear()
    for link in links:
        details = web.open(link)
        assert details.url.endswith(link), f"{link} led to {details.url}"
        web.press(details, details.form(link), "retry")
    citizen.start()
    until(lambda: _kept(citizen) + len(citizen.server.arrivals) == len(ODD), "each is done, or kept again", 60)
    citizen.wait_until_idle()
    assert _kept(citizen) + len(citizen.server.arrivals) == len(ODD)
    assert len(citizen.server.arrivals) > len(FIELDS) / 2


@pytest.mark.promise("Security: who can open Sidekiq Web", "as a producer, to run a script in a browser")
@pytest.mark.promise("Sidekiq: odd payloads", "details pages show no markup of ours")
def test_a_command_that_is_markup_is_shown_as_text_everywhere(running: tuple[Citizen, SidekiqWeb]) -> None:
    citizen, web = running
    citizen.client.command("DEL", "retry", "dead", "schedule")
    citizen.push(_payload({"args": [SCRIPT, {SCRIPT: SCRIPT}, TOKEN]}), _payload({"args": [SCRIPT, SCRIPT, SCRIPT]}))
    citizen.wait_until_in("dead", 2)
    shown = [web.open("/morgue"), *[web.open(link) for link in web.open("/morgue").links_to("/morgue/")]]
    assert len(shown) == 3
    for page in shown:
        assert page.scripts == ["/javascripts/application.js"], page.html
        assert SCRIPT in page.text


@pytest.mark.promise("Security: who can open Sidekiq Web", "as a server, to run a script in a browser")
def test_what_a_hostile_server_says_is_shown_as_text_everywhere(
    running: tuple[Citizen, SidekiqWeb], monkeypatch: pytest.MonkeyPatch
) -> None:
    citizen, web = running
    citizen.client.command("DEL", "retry", "dead", "schedule")
    citizen.script.mended.clear()
    said = json.dumps({"code": 1, "message": f"{SCRIPT}<img src=x onerror=alert(1)>"}).encode()
    monkeypatch.setattr(citizen.server, "body", lambda _arrival: said)
    citizen.push(job("fails-hostile"), job("refused-hostile"))
    citizen.wait_until_in("dead", 1)
    citizen.wait_until_in("retry", 1)
    shown = [web.open(page) for page in PAGES if page != "/stats"]
    shown += [web.open(link) for path in ("/retries", "/morgue") for link in web.open(path).links_to(f"{path}/")]
    assert sum(SCRIPT in page.text for page in shown) == 4
    for page in shown:
        assert set(page.scripts) <= {"/javascripts/application.js", "/javascripts/dashboard.js"}, page.html
        assert "<img src=x" not in page.html


def _kept(citizen: Citizen) -> int:
    return citizen.size("retry") + citizen.size("dead")


def _links(web: SidekiqWeb, path: str) -> Iterator[str]:
    """Those to the details of all entries, over all pages."""
    number = 1
    while links := web.open(f"{path}?page={number}").links_to(f"{path}/"):
        yield from links
        number += 1
