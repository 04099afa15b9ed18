"""Sidekiq Web: buttons of its Busy page end and quiet restbroker's processes; the file of docs/sidekiq.md works."""

import json
import re
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from dev.tools.pages import ROOT, blocks
from restbroker.store.client import items, raw
from tests.support.html_page import Form, Page
from tests.support.ports import free_port
from tests.support.process import Running, started
from tests.support.redis_server import RedisServer
from tests.support.ruby import environment
from tests.support.scripted import CONCURRENCY, Citizen, job
from tests.support.sidekiq_web import SidekiqWeb
from tests.support.wait import until


@pytest.mark.promise("Sidekiq: remote control", "Quiet (TSTP)")
def test_quiet_of_one_process_leaves_the_other_running(citizen: Citizen, web: SidekiqWeb) -> None:
    quiet, other = _started(citizen, patient=True), _started(citizen, patient=True)
    identity = citizen.identity(quiet)
    page = web.open("/busy")
    web.press(page, _of(page, citizen, quiet), "quiet")
    citizen.wait_until_recorded(identity, "quiet", "true")
    page = web.open("/busy")
    assert "quiet" in page.row(f":{quiet.process.pid} ")[0].split()
    assert "quiet" not in page.row(f":{other.process.pid} ")[0].split()
    assert [name for name, _ in _of(page, citizen, quiet).buttons] == ["stop"]
    citizen.push(*[job(f"user{number}") for number in range(20)])
    citizen.wait_until_sent(20)
    citizen.wait_until_idle()
    assert "broker.quiet" in quiet.output()
    assert "broker.quiet" not in other.output()
    # The quiet one takes nothing more: what comes when the other is gone, stays.
    web.press(page, _of(page, citizen, other), "stop")
    assert other.wait() == 0
    citizen.push(job("user20"))
    beat = citizen.record(identity)["beat"]
    until(lambda: citizen.record(identity)["beat"] != beat, "the quiet process beats")
    assert citizen.queued() == 1
    assert citizen.times_sent() == Counter(f"user{number}" for number in range(20))
    assert quiet.stop() == 0


@pytest.mark.promise("Sidekiq: remote control", "Stop (TERM)")
def test_stop_of_one_process_drains_it_and_the_other_stays(citizen: Citizen, web: SidekiqWeb) -> None:
    stopped = _started(citizen)
    citizen.push(*[job(f"hangs{number}") for number in range(CONCURRENCY)])
    citizen.wait_until_sent(CONCURRENCY)
    other = _started(citizen)
    page = web.open("/busy")
    web.press(page, _of(page, citizen, stopped), "stop")
    citizen.wait_until_recorded(citizen.identity(stopped), "quiet", "true")
    assert "quiet" in web.open("/busy").row(f":{stopped.process.pid} ")[0].split()
    assert stopped.process.poll() is None
    citizen.script.released.set()
    assert stopped.wait() == 0
    assert citizen.listed() == [citizen.identity(other)]
    assert citizen.times_sent() == Counter(f"hangs{number}" for number in range(CONCURRENCY))
    page = web.open("/busy")
    assert f":{stopped.process.pid}" not in page.text
    assert "quiet" not in page.row(f":{other.process.pid} ")[0].split()
    citizen.push(job("after"))
    citizen.wait_until_sent(CONCURRENCY + 1)


@pytest.mark.promise("Sidekiq: remote control", "for all processes")
def test_quiet_all_and_stop_all_reach_every_process_of_ours_only(citizen: Citizen, web: SidekiqWeb) -> None:
    ours = [_started(citizen), _started(citizen)]
    foreign = "ruby.example.org:4711:0123456789ab"
    info = {"hostname": "ruby.example.org", "pid": 4711, "identity": foreign, "queues": ["mail"], "labels": []}
    record = {**info, "started_at": time.time(), "concurrency": 5, "tag": "app"}
    citizen.client.command("SADD", "processes", foreign)
    citizen.client.command(
        "HSET", foreign, "info", json.dumps(record), "busy", 0, "beat", time.time(), "quiet", "false"
    )
    page = web.open("/busy")
    assert "3 Processes" in page.text
    page = web.press(page, _for_all(page), "quiet")
    for broker in ours:
        citizen.wait_until_recorded(citizen.identity(broker), "quiet", "true")
    page = web.open("/busy")
    web.press(page, _for_all(page), "stop")
    assert [broker.wait() for broker in ours] == [0, 0]
    assert citizen.listed() == [foreign]
    requests = [raw(signal) for signal in items(citizen.client.command("LRANGE", f"{foreign}-signals", 0, -1))]
    assert requests == [b"TERM", b"TSTP"]
    assert "1 Processes" in web.open("/busy").text


def _started(citizen: Citizen, *, patient: bool = False) -> Running:
    """A broker that Sidekiq Web shows."""
    broker = citizen.start(patient=patient)
    citizen.identity(broker)
    return broker


def _for_all(page: Page) -> Form:
    (form,) = [form for form in page.forms if form.buttons and "identity" not in form.hidden]
    return form


def _of(page: Page, citizen: Citizen, broker: Running) -> Form:
    return page.form(identity=citizen.identity(broker))


PAGE = ROOT / "docs" / "sidekiq.md"


def test_documented_file_starts_sidekiq_web_behind_a_password(redis_server: RedisServer, tmp_path: Path) -> None:
    (source,) = [block for block in blocks(PAGE, "ruby") if "sidekiq/web" in block]
    (tmp_path / "web.ru").write_text(source, encoding="utf-8")
    command = re.search(r"(rackup -E .* web\.ru)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert command is not None
    port = free_port()
    words = ["/usr/bin/rackup", *command[1].replace("9292", str(port)).split()[1:]]
    variables = environment(redis_server.url, extra={"WEB_PASSWORD": "s3cret"})
    with (
        started(words[1:], directory=tmp_path, environ=variables, command=words[:1]),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        assert until(lambda: _status(client, None), "it answers") == 401
        assert _status(client, "wrong") == 401
        assert _status(client, "s3cret") == 200
        assert "Busy" in client.get("/", auth=("anybody", "s3cret")).text


def _status(client: httpx.Client, password: str | None) -> int | None:
    try:
        return client.get("/", auth=None if password is None else ("anybody", password)).status_code
    except httpx.TransportError:
        return None
