"""Jobs of a Rails application: Debian's Active Job 6.1 pushes them through its Sidekiq adapter, by examples/rails."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

from dev.tools.pages import ROOT
from restbroker.job.json_types import Json
from restbroker.store.client import items, raw
from tests.support.active_job import recorded
from tests.support.ruby import environment, ruby
from tests.support.scripted import QUEUE, Citizen
from tests.support.shared import TOKEN
from tests.support.spellings import found_in

PASSWORD: Final = "s3cret-4711-of-a-job"
COMMAND: Final = "check_account"


def push(citizen: Citizen, *jobs: dict[str, Json]) -> Any:
    """What the class of the example answers; `ruby` in active_job.rb says what becomes of values."""
    return citizen.ask("active_job.rb", token=TOKEN, jobs=jobs)


def pushed(
    user: str, how: str = "perform_later", arguments: Mapping[str, Json] = MappingProxyType({}), **more: Json
) -> dict[str, Json]:
    return {"how": how, "args": [COMMAND, {"user": user, "host": "example.org", **arguments}], **more}


@pytest.mark.promise("Producers: jobs", "tried with Active Job 6.1 and Sidekiq 6.4.1")
def test_jobs_of_rails_arrive_once_and_without_notes(citizen: Citizen) -> None:
    citizen.start()
    odd: dict[str, Json] = {"l": [{"a": 1}], "i": {"indifferent": {"b": None}}, "n": 2**60, "e": {}}
    push(
        citizen,
        pushed("plain", arguments=odd),
        pushed("member", "command", members={"order_key": "zoe", "idempotency_key": "order-17"}),
        pushed("again", "command", members={"idempotency_key": "order-18"}),
        pushed("again", "command", members={"idempotency_key": "order-18"}),
        pushed("later", "set", in_s=1.5),
        pushed("waits", "command", in_s=1.5),
    )
    assert citizen.size("schedule") == 2
    citizen.wait_until_sent(5)
    citizen.wait_until_idle()
    assert citizen.times_sent() == dict.fromkeys(["plain", "member", "again", "later", "waits"], 1)
    (plain,) = [arrival for arrival in citizen.server.arrivals if arrival.arguments["user"] == "plain"]
    given = {"user": "plain", "host": "example.org", "l": [{"a": 1}], "i": {"b": None}, "n": 2**60, "e": {}}
    assert (plain.command, plain.arguments) == (COMMAND, given)


@pytest.mark.promise("Producers: jobs", "a job of ActiveJob is shown by its command wherever it waits")
def test_a_job_of_rails_that_waits_is_shown_by_its_command(citizen: Citizen) -> None:
    arguments: dict[str, Json] = {"user": "waits", "host": "example.org", "password": PASSWORD}
    waits, later = push(
        citizen,
        {"how": "perform_later", "args": ["register", arguments]},
        {"how": "set", "in_s": 3600, "args": ["register", {**arguments, "user": "later"}]},
    )
    for words in (("queues", "peek", QUEUE), ("scheduled", "list"), ("explain", waits), ("explain", later)):
        output = citizen.restbroker(*words)
        assert "register" in output, output
        assert "Wrapper" not in output, output
        assert found_in(output, {"token": TOKEN, "password": PASSWORD}) == []
    assert later in citizen.restbroker("find", "arg.user = later", "--json")
    citizen.restbroker("scheduled", "edit", later, "user=ann", "--yes")
    assert citizen.members("schedule")[0]["args"] == ["register", {**arguments, "user": "ann"}, TOKEN]
    citizen.restbroker("scheduled", "retry", later, "--yes")
    citizen.start()
    citizen.wait_until_sent(2)
    citizen.wait_until_idle()
    assert citizen.times_sent() == {"waits": 1, "ann": 1}


def test_the_answer_comes_back_to_the_class_of_the_example(citizen: Citizen) -> None:
    citizen.start()
    answer, refused = push(
        citizen, pushed("called", "call"), {"how": "call", "args": ["no_such_command", {"user": "refused"}]}
    )
    assert (answer["outcome"], answer["command"], answer["status"]) == ("delivered", COMMAND, 200)
    assert refused["raised"] == "RestbrokerClient::Refused"
    assert refused["code"]


def test_a_call_without_an_answer_says_which_job_it_was(citizen: Citizen) -> None:
    (unknown,) = push(citizen, pushed("waits", "call", members={"timeout": 1}))
    assert unknown["raised"] == "RestbrokerClient::Unknown"
    (waits,) = [json.loads(raw(member)) for member in items(citizen.client.command("LRANGE", f"queue:{QUEUE}", 0, -1))]
    assert waits["jid"] == unknown["jid"]
    assert waits["retry"] == 25


def ruby_of(page: str, beginning: str) -> str:
    """The block of a page, or the words of `ruby -e`, that begins so."""
    text = (ROOT / page).read_text("utf-8")
    return text[text.index(beginning) :].partition("```")[0].partition("\n## ")[0]


def test_the_ruby_of_the_pages_runs_as_it_stands(citizen: Citizen, tmp_path: Path) -> None:
    citizen.start()
    readme = ruby_of("examples/rails/README.md", "RESTBROKER_TOKEN=TOKEN")
    shell = readme.replace("TOKEN=TOKEN", f"TOKEN='{TOKEN}'").replace("redis://127.0.0.1:6379/0", citizen.redis.url)
    (tmp_path / "command.rb").write_text(
        "require 'sidekiq'\nrequire 'active_job'\nActiveJob::Base.queue_adapter = :sidekiq\n"
        f"ApplicationJob = ActiveJob::Base\nTOKEN = '{TOKEN}'\n{ruby_of('docs/rails.md', 'class Command')}"
    )
    for words, folder in ((["bash", "-c", shell], ROOT / "examples/rails"), ([ruby(), "command.rb"], tmp_path)):
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment(citizen.redis.url),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert ("delivered" in done.stdout) == (words[0] == "bash"), done.stdout
    citizen.wait_until_sent(2)
    citizen.wait_until_idle()
    assert [arrival.command for arrival in citizen.server.arrivals] == [COMMAND, "register"]


@pytest.mark.promise("Producers: jobs", "a job of Active Job 6.1 and Sidekiq 6.4.1 is what the recorded one is")
def test_payload_of_rails_is_the_recorded_one(citizen: Citizen) -> None:
    password: dict[str, Json] = {"password": "s3cret-4711", "more": [{"a": 1}], "other": {"indifferent": {"x": 1}}}
    made = pushed("zoe", "command", arguments=password, members={"order_key": "zoe"})
    push(citizen, made)
    (found,) = [json.loads(raw(member)) for member in items(citizen.client.command("LRANGE", f"queue:{QUEUE}", 0, -1))]
    before = json.loads(recorded("sidekiq-6.4.1.json"))
    before["args"][0]["arguments"][0], before["args"][0]["arguments"][2] = COMMAND, TOKEN
    for payload in (found, before):
        for name in ("jid", "created_at", "enqueued_at"):
            del payload[name]
        for name in ("job_id", "enqueued_at"):
            del payload["args"][0][name]
    assert found == before


@pytest.mark.promise("Producers: jobs", "what ActiveJob wrote as an object is refused by name")
def test_an_object_of_rails_dies_and_is_corrected(citizen: Citizen) -> None:
    citizen.start()
    arguments: dict[str, Json] = {"user": "bob", "host": {"symbol": "example.org"}, "password": PASSWORD}
    (jid,) = push(citizen, {"how": "perform_later", "args": ["register", arguments]})
    citizen.wait_until_in("dead", 1)
    (dead,) = citizen.members("dead")
    assert (dead["error_class"], dead["display_class"], dead["class"]) == ("BadArguments", "register", "XmppCommand")
    assert '"host" is an object of Rails: ActiveJob::Serializers::SymbolSerializer' in dead["error_message"]
    outputs = [citizen.restbroker("dead", "list"), citizen.restbroker("dead", "show", jid), citizen.brokers[0].output()]
    assert all("register" in output for output in outputs[:2])
    assert [found_in(output, {"token": TOKEN, "password": PASSWORD}) for output in outputs] == [[], [], []]
    citizen.restbroker("dead", "edit", jid, "host=example.org", "--retry", "--yes")
    citizen.wait_until_sent(1)
    citizen.wait_until_idle()
    assert citizen.server.arrivals[0].arguments == {**arguments, "host": "example.org"}


@pytest.mark.promise("Producers: jobs", "Sidekiq retries what restbroker stored of a job of ActiveJob")
def test_a_failed_job_of_rails_is_retried_by_sidekiq(citizen: Citizen) -> None:
    citizen.start()
    (jid,) = push(citizen, pushed("fails"))
    citizen.wait_until_in("retry", 1)
    entry = citizen.ask("sets.rb", set="retry")["entries"][0]
    assert (entry["jid"], entry["display_class"], entry["display_args"][0]) == (jid, COMMAND, COMMAND)
    citizen.script.mended.set()
    citizen.ask("sets.rb", set="retry", call="retry", jid=jid)
    citizen.wait_until_sent(2)
    citizen.wait_until_idle()
    assert (citizen.size("retry"), citizen.size("dead")) == (0, 0)


@pytest.mark.promise("Producers: jobs", "an outbox: a committed command is done once, a rolled-back one never")
def test_the_outbox_does_what_was_committed_and_once(citizen: Citizen, tmp_path: Path) -> None:
    citizen.start()

    def outbox(**request: Json) -> int:
        return int(citizen.ask("outbox.rb", token=TOKEN, database=str(tmp_path / "shop.sqlite3"), **request))

    orders: list[Json] = [
        {"user": "kept1", "kept": True},
        {"user": "gone", "kept": False},
        {"user": "kept2", "kept": True},
    ]
    assert outbox(orders=orders) == 2
    # What was pushed within the transaction runs, although one of them was rolled back.
    citizen.wait_until_sent(3)
    assert outbox(push="dies") == 2
    citizen.wait_until_sent(4)
    assert outbox(push="all") == 0
    citizen.wait_until_sent(5)
    citizen.wait_until_idle()
    at_once = dict.fromkeys(["kept1-at-once", "gone-at-once", "kept2-at-once"], 1)
    assert citizen.times_sent() == {"kept1": 1, "kept2": 1, **at_once}
